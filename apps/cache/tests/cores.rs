//! The server on several cores: every answer is what one core would have given, in the same order, however requests arrive
//! and whatever is in short supply.
#![allow(clippy::unwrap_used)]

mod lab;

use freeway::port::FaultConfig;
use freeway::{PostConfig, Rng, Seed};
use freeway_cache::CacheConfig;
use lab::{Lab, config};

const MEMORY: usize = 16 << 20;

/// So little of everything that connections wait all the time.
fn scarce() -> CacheConfig {
    CacheConfig { tasks_max: 6, asks_max: 5, held_max: 2, ..config(MEMORY) }
}

const SMALL_RINGS: PostConfig = PostConfig { slots: 2, slot_size: 10_240 };

fn is_clean(lab: &Lab) -> bool {
    std::iter::once(&lab.server)
        .chain(&lab.others)
        .all(|core| core.app().cache.tasks() == 0 && core.app().cache.parts() == 0)
}

/// A request of any kind on one of a few keys, in text.
fn request(rng: &mut Rng, number: u32) -> String {
    let key = |rng: &mut Rng| format!("key{}", rng.below(12));
    let len = [0_usize, 1, 30, 900, 4_000, 5_000, 20_000, 70_000][rng.below(8) as usize];
    let value: String = (0..len).map(|at| char::from(b'a' + ((at + number as usize) % 26) as u8)).collect();
    let noreply = if rng.below(4) == 0 { " noreply" } else { "" };
    let k = key(rng);
    match rng.below(20) {
        0 | 1 => format!("set {k} {} 0 {len}{noreply}\r\n{value}\r\n", number % 100),
        2 => format!("add {k} 1 0 3{noreply}\r\nadd\r\n"),
        3 => format!("replace {k} 1 0 {len}\r\n{value}\r\n"),
        4 => format!("append {k} 0 0 2{noreply}\r\n>>\r\n"),
        5 => format!("delete {k}{noreply}\r\n"),
        6 => format!("set {k} 0 0 2\r\n41\r\nincr {k} {}\r\n", number % 9),
        7 => format!("touch {k} 1000{noreply}\r\n"),
        8 => format!("gat 500 {k} {}\r\n", key(rng)),
        9 => format!("mg {k} v f s k q\r\nmn\r\n"),
        10 => format!("ms {k} {len} F3 k s\r\n{value}\r\n"),
        11 => format!("md {k} q\r\nmn\r\n"),
        12 => format!("ma {k} N0 J5 v\r\n"),
        13 => "version\r\n".into(),
        14 => "nonsense\r\n".into(),
        15 => format!("set {k} 0 0 1\r\ntoo long\r\n"),
        16 if rng.below(4) == 0 => "flush_all\r\n".into(),
        _ => {
            let keys: Vec<String> = (0..1 + rng.below(40)).map(|_| key(rng)).collect();
            format!("get {}\r\n", keys.join(" "))
        }
    }
}

/// The same requests to one core and to several; in lumps, so that answers of several cores are under way at once.
fn same_answers(config: &CacheConfig, cores: u32, post: PostConfig, seed: u64) {
    let mut rng = Rng::new(Seed(seed));
    let mut one = Lab::new(self::config(MEMORY), 1);
    let mut several = Lab::build(config, 1, FaultConfig::NONE, Seed(seed), (cores, post));
    let mut number = 0;
    for _ in 0..60 {
        let lump: String = (0..1 + rng.below(12))
            .map(|_| {
                number += 1;
                request(&mut rng, number)
            })
            .collect();
        let expected = one.ask(0, lump.as_bytes());
        let answer = several.ask(0, lump.as_bytes());
        if answer != expected {
            let at = answer.iter().zip(&expected).position(|(a, b)| a != b);
            let shown = |text: &[u8]| {
                let at = at.unwrap_or(text.len().min(expected.len()));
                String::from_utf8_lossy(
                    &text[at.saturating_sub(60).min(text.len())..(at + 60).min(text.len())],
                )
                .into_owned()
            };
            let head: Vec<String> = lump.lines().map(|line| line.chars().take(60).collect()).collect();
            panic!(
                "seed {seed}: {} bytes for {}, at {at:?}: {:?} for {:?}, to {head:#?}",
                answer.len(),
                expected.len(),
                shown(&answer),
                shown(&expected)
            );
        }
    }
    assert!(is_clean(&several), "seed {seed}");
    let asked: u64 = several.others.iter().map(|core| core.app().cache.counters().asked).sum();
    let asked = asked + several.server.app().cache.counters().asked;
    assert!(asked > 100, "{asked} questions");
}

#[test]
fn two_cores_answer_as_one() {
    for seed in 1..=6 {
        same_answers(&config(MEMORY), 2, PostConfig::default(), seed);
    }
}

