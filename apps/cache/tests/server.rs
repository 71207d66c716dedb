//! The server over the stack: what each command answers, however it arrives, and that nothing is left behind.
#![allow(clippy::unwrap_used)]

mod lab;

use freeway_cache::CacheConfig;
use lab::{Lab, config};

const MEMORY: usize = 16 << 20;

fn text(lab: &mut Lab, request: &str) -> String {
    String::from_utf8(lab.ask(0, request.as_bytes())).unwrap()
}

/// Requests and their answers, one after the other on one connection.
#[track_caller]
fn table(lab: &mut Lab, rows: &[(&str, &str)]) {
    for (request, answer) in rows {
        assert_eq!(text(lab, request), *answer, "to {request:?}");
    }
}

#[test]
fn the_classic_commands_answer_as_memcached_does() {
    let mut lab = Lab::new(config(MEMORY), 1);
    table(
        &mut lab,
        &[
            ("get a\r\n", "END\r\n"),
            ("set a 5 0 5\r\nhello\r\n", "STORED\r\n"),
            ("get a\r\n", "VALUE a 5 5\r\nhello\r\nEND\r\n"),
            ("add a 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
            ("add b 0 0 1\r\nx\r\n", "STORED\r\n"),
            ("replace c 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
            ("replace b 7 0 2\r\nyz\r\n", "STORED\r\n"),
            ("append b 0 0 2\r\n!!\r\n", "STORED\r\n"),
            ("prepend b 0 0 1\r\n>\r\n", "STORED\r\n"),
            ("get b a nothing\r\n", "VALUE b 7 5\r\n>yz!!\r\nVALUE a 5 5\r\nhello\r\nEND\r\n"),
            ("append nothing 0 0 1\r\nx\r\n", "NOT_STORED\r\n"),
            ("delete a\r\n", "DELETED\r\n"),
            ("delete a\r\n", "NOT_FOUND\r\n"),
            ("set n 0 0 2\r\n99\r\n", "STORED\r\n"),
            ("incr n 2\r\n", "101\r\n"),
            ("decr n 91\r\n", "10\r\n"),
            ("get n\r\n", "VALUE n 0 3\r\n10 \r\nEND\r\n"),
            ("decr n 11\r\n", "0\r\n"),
            ("incr nothing 1\r\n", "NOT_FOUND\r\n"),
            ("incr b 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
            ("touch b 100\r\n", "TOUCHED\r\n"),
            ("touch nothing 100\r\n", "NOT_FOUND\r\n"),
            ("gat 50 b\r\n", "VALUE b 7 5\r\n>yz!!\r\nEND\r\n"),
            ("set q 0 0 1 noreply\r\nx\r\nget q\r\n", "VALUE q 0 1\r\nx\r\nEND\r\n"),
            (
                "set bad 0 0 1\r\nxyz\r\nget q\r\n",
                "CLIENT_ERROR bad data chunk\r\nCLIENT_ERROR bad command line format\r\nVALUE q 0 1\r\nx\r\nEND\r\n",
            ),
            ("flush_all\r\n", "OK\r\n"),
            ("get b q n\r\n", "END\r\n"),
            ("nonsense\r\n", "ERROR\r\n"),
            ("shutdown\r\n", "SERVER_ERROR: shutdown not enabled\r\n"),
        ],
    );
    assert!(text(&mut lab, "version\r\n").starts_with("VERSION 1.6"));
    assert_eq!(lab.server.app().cache.tasks(), 0);
}

#[test]
fn compare_and_store_sees_every_change_and_no_other() {
    let mut lab = Lab::new(config(MEMORY), 1);
    let unique = |lab: &mut Lab| {
        let answer = text(lab, "gets k\r\n");
        answer.lines().next().unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    text(&mut lab, "set k 0 0 1\r\na\r\n");
    let first = unique(&mut lab);
    assert_eq!(unique(&mut lab), first);
    assert_eq!(text(&mut lab, "touch k 1000\r\n"), "TOUCHED\r\n");
    assert_eq!(unique(&mut lab), first, "a touch is no change");
    assert_eq!(text(&mut lab, &format!("cas k 0 0 1 {first}\r\nb\r\n")), "STORED\r\n");
    assert_eq!(text(&mut lab, &format!("cas k 0 0 1 {first}\r\nc\r\n")), "EXISTS\r\n");
    let second = unique(&mut lab);
    assert!(second > first);
    text(&mut lab, "set k 0 0 1\r\n5\r\n");
    text(&mut lab, "incr k 1\r\n");
    assert_eq!(text(&mut lab, &format!("cas k 0 0 1 {second}\r\nd\r\n")), "EXISTS\r\n");
    assert_eq!(text(&mut lab, "cas nothing 0 0 1 1\r\nd\r\n"), "NOT_FOUND\r\n");
}

#[test]
fn the_meta_commands_answer_as_memcached_does() {
    let mut lab = Lab::new(config(MEMORY), 1);
    table(
        &mut lab,
        &[
            ("mg a v\r\n", "EN\r\n"),
            ("ms a 2 T90 F7\r\nhi\r\n", "HD\r\n"),
            ("mg a v f t s k Oxy\r\n", "VA 2 f7 t90 s2 ka Oxy\r\nhi\r\n"),
            ("mg a h\r\n", "HD h1\r\n"),
            // What t tells depends on which side of T it stands.
            ("mg a t T50\r\n", "HD t90\r\n"),
            ("mg a T60 t\r\n", "HD t60\r\n"),
            ("mn\r\n", "MN\r\n"),
            ("ma n\r\n", "NF\r\n"),
            ("ma n N0 J13 v\r\n", "VA 2\r\n13\r\n"),
            ("ma n v D7\r\n", "VA 2\r\n20\r\n"),
            ("ma n v MD\r\n", "VA 2\r\n19\r\n"),
            // A lease: who makes the item has won, the next is told so.
            ("mg v v N30 t\r\n", "VA 0 t30 W\r\n\r\n"),
            ("mg v v N30 t\r\n", "VA 0 t30 Z\r\n\r\n"),
            ("ms v 3\r\nnew\r\n", "HD\r\n"),
            ("mg v v N30\r\n", "VA 3\r\nnew\r\n"),
            // An item marked stale is served; one client is to bring a new value.
            ("md v I T30\r\n", "HD\r\n"),
            ("mg v v\r\n", "VA 3 X W\r\nnew\r\n"),
            ("mg v v\r\n", "VA 3 Z X\r\nnew\r\n"),
            ("md v q\r\nmn\r\n", "MN\r\n"),
            ("mg v v\r\n", "EN\r\n"),
            ("ms e 1 ME\r\nx\r\n", "HD\r\n"),
            ("ms e 1 ME\r\nx\r\n", "NS\r\n"),
            ("ms e 1 MA\r\ny\r\n", "HD\r\n"),
            ("mg e v\r\n", "VA 2\r\nxy\r\n"),
            ("ms c 1 E100\r\nx\r\n", "HD\r\n"),
            ("mg c c\r\n", "HD c100\r\n"),
            ("ms c 1 C99\r\ny\r\n", "EX\r\n"),
            ("ms c 1 C99 I\r\ny\r\n", "HD\r\n"),
            ("mg c v\r\n", "VA 1 X W\r\ny\r\n"),
        ],
    );
}

#[test]
fn items_expire_to_the_second() {
    let mut lab = Lab::new(config(MEMORY), 1);
    table(&mut lab, &[("set a 0 5 1\r\nx\r\n", "STORED\r\n"), ("set b 0 -1 1\r\nx\r\n", "STORED\r\n")]);
    assert_eq!(text(&mut lab, "get b\r\n"), "END\r\n");
    lab.wait(3);
    assert_eq!(text(&mut lab, "get a\r\n"), "VALUE a 0 1\r\nx\r\nEND\r\n");
    lab.wait(2);
    assert_eq!(text(&mut lab, "get a\r\n"), "END\r\n");
    table(&mut lab, &[("set c 0 0 1\r\nx\r\n", "STORED\r\n"), ("flush_all 10\r\n", "OK\r\n")]);
    lab.wait(8);
    assert_eq!(text(&mut lab, "get c\r\n"), "VALUE c 0 1\r\nx\r\nEND\r\n");
    lab.wait(3);
    assert_eq!(text(&mut lab, "get c\r\n"), "END\r\n");
}

/// A value of this length.
fn value(len: usize) -> Vec<u8> {
    (0..len).map(|place| b'a' + (place % 23) as u8).collect()
}

fn set(key: &str, value: &[u8]) -> Vec<u8> {
    [format!("set {key} 0 0 {}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

#[test]
fn values_of_every_size_come_back() {
    let mut lab = Lab::new(config(64 << 20), 1);
    for len in [0, 1, 1_000, 4_096, 4_097, 16_000, 16_384, 65_024, 65_025, 65_536, 1 << 20, 5_000_001] {
        assert_eq!(lab.ask(0, &set("k", &value(len))), b"STORED\r\n", "{len} bytes");
        let answer = lab.ask(0, b"get k k\r\n");
        let one = [format!("VALUE k 0 {len}\r\n").as_bytes(), &value(len), b"\r\n"].concat();
        assert!(answer == [&one[..], &one, b"END\r\n"].concat(), "{len} bytes");
    }
    assert_eq!(lab.ask(0, &set("huge", &value(33 << 20))), b"SERVER_ERROR object too large for cache\r\n");
    assert_eq!(lab.ask(0, b"get huge\r\n"), b"END\r\n");
    let appended = lab.ask(0, &[b"append k 0 0 100000\r\n", &value(100_000)[..], b"\r\n"].concat());
    assert_eq!(appended, b"STORED\r\n");
    let answer = lab.ask(0, b"get k\r\n");
    assert!(answer.ends_with(&[&value(100_000)[..], b"\r\nEND\r\n"].concat()));
    assert_eq!(answer.len(), "VALUE k 0 5100001\r\n".len() + 5_100_001 + 7);
    assert_eq!((lab.server.app().cache.tasks(), lab.server.app_mut().cache.cache().store.pinned()), (0, 0));
}

#[test]
fn a_thousand_requests_in_one_go_are_answered_in_order() {
    let mut lab = Lab::new(config(MEMORY), 1);
    let (mut request, mut answer) = (Vec::new(), Vec::new());
    for number in 0..1_000 {
        let long = value(number * 7 % 6_000);
        request.extend(set(&format!("key{number}"), &long));
        answer.extend(b"STORED\r\n");
        request.extend(format!("get key{number} none\r\n").as_bytes());
        answer.extend(format!("VALUE key{number} 0 {}\r\n", long.len()).as_bytes());
        answer.extend(&long);
        answer.extend(b"\r\nEND\r\n");
    }
    assert!(lab.ask(0, &request) == answer);
    // A multi-get longer than a line may be.
    let keys: Vec<String> = (0..1_000).map(|number| format!("key{number}")).collect();
    let got = lab.ask(0, format!("get {}\r\n", keys.join(" ")).as_bytes());
    assert_eq!(got.windows(6).filter(|window| window == b"VALUE ").count(), 1_000);
    assert!(got.ends_with(b"END\r\n"));
}

#[test]
fn who_does_not_read_stops_nobody_and_gets_all_of_it_later() {
    let mut lab = Lab::new(config(MEMORY), 2);
    let long = value(2_000_000);
    lab.ask(0, &set("k", &long));
    lab.line(1).listens = false;
    lab.ask(1, b"get k\r\nget k\r\n");
    // Meanwhile it is deleted, and everything is written over several times.
    assert_eq!(lab.ask(0, b"delete k\r\n"), b"DELETED\r\n");
    for number in 0..60 {
        assert_eq!(lab.ask(0, &set(&format!("other{number}"), &value(900_000))), b"STORED\r\n");
    }
    assert!(lab.ask(0, b"get other59\r\n").len() > 900_000);
    lab.line(1).listens = true;
    let answer = lab.ask(1, b"");
    let one = [b"VALUE k 0 2000000\r\n", &long[..], b"\r\nEND\r\n"].concat();
    assert!(answer.starts_with(&one), "the value as it was");
    assert_eq!(lab.server.app_mut().cache.cache().store.pinned(), 0);
    // One that goes away in the middle leaves nothing held.
    lab.ask(0, &set("k", &long));
    lab.line(1).listens = false;
    lab.ask(1, b"get k\r\n");
    assert!(lab.server.app_mut().cache.cache().store.pinned() > 0);
    lab.ask(1, b"set arriving 0 0 1000000\r\nbeginning");
    drop(lab.client);
    assert!(lab.server.app().cache.tasks() > 0);
}

#[test]
fn who_goes_in_the_middle_of_a_request_leaves_nothing_behind() {
    for unfinished in ["get a", "set k 0 0 10\r\nfour", "set k 0 0 100000\r\nfour"] {
        let mut lab = Lab::new(config(MEMORY), 2);
        lab.ask(1, unfinished.as_bytes());
        assert_eq!(lab.server.stack().occupancy().connections.0, 2);
        lab.hang_up(1);
        assert_eq!(lab.server.stack().occupancy().connections.0, 1, "after {unfinished:?}");
        assert_eq!(lab.server.app().cache.tasks(), 0);
        assert_eq!(text(&mut lab, "get k\r\n"), "END\r\n");
        // And by a reset.
        let mut lab = Lab::new(config(MEMORY), 2);
        lab.ask(1, unfinished.as_bytes());
        lab.cut_off(1);
        assert_eq!(lab.server.stack().occupancy().connections.0, 1, "after {unfinished:?} and a reset");
        assert_eq!(lab.server.app().cache.tasks(), 0);
    }
}

#[test]
fn the_binary_protocol_is_spoken_by_who_begins_with_it() {
    let mut lab = Lab::new(config(MEMORY), 1);
    let header = |opcode: u8, key: u16, extras: u8, body: u32| {
        let mut header = vec![0x80, opcode];
        header.extend(key.to_be_bytes());
        header.extend([extras, 0, 0, 0]);
        header.extend(body.to_be_bytes());
        header.extend([1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
        header
    };
    let mut set = header(0x01, 1, 8, 14);
    set.extend([0, 0, 0, 9, 0, 0, 0, 0]);
    set.extend(b"khello");
    let answer = lab.ask(0, &set);
    assert_eq!((answer.len(), answer[0], answer[1], &answer[6..8]), (24, 0x81, 0x01, &[0, 0][..]));
    let get = [header(0x00, 1, 0, 1), b"k".to_vec()].concat();
    let answer = lab.ask(0, &get);
    assert_eq!(&answer[12..16], [1, 2, 3, 4]);
    assert_eq!(&answer[24..], b"\0\0\0\x09hello");
    let miss = [header(0x00, 1, 0, 1), b"x".to_vec()].concat();
    assert_eq!(lab.ask(0, &miss)[6..8], [0, 1]);
    let stat = lab.ask(0, &header(0x10, 0, 0, 0));
    assert!(stat.windows(8).any(|window| window == b"get_hits"));
}

#[test]
fn datagrams_are_answered_within_their_bounds() {
    let mut lab = Lab::new(config(MEMORY), 1);
    lab.ask(0, &set("k", &value(3_000)));
    let answers = lab.ask_by_datagram(b"\x12\x34\0\0\0\x01\0\0get k\r\n");
    assert_eq!(answers.len(), 3);
    let mut whole = Vec::<u8>::new();
    for (sequence, answer) in answers.iter().enumerate() {
        assert_eq!(answer[..8], [0x12, 0x34, 0, sequence as u8, 0, 3, 0, 0]);
        whole.extend(&answer[8..]);
    }
    assert!(whole == [b"VALUE k 0 3000\r\n", &value(3_000)[..], b"\r\nEND\r\n"].concat());
    assert_eq!(lab.ask_by_datagram(b"\0\x01\0\0\0\x01\0\0set u 0 0 1\r\nx\r\n")[0][8..], *b"STORED\r\n");
    // Too long for its bound, too short for a frame.
    lab.ask(0, &set("long", &value(100_000)));
    assert!(lab.ask_by_datagram(b"\0\x01\0\0\0\x01\0\0get long\r\n").is_empty());
    assert!(lab.ask_by_datagram(b"\0\x01\0").is_empty());
    let cache = &mut lab.server.app_mut().cache;
    assert_eq!((cache.counters().datagrams_too_long, cache.counters().datagrams_foreign), (1, 1));
    assert_eq!((cache.tasks(), cache.cache().store.pinned()), (0, 0));
}

#[test]
fn watchers_see_what_they_asked_for() {
    let mut lab = Lab::new(config(4 << 20), 3);
    assert_eq!(lab.ask(1, b"watch fetchers mutations deletions\r\n"), b"OK\r\n");
    assert_eq!(lab.ask(2, b"watch evictions\r\n"), b"OK\r\n");
    text(&mut lab, "get a\r\nset a 0 0 3\r\nabc\r\nget a\r\ndelete a\r\n");
    let seen = String::from_utf8(lab.ask(1, b"")).unwrap();
    let kinds: Vec<&str> = seen.lines().map(|line| line.split(" gid=").nth(1).unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "1 type=item_get key=a status=not_found clsid=0 size=0",
            "2 type=item_store key=a status=stored cmd=set ttl=0 clsid=1 size=3",
            "3 type=item_get key=a status=found clsid=1 size=3",
            "4 type=deleted key=a cmd=delete clsid=1 size=3",
        ]
    );
    for number in 0..6_000 {
        lab.line(0).to_say.extend(set(&format!("key{number}"), &value(1_000)));
    }
    lab.ask(0, b"");
    let seen = String::from_utf8(lab.ask(2, b"")).unwrap();
    assert!(seen.lines().filter(|line| line.contains(" type=eviction key=key")).count() > 1_000);
    assert!(!seen.contains("item_store"));
    // Who goes is no longer told.
    lab.hang_up(2);
    assert_eq!(lab.server.stack().occupancy().connections.0, 2);
}

#[test]
fn a_connection_too_many_is_told_so() {
    let mut lab = Lab::new(CacheConfig { connections_max: 2, ..config(MEMORY) }, 3);
    assert_eq!(lab.ask(2, b""), b"ERROR Too many open connections\r\n");
    assert_eq!(lab.ask(1, b"get a\r\n"), b"END\r\n");
    assert_eq!(lab.server.app().cache.counters().rejected, 1);
}

#[test]
fn who_must_log_in_is_served_afterwards() {
    let mut lab = Lab::new(CacheConfig { users: vec!["joe:secret".into()], ..config(MEMORY) }, 1);
    table(
        &mut lab,
        &[
            ("get a\r\n", "CLIENT_ERROR unauthenticated\r\n"),
            ("set a 0 0 9\r\njoe wrong\r\n", "CLIENT_ERROR authentication failure\r\n"),
            ("set a 0 0 10\r\njoe secret\r\n", "STORED\r\n"),
            ("get a\r\n", "END\r\n"),
        ],
    );
}

#[test]
fn tables_and_lists_tell_what_there_is() {
    let mut lab = Lab::new(config(MEMORY), 1);
    for number in 0..500 {
        lab.line(0).to_say.extend(set(&format!("a key/{number}").replace(' ', "_"), b"x"));
    }
    lab.ask(0, b"");
    let stats = text(&mut lab, "stats\r\n");
    assert!(stats.contains("STAT curr_items 500\r\n") && stats.ends_with("END\r\n"), "{stats}");
    for what in ["settings", "items", "slabs", "sizes", "conns"] {
        assert!(text(&mut lab, &format!("stats {what}\r\n")).ends_with("END\r\n"));
    }
    let dump = text(&mut lab, "lru_crawler metadump all\r\n");
    assert_eq!(dump.lines().filter(|line| line.starts_with("key=a_key%2F")).count(), 500);
    assert!(dump.ends_with("END\r\n"));
    let dump = text(&mut lab, "lru_crawler mgdump all\r\n");
    assert_eq!(dump.lines().filter(|line| line.starts_with("mg ")).count(), 500);
    assert_eq!(text(&mut lab, "stats reset\r\n"), "RESET\r\n");
    assert!(text(&mut lab, "stats\r\n").contains("STAT cmd_get 0\r\n"));
    assert_eq!(text(&mut lab, "cache_memlimit 12\r\n"), "OK\r\n");
    assert_eq!(
        text(&mut lab, "cache_memlimit 1000\r\n"),
        "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n"
    );
}

#[test]
fn a_connection_of_which_nothing_is_heard_is_closed() {
    let mut lab = Lab::new(CacheConfig { idle_timeout: 60, ..config(MEMORY) }, 2);
    for _ in 0..10 {
        lab.wait(20);
        assert_eq!(lab.ask(1, b"get a\r\n"), b"END\r\n");
    }
    lab.turns(500);
    assert!(lab.line(0).over && !lab.line(1).over);
    assert_eq!(lab.server.app().cache.counters().idle_kicks, 1);
}

#[test]
fn sizes_and_keys_are_listed_as_memcached_lists_them() {
    for cores in [1, 3] {
        let mut lab = Lab::with_cores(&config(MEMORY), 2, cores);
        assert_eq!(text(&mut lab, "stats sizes\r\n"), "STAT sizes_status disabled\r\nEND\r\n");
        assert_eq!(text(&mut lab, "stats sizes_enable\r\n"), "STAT sizes_status enabled\r\n");
        let sets: String = (0..5_000).map(|n| format!("set key{n:04} 0 0 5 noreply\r\nhello\r\n")).collect();
        lab.ask(0, sets.as_bytes());
        text(&mut lab, &format!("set large 0 0 1000\r\n{}\r\n", "x".repeat(1_000)));
        assert_eq!(text(&mut lab, "stats sizes\r\n"), "STAT 32 5000\r\nSTAT 1024 1\r\nEND\r\n");
        assert_eq!(text(&mut lab, "stats sizes\r\n"), "STAT 32 5000\r\nSTAT 1024 1\r\nEND\r\n");
        let listed = text(&mut lab, "stats cachedump 1 100\r\n");
        assert_eq!(listed.lines().filter(|line| line.ends_with(" [5 b; 0 s]")).count(), 100, "{cores} cores");
        assert!(listed.ends_with("END\r\n"));
        assert_eq!(text(&mut lab, "stats cachedump 1 0\r\n").lines().count(), 5_002);
        assert_eq!(text(&mut lab, "stats cachedump 2 0\r\n"), "END\r\n");
        assert_eq!(text(&mut lab, "stats sizes_disable\r\n"), "STAT sizes_status disabled\r\n");
    }
    let mut lab = Lab::new(CacheConfig { dump: false, ..config(MEMORY) }, 1);
    assert_eq!(text(&mut lab, "stats cachedump 1 1\r\n"), "CLIENT_ERROR stats cachedump not allowed\r\n");
}

#[test]
fn connections_are_listed_and_watched() {
    let mut lab = Lab::new(config(MEMORY), 100);
    let listed = text(&mut lab, "stats conns\r\n");
    let peers = listed.lines().filter(|line| line.contains(":addr tcp:198.18.0.3:")).count();
    assert_eq!((peers, listed.lines().count()), (100, 401), "{listed}");
    assert!(listed.contains("STAT 1:listen_addr tcp:198.18.0.2:11211\r\n") && listed.ends_with("END\r\n"));
    assert_eq!(text(&mut lab, "watch connevents\r\n"), "OK\r\n");
    lab.ask(1, b"quit\r\n");
    let seen = String::from_utf8(std::mem::take(&mut lab.line(0).heard)).unwrap();
    assert!(
        seen.contains("type=conn_close rip=198.18.0.3 rport=") && seen.contains("reason=normal\n"),
        "{seen}"
    );
}

#[test]
fn the_usual_get_is_answered_as_any_other() {
    let mut lab = Lab::new(config(MEMORY), 1);
    for (number, len) in
        [0_usize, 1, 2, 9, 31, 32, 33, 99, 100, 1_000, 1_024, 1_025, 1_500, 5_000].into_iter().enumerate()
    {
        let (key, flags) = ("k".repeat(1 + number * 19), number * 11);
        let value = "v".repeat(len);
        assert_eq!(text(&mut lab, &format!("set {key} {flags} 0 {len}\r\n{value}\r\n")), "STORED\r\n");
        let hits = lab.server.app().cache.commands().get_hits;
        // By itself it is answered at a glance, unless it is long; with another request before or behind it is not.
        let alone = text(&mut lab, &format!("get {key}\r\n"));
        assert_eq!(alone, format!("VALUE {key} {flags} {len}\r\n{value}\r\nEND\r\n"));
        let behind = text(&mut lab, &format!("mn\r\nget {key}\r\n"));
        assert_eq!(behind, format!("MN\r\n{alone}"));
        let before = text(&mut lab, &format!("get {key}\r\nget nothing\r\n"));
        assert_eq!(before, format!("{alone}END\r\n"));
        assert_eq!(lab.server.app().cache.commands().get_hits, hits + 3);
        if len <= 1_025 {
            let frame = [0, 7, 0, 0, 0, 1, 0, 0];
            let datagrams = lab.ask_by_datagram(&[&frame, format!("get {key}\r\n").as_bytes()].concat());
            let payloads: Vec<&[u8]> = datagrams.iter().map(|datagram| &datagram[frame.len()..]).collect();
            assert_eq!(payloads.concat(), alone.as_bytes());
            assert_eq!(datagrams[0][..2], frame[..2]);
        }
    }
    let counters = *lab.server.app().cache.commands();
    assert_eq!((counters.cmd_get, counters.get_hits + counters.get_misses), (14 * 4 + 12, 14 * 4 + 12));
}