#[test]
fn five_cores_answer_as_one() {
    for seed in 10..=12 {
        same_answers(&config(MEMORY), 5, PostConfig::default(), seed);
    }
}

#[test]
fn what_is_in_short_supply_delays_answers_and_changes_none() {
    for seed in 20..=25 {
        same_answers(&scarce(), 3, SMALL_RINGS, seed);
    }
}

#[test]
fn many_connections_share_what_is_scarce() {
    let mut lab = Lab::build(&scarce(), 40, FaultConfig::NONE, Seed(1), (3, SMALL_RINGS));
    for number in 0..40 {
        let value = format!("value of {number}");
        let request = format!("set key{number} 0 0 {}\r\n{value}\r\nget key{number}\r\n", value.len());
        lab.line(number).to_say.extend(request.repeat(20).as_bytes());
    }
    lab.turns(4_000);
    for number in 0..40 {
        let value = format!("value of {number}");
        let answer = format!("STORED\r\nVALUE key{number} 0 {}\r\n{value}\r\nEND\r\n", value.len());
        let heard = std::mem::take(&mut lab.line(number).heard);
        assert_eq!(String::from_utf8(heard).unwrap(), answer.repeat(20));
    }
    assert!(is_clean(&lab));
    assert!(lab.server.app().cache.counters().stalled > 0);
}

#[test]
fn connections_that_end_in_the_middle_leave_nothing_behind() {
    for seed in 1..=4 {
        let mut rng = Rng::new(Seed(seed));
        let mut lab = Lab::build(&config(MEMORY), 24, FaultConfig::NONE, Seed(seed), (3, SMALL_RINGS));
        for number in 0..24 {
            lab.line(number).listens = number % 2 == 0;
            let mut lump = String::new();
            for k in 0..8 {
                lump +=
                    &format!("set k{k} 0 0 60000\r\n{}\r\nget k{k} k{}\r\n", "x".repeat(60_000), (k + 3) % 8);
            }
            lump += "set cut 0 0 90000\r\nnever whole";
            lab.line(number).to_say.extend(lump.as_bytes());
        }
        for number in 0..24 {
            lab.turns(1 + rng.below(60));
            lab.cut_off_at_once(number);
        }
        lab.turns(2_000);
        assert!(is_clean(&lab), "seed {seed}");
        for core in std::iter::once(&mut lab.server).chain(&mut lab.others) {
            assert_eq!(core.app_mut().cache.cache().store.pinned(), 0);
        }
    }
}

#[test]
fn what_concerns_all_keys_reaches_all_cores() {
    let mut lab = Lab::with_cores(&config(MEMORY), 2, 3);
    let sets: String = (0..60).map(|n| format!("set key{n} 0 0 5 noreply\r\nvalue\r\n")).collect();
    lab.ask(0, sets.as_bytes());
    let stats = |lab: &mut Lab| String::from_utf8(lab.ask(1, b"stats\r\n")).unwrap();
    let all = stats(&mut lab);
    assert!(all.contains("STAT curr_items 60\r\n") && all.contains("STAT cmd_set 60\r\n"), "{all}");
    assert!(all.contains("STAT curr_connections 2\r\n") && all.ends_with("END\r\n"));
    let list = String::from_utf8(lab.ask(1, b"lru_crawler metadump all\r\nversion\r\n")).unwrap();
    assert_eq!(list.lines().filter(|line| line.starts_with("key=key")).count(), 60);
    assert!(list.contains("END\r\nVERSION"));
    let list = String::from_utf8(lab.ask(0, b"lru_crawler mgdump all\r\n")).unwrap();
    assert_eq!(list.lines().filter(|line| line.starts_with("mg key")).count(), 60);
    assert!(list.ends_with("EN\r\n"));
    assert_eq!(lab.ask(0, b"stats reset\r\nset a 0 0 1\r\nb\r\n"), b"RESET\r\nSTORED\r\n");
    assert!(stats(&mut lab).contains("STAT cmd_set 1\r\n"));
    assert_eq!(lab.ask(1, b"flush_all\r\n"), b"OK\r\n");
    let gets: String = (0..60).map(|n| format!("get key{n}\r\n")).collect();
    assert_eq!(lab.ask(0, gets.as_bytes()), "END\r\n".repeat(60).as_bytes());
    assert!(stats(&mut lab).contains("STAT cmd_flush 3\r\n"));
    assert!(is_clean(&lab));
}

#[test]
fn both_ends_may_ask_for_all_counters_at_once() {
    let mut lab = Lab::with_cores(&config(MEMORY), 12, 3);
    for number in 0..12 {
        lab.line(number).to_say.extend(b"stats\r\nstats\r\nget nothing\r\n");
    }
    lab.turns(500);
    for number in 0..12 {
        let heard = String::from_utf8(std::mem::take(&mut lab.line(number).heard)).unwrap();
        assert_eq!(heard.matches("STAT curr_connections 12\r\n").count(), 2, "{number}: {heard}");
        assert!(heard.ends_with("END\r\nEND\r\n"));
    }
    assert!(is_clean(&lab));
}

#[test]
fn watchers_see_what_happens_on_every_core() {
    let mut lab = Lab::with_cores(&config(MEMORY), 2, 3);
    assert_eq!(lab.ask(1, b"watch mutations\r\n"), b"OK\r\n");
    let sets: String = (0..30).map(|n| format!("set key{n} 0 0 5\r\nvalue\r\n")).collect();
    lab.ask(0, sets.as_bytes());
    let seen = String::from_utf8(std::mem::take(&mut lab.line(1).heard)).unwrap();
    assert_eq!(seen.lines().filter(|line| line.contains("type=item_store")).count(), 30, "{seen}");
}

#[test]
fn binary_requests_reach_the_keys_core() {
    let mut one = Lab::new(config(MEMORY), 1);
    let mut lab = Lab::with_cores(&config(MEMORY), 1, 4);
    let mut requests = Vec::new();
    let mut request = |opcode: u8, extras: &[u8], key: &str, value: &[u8], opaque: u32| {
        let body = (extras.len() + key.len() + value.len()) as u32;
        requests.extend([0x80, opcode, 0, key.len() as u8, extras.len() as u8, 0, 0, 0]);
        requests.extend(body.to_be_bytes());
        requests.extend(opaque.to_be_bytes());
        requests.extend([0; 8]);
        requests.extend(extras);
        requests.extend(key.as_bytes());
        requests.extend(value);
    };
    for n in 0..20 {
        let value = vec![b'v'; 40 + 500 * n as usize];
        request(0x11, &[0; 8], &format!("key{n}"), &value, n);
    }
    for n in 0..25 {
        request(0x0d, &[], &format!("key{n}"), b"", 100 + n);
    }
    request(0x0a, &[], "", b"", 999);
    let expected = one.ask(0, &requests);
    assert!(expected.len() > 20 * 500);
    // CAS uniques are each core's own.
    let blind = |mut bytes: Vec<u8>| {
        let mut at = 0;
        while at + 24 <= bytes.len() {
            bytes[at + 16..at + 24].fill(0);
            at += 24 + u32::from_be_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        }
        bytes
    };
    assert_eq!(blind(lab.ask(0, &requests)), blind(expected));
    assert!(is_clean(&lab));
}

#[test]
fn datagrams_are_answered_whole() {
    let mut lab = Lab::with_cores(&config(MEMORY), 1, 3);
    let sets: String = (0..100).map(|n| format!("set key{n} 0 0 40\r\n{}\r\n", "v".repeat(40))).collect();
    lab.ask(0, sets.as_bytes());
    let ask = |lab: &mut Lab, request: &str| {
        let frame = [&[7, 9, 0, 0, 0, 1, 0, 0], request.as_bytes()].concat();
        let mut parts = lab.ask_by_datagram(&frame);
        parts.sort_by_key(|part| u16::from_be_bytes([part[2], part[3]]));
        assert!(parts.iter().all(|part| part[..2] == [7, 9] && part[5] == parts.len() as u8));
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part[8..].to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    };
    for n in 0..12 {
        let value = "v".repeat(40);
        assert_eq!(
            ask(&mut lab, &format!("get key{n}\r\n")),
            format!("VALUE key{n} 0 40\r\n{value}\r\nEND\r\n")
        );
    }
    let keys: Vec<String> = (0..100).map(|n| format!("key{n}")).collect();
    let answer = ask(&mut lab, &format!("get {}\r\n", keys.join(" ")));
    let seen: Vec<&str> =
        answer.lines().filter_map(|line| line.strip_prefix("VALUE ")?.split(' ').next()).collect();
    assert_eq!(seen, keys);
    assert!(answer.ends_with("END\r\n"));
    for n in 0..9 {
        let value = "long".repeat(400 + 1_000 * n);
        lab.ask(0, format!("set long{n} 0 0 {}\r\n{value}\r\n", value.len()).as_bytes());
        let wanted = format!("VALUE long{n} 0 {}\r\n{value}\r\n", value.len());
        assert!(ask(&mut lab, &format!("get long{n}\r\n")) == format!("{wanted}END\r\n"), "long{n}");
        let answer = ask(&mut lab, &format!("get key8 long{n} key9\r\n"));
        assert!(answer.starts_with("VALUE key8") && answer.contains(&wanted) && answer.ends_with("END\r\n"));
    }
    assert_eq!(ask(&mut lab, "set key5 0 0 1\r\nx\r\nget key5 key6\r\ndelete key7\r\n").lines().count(), 7);
    assert!(is_clean(&lab));
}
