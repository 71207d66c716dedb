//! Calls through the table, as the tool makes them: what a script would see.

#![allow(clippy::unwrap_used)]

mod tool;

use std::thread;
use std::time::Duration;

use freeway_wire::tcp::Flags;
use freeway_wire::{Protocol, ipv4, udp};
use libc::{
    EAGAIN, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EINPROGRESS, EISCONN, ENOPROTOOPT, ENOTCONN, EPIPE,
    ETIMEDOUT, IPPROTO_TCP, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET,
};
use tool::{Peer, Table, Tool, V4, V6, accepted, domain, icmp_error, ip_packet, listener, transport};

const ACK: Flags = Flags::ACK;
const SECOND: i64 = 1_000_000;

fn push() -> Flags {
    Flags::ACK | Flags::PSH
}

fn nonblocking(tool: &Table, fd: i32) {
    let flags = tool.fcntl(fd, libc::F_GETFL, 0).unwrap() as i32;
    tool.fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK).unwrap();
}

#[test]
fn a_connection_carries_bytes_both_ways_over_both_versions() {
    for ends in [V4, V6] {
        let tool = Tool::new("");
        let mut peer = Peer::new(ends, 8_080);
        let fd = accepted(&tool, &mut peer);

        peer.say(&tool, push(), b"hello");
        let ack = peer.hear(&tool);
        assert_eq!((ack.repr.flags, ack.repr.ack), (ACK, peer.seq));
        assert_eq!(tool.read(fd, 100).unwrap(), b"hello");

        assert_eq!(tool.write(fd, b"good bye"), Ok(8));
        let data = peer.hear(&tool);
        assert_eq!((data.repr.flags, &data.payload[..]), (push(), &b"good bye"[..]));
        peer.say(&tool, ACK, &[]);

        tool.close(fd).unwrap();
        assert_eq!(peer.hear(&tool).repr.flags, Flags::FIN | ACK);
        peer.say(&tool, Flags::FIN | ACK, &[]);
        assert_eq!(peer.hear(&tool).repr.ack, peer.seq);
        // Nothing more comes, and waiting for it ends.
        assert!(tool.next_packet().is_none());
    }
}

#[test]
fn an_open_that_waits_is_told_of_by_poll_and_so_error() {
    for ends in [V4, V6] {
        let tool = Tool::new("");
        let mut peer = Peer::new(ends, 0);
        peer.port = 80;
        let fd = tool.socket(domain(&peer), SOCK_STREAM | SOCK_NONBLOCK);
        assert_eq!(tool.connect(fd, peer.addr()), Err(EINPROGRESS));
        assert_eq!(tool.connect(fd, peer.addr()), Err(libc::EALREADY));
        assert_eq!(tool.poll(fd, libc::POLLOUT, 0), 0);
        assert_eq!(tool.write(fd, b"x"), Err(EAGAIN));
        let syn = peer.hear(&tool);
        assert_eq!((syn.repr.flags, syn.repr.options.window_scale), (Flags::SYN, Some(0)));
        peer.say(&tool, Flags::SYN | ACK, &[]);
        assert_eq!(peer.hear(&tool).repr.flags, ACK);
        assert_eq!(tool.poll(fd, libc::POLLOUT, 0), libc::POLLOUT);
        assert_eq!(tool.get_int(fd, SOL_SOCKET, libc::SO_ERROR), Ok(0));
        assert_eq!(tool.connect(fd, peer.addr()), Ok(0));
        assert_eq!(tool.connect(fd, peer.addr()), Err(EISCONN));
        assert_eq!(tool.write(fd, b"x"), Ok(1));
    }
}

#[test]
fn a_second_thread_accepts_and_reads_when_the_script_gets_there() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let listening = listener(&tool, &peer);
    let table = tool.table.clone();
    let start = tool.now();
    let other = thread::spawn(move || {
        let (fd, _) = table.accept(listening).unwrap();
        let accepted_at = table.now();
        let bytes = table.read(fd, 100).unwrap();
        (accepted_at, bytes, table.now())
    });
    tool.sleep(Duration::from_millis(100));
    peer.open(&tool);
    tool.sleep(Duration::from_millis(100));
    peer.say(&tool, push(), b"late");
    tool.sleep(Duration::from_millis(100));
    let (accepted_at, bytes, read_at) = other.join().unwrap();
    assert_eq!(bytes, b"late");
    for (at, wanted) in [(accepted_at - start, 100_000), (read_at - start, 200_000)] {
        assert!((wanted..wanted + 1_000).contains(&at), "{at} µs instead of {wanted}");
    }
}

#[test]
fn a_blocking_open_ends_when_the_answer_comes() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 0);
    let fd = tool.socket(libc::AF_INET, SOCK_STREAM);
    let table = tool.table.clone();
    let addr = peer.addr();
    let other = thread::spawn(move || table.connect(fd, addr));
    tool.sleep(Duration::from_millis(10));
    peer.hear(&tool);
    peer.say(&tool, Flags::SYN | ACK, &[]);
    assert_eq!(other.join().unwrap(), Ok(0));
}

#[test]
fn a_write_without_room_waits_for_acknowledgments() {
    let tool = Tool::new("sndbuf=4000");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    let table = tool.table.clone();
    let other = thread::spawn(move || table.write(fd, &[7; 6_000]));
    tool.sleep(Duration::from_millis(10));
    let mut heard = 0;
    while heard < 6_000 {
        heard += peer.hear(&tool).payload.len();
        peer.say(&tool, ACK, &[]);
    }
    assert_eq!(other.join().unwrap(), Ok(6_000));
    nonblocking(&tool, fd);
    assert_eq!(tool.write(fd, &[7; 6_000]), Ok(4_000));
    assert_eq!(tool.write(fd, &[7; 6_000]), Err(EAGAIN));
    assert_eq!(tool.ioctl(fd, libc::TIOCOUTQ), Ok(4_000));
}

#[test]
fn a_write_sleeps_until_a_third_of_the_buffer_is_free() {
    let tool = Tool::new("sndbuf=6000,iw=20");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    let table = tool.table.clone();
    let other = thread::spawn(move || (table.write(fd, &[7; 7_000]), table.now()));
    tool.sleep(Duration::from_millis(10));
    let first = peer.hear(&tool).repr.seq;
    for acked in [1_000, 2_000] {
        tool.sleep(Duration::from_millis(10));
        assert!(!other.is_finished(), "{acked} bytes before this one are not enough");
        peer.ack = first + acked;
        peer.say(&tool, ACK, &[]);
    }
    let woken_at = tool.now();
    let (written, at) = other.join().unwrap();
    assert_eq!(written, Ok(7_000));
    assert!(at - woken_at < 1_000, "{at} µs, woken at {woken_at}");
}

#[test]
fn a_lost_segment_comes_again_in_virtual_time() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    tool.write(fd, b"lost").unwrap();
    let first = peer.hear(&tool);
    let mut last = first.at;
    // The handshake took no time: the time-out is at its floor, and doubles.
    for wait in [200_000, 400_000, 800_000] {
        let again = peer.hear(&tool);
        assert_eq!((again.repr.seq, &again.payload[..]), (first.repr.seq, &b"lost"[..]));
        let waited = again.at - last;
        assert!((wait..wait + 5_000).contains(&waited), "{waited} µs instead of {wait}");
        last = again.at;
    }
}

#[test]
fn the_syn_is_repeated_and_the_open_times_out() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 0);
    let fd = tool.socket(libc::AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
    tool.set_int(fd, IPPROTO_TCP, libc::TCP_SYNCNT, 2).unwrap();
    let start = tool.now();
    assert_eq!(tool.connect(fd, peer.addr()), Err(EINPROGRESS));
    for wanted in [0, SECOND, 3 * SECOND] {
        let at = peer.hear(&tool).at - start;
        assert!((wanted..wanted + 10_000).contains(&at), "{at} µs instead of {wanted}");
    }
    assert!(tool.next_packet().is_none());
    assert_eq!(tool.poll(fd, libc::POLLOUT, -1), libc::POLLOUT | libc::POLLERR | libc::POLLHUP);
    assert_eq!(tool.get_int(fd, SOL_SOCKET, libc::SO_ERROR), Ok(ETIMEDOUT));
}

#[test]
fn refusals_are_told_apart() {
    let cases = [(None, ECONNREFUSED), (Some((3, 1)), EHOSTUNREACH), (Some((3, 3)), ECONNREFUSED)];
    for (icmp, wanted) in cases {
        let tool = Tool::new("");
        let mut peer = Peer::new(V4, 0);
        let fd = tool.socket(libc::AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
        assert_eq!(tool.connect(fd, peer.addr()), Err(EINPROGRESS));
        let syn = peer.hear(&tool);
        match icmp {
            None => peer.say(&tool, Flags::RST | ACK, &[]),
            Some((kind, code)) => {
                tool.inject(&icmp_error(peer.remote, peer.local, kind, code, &syn.packet));
            }
        }
        assert_eq!(tool.get_int(fd, SOL_SOCKET, libc::SO_ERROR), Ok(wanted), "{icmp:?}");
        assert_eq!(tool.get_int(fd, SOL_SOCKET, libc::SO_ERROR), Ok(0));
    }
}

#[test]
fn a_reset_leaves_what_came_before_it_to_be_read_and_fails_once() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    peer.say(&tool, push(), b"last words");
    peer.say(&tool, Flags::RST | ACK, &[]);
    let all = libc::POLLIN | libc::POLLOUT | libc::POLLERR | libc::POLLHUP | libc::POLLRDHUP;
    assert_eq!(tool.poll(fd, libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP, 0), all);
    assert_eq!(tool.read(fd, 100).unwrap(), b"last words");
    assert_eq!(tool.read(fd, 100), Err(ECONNRESET));
    assert_eq!(tool.read(fd, 100), Ok(vec![]));
    assert_eq!(tool.write(fd, b"x"), Err(EPIPE));
}

#[test]
fn a_reset_after_the_peers_fin_is_a_broken_pipe() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    peer.say(&tool, Flags::FIN | ACK, &[]);
    assert_eq!(tool.read(fd, 100), Ok(vec![]));
    peer.say(&tool, Flags::RST | ACK, &[]);
    assert_eq!(tool.get_int(fd, SOL_SOCKET, libc::SO_ERROR), Ok(EPIPE));
}

#[test]
fn closing_with_unread_bytes_or_no_lingering_resets() {
    for unread in [true, false] {
        let tool = Tool::new("");
        let mut peer = Peer::new(V4, 8_080);
        let fd = accepted(&tool, &mut peer);
        if unread {
            peer.say(&tool, push(), b"nobody reads this");
            peer.hear(&tool);
        } else {
            let now = [1_i32.to_ne_bytes(), 0_i32.to_ne_bytes()].concat();
            tool.set(fd, SOL_SOCKET, libc::SO_LINGER, &now).unwrap();
        }
        tool.close(fd).unwrap();
        assert_eq!(peer.hear(&tool).repr.flags, Flags::RST | ACK);
        assert_eq!(tool.read(fd, 1), Err(libc::EBADF));
    }
}

#[test]
fn a_lingering_close_waits_for_the_peer_but_not_for_ever() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    tool.set(fd, SOL_SOCKET, libc::SO_LINGER, &[1_i32.to_ne_bytes(), 2_i32.to_ne_bytes()].concat()).unwrap();
    let start = tool.now();
    tool.close(fd).unwrap();
    let waited = tool.now() - start;
    assert!((2 * SECOND..2 * SECOND + 10_000).contains(&waited), "{waited} µs");
    assert_eq!(peer.hear(&tool).repr.flags, Flags::FIN | ACK);
}

#[test]
fn each_direction_is_shut_on_its_own() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    tool.shutdown(fd, libc::SHUT_WR).unwrap();
    assert_eq!(peer.hear(&tool).repr.flags, Flags::FIN | ACK);
    assert_eq!(tool.write(fd, b"x"), Err(EPIPE));
    peer.say(&tool, push(), b"still here");
    assert_eq!(tool.read(fd, 100).unwrap(), b"still here");
    nonblocking(&tool, fd);
    assert_eq!(tool.read(fd, 100), Err(EAGAIN));
    tool.shutdown(fd, libc::SHUT_RD).unwrap();
    assert_eq!(tool.read(fd, 100), Ok(vec![]));
    let fresh = tool.socket(libc::AF_INET, SOCK_STREAM);
    assert_eq!(tool.shutdown(fresh, libc::SHUT_RD), Err(ENOTCONN));
    assert_eq!(tool.shutdown(fresh, 9), Err(libc::EINVAL));
}

#[test]
fn a_fin_is_the_end_and_not_an_error() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    peer.say(&tool, Flags::FIN | push(), b"all");
    assert_eq!(tool.recv(fd, 2, libc::MSG_PEEK).unwrap(), b"al");
    assert_eq!(tool.ioctl(fd, libc::FIONREAD), Ok(3));
    assert_eq!(tool.poll(fd, libc::POLLIN | libc::POLLRDHUP, 0), libc::POLLIN | libc::POLLRDHUP);
    assert_eq!(tool.read(fd, 100).unwrap(), b"all");
    assert_eq!(tool.read(fd, 100), Ok(vec![]));
    assert_eq!(tool.write(fd, b"answer"), Ok(6));
}

#[test]
fn edges_are_told_once_and_levels_as_long_as_they_hold() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    let (level, edge) = (tool.epoll_create(), tool.epoll_create());
    tool.epoll_ctl(level, libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN).unwrap();
    tool.epoll_ctl(edge, libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET).unwrap();
    assert_eq!(tool.epoll_ctl(edge, libc::EPOLL_CTL_ADD, fd, 0), Err(libc::EEXIST));
    assert_eq!((tool.epoll_wait(level, 0), tool.epoll_wait(edge, 0)), (0, 0));
    peer.say(&tool, push(), b"one");
    for _ in 0..2 {
        assert_eq!(tool.epoll_wait(level, 0), libc::EPOLLIN);
    }
    assert_eq!(tool.epoll_wait(edge, 0), libc::EPOLLIN);
    assert_eq!(tool.epoll_wait(edge, 0), 0);
    peer.say(&tool, push(), b"two");
    assert_eq!(tool.epoll_wait(edge, 0), libc::EPOLLIN);
    tool.read(fd, 100).unwrap();
    assert_eq!(tool.epoll_wait(level, 0), 0);
    peer.say(&tool, Flags::FIN | ACK, &[]);
    assert_eq!(tool.epoll_wait(edge, 0), libc::EPOLLIN | libc::EPOLLRDHUP);
    assert_eq!(tool.epoll_wait(edge, 0), 0);
}

#[test]
fn room_to_write_is_an_edge_only_after_there_was_none() {
    let tool = Tool::new("sndbuf=3000");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    nonblocking(&tool, fd);
    let epoll = tool.epoll_create();
    tool.epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, libc::EPOLLOUT | libc::EPOLLET).unwrap();
    assert_eq!(tool.epoll_wait(epoll, 0), libc::EPOLLOUT);
    tool.write(fd, &[1; 1_000]).unwrap();
    peer.hear(&tool);
    peer.say(&tool, ACK, &[]);
    assert_eq!(tool.epoll_wait(epoll, 0), 0);
    assert_eq!(tool.write(fd, &[1; 9_000]), Ok(3_000));
    assert_eq!(tool.epoll_wait(epoll, 0), 0);
    for _ in 0..3 {
        peer.hear(&tool);
    }
    peer.say(&tool, ACK, &[]);
    assert_eq!(tool.epoll_wait(epoll, 0), libc::EPOLLOUT);
}

#[test]
fn waiting_on_the_scripts_own_thread_lets_time_pass() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    let start = tool.now();
    assert_eq!(tool.poll(fd, libc::POLLIN, 50), 0);
    let limit = [0_i64.to_ne_bytes(), 20_000_i64.to_ne_bytes()].concat();
    tool.set(fd, SOL_SOCKET, libc::SO_RCVTIMEO, &limit).unwrap();
    assert_eq!(tool.read(fd, 1), Err(EAGAIN));
    let waited = tool.now() - start;
    assert!((70_000..71_000).contains(&waited), "{waited} µs");
}

#[test]
fn tcp_info_shows_the_connection() {
    let tool = Tool::new("ts=off,iw=4");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    tool.write(fd, &[0; 2_500]).unwrap();
    let info = tool.get(fd, IPPROTO_TCP, libc::TCP_INFO).unwrap();
    let word = |at: usize| u32::from_ne_bytes(info[at..at + 4].try_into().unwrap());
    use std::mem::offset_of;
    assert_eq!(info[0], 1);
    assert_eq!(word(offset_of!(libc::tcp_info, tcpi_snd_mss)), 1_000);
    assert_eq!(word(offset_of!(libc::tcp_info, tcpi_snd_cwnd)), 4);
    assert_eq!(word(offset_of!(libc::tcp_info, tcpi_unacked)), 3);
    peer.say(&tool, Flags::FIN | ACK, &[]);
    assert_eq!(tool.get(fd, IPPROTO_TCP, libc::TCP_INFO).unwrap()[0], 8);
    let listening = listener(&tool, &Peer::new(V4, 9_090));
    assert_eq!(tool.get(listening, IPPROTO_TCP, libc::TCP_INFO).unwrap()[0], 10);
}

#[test]
fn options_are_what_they_were_set_to_or_refused() {
    let tool = Tool::new("");
    let fd = tool.socket(libc::AF_INET6, SOCK_STREAM);
    let ints = [
        (SOL_SOCKET, libc::SO_REUSEADDR, 1, 1),
        (SOL_SOCKET, libc::SO_KEEPALIVE, 1, 1),
        (SOL_SOCKET, libc::SO_RCVBUF, 10_000, 20_000),
        (SOL_SOCKET, libc::SO_SNDBUF, 10_000, 20_000),
        (IPPROTO_TCP, libc::TCP_NODELAY, 1, 1),
        (IPPROTO_TCP, libc::TCP_CORK, 1, 1),
        (IPPROTO_TCP, libc::TCP_MAXSEG, 1_200, 1_200),
        (IPPROTO_TCP, libc::TCP_KEEPIDLE, 7, 7),
        (IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 3_000, 3_000),
        (IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 9, 9),
        (IPPROTO_TCP, libc::TCP_LINGER2, -1, -1),
        (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1, 1),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, 0x20, 0x20),
        (libc::IPPROTO_IP, libc::IP_TTL, 3, 3),
    ];
    for (level, name, value, shown) in ints {
        tool.set_int(fd, level, name, value).unwrap();
        assert_eq!(tool.get_int(fd, level, name), Ok(shown), "{level} {name}");
    }
    assert_eq!(tool.set_int(fd, IPPROTO_TCP, libc::TCP_MD5SIG, 1), Err(ENOPROTOOPT));
    assert_eq!(tool.set_int(fd, SOL_SOCKET, libc::SO_PRIORITY, 1), Err(ENOPROTOOPT));
    assert_eq!(tool.get_int(fd, IPPROTO_TCP, 9_999), Err(ENOPROTOOPT));
    assert_eq!(tool.set(fd, IPPROTO_TCP, libc::TCP_CONGESTION, b"reno"), Ok(0));
    assert_eq!(&tool.get(fd, IPPROTO_TCP, libc::TCP_CONGESTION).unwrap()[..5], b"reno\0");
    assert_eq!(tool.set(fd, IPPROTO_TCP, libc::TCP_CONGESTION, b"nonesuch"), Err(libc::ENOENT));
}

#[test]
fn a_segment_size_of_the_sockets_own_is_advertised_and_kept() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = tool.socket(libc::AF_INET, SOCK_STREAM);
    tool.set_int(fd, IPPROTO_TCP, libc::TCP_MAXSEG, 600).unwrap();
    tool.bind(fd, peer.local_addr()).unwrap();
    tool.listen(fd, 1).unwrap();
    peer.say(&tool, Flags::SYN, &[]);
    assert_eq!(peer.hear(&tool).repr.options.mss, Some(600));
    peer.say(&tool, ACK, &[]);
    let (fd, _) = tool.accept(fd).unwrap();
    tool.write(fd, &[0; 1_000]).unwrap();
    assert_eq!([peer.hear(&tool), peer.hear(&tool)].map(|seen| seen.payload.len()), [600, 400]);
}

#[test]
fn settings_reach_a_connection_that_is_open() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    tool.set_int(fd, IPPROTO_TCP, libc::TCP_KEEPIDLE, 3).unwrap();
    tool.set_int(fd, IPPROTO_TCP, libc::TCP_KEEPINTVL, 2).unwrap();
    tool.set_int(fd, IPPROTO_TCP, libc::TCP_KEEPCNT, 2).unwrap();
    tool.set_int(fd, SOL_SOCKET, libc::SO_KEEPALIVE, 1).unwrap();
    let start = tool.now();
    for wanted in [3 * SECOND, 5 * SECOND] {
        let probe = peer.hear(&tool);
        assert_eq!(probe.payload.len(), 0);
        let at = probe.at - start;
        assert!((wanted - 5_000..wanted + 10_000).contains(&at), "{at} µs instead of {wanted}");
    }
    assert_eq!(tool.read(fd, 1), Err(ETIMEDOUT));
}

#[test]
fn small_writes_wait_for_company_unless_told_otherwise() {
    let tool = Tool::new("ts=off");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    tool.write(fd, b"first").unwrap();
    assert_eq!(peer.hear(&tool).payload, b"first");
    // Nagle: the second waits for the first's acknowledgment.
    tool.write(fd, b"second").unwrap();
    peer.say(&tool, ACK, &[]);
    assert_eq!(peer.hear(&tool).payload, b"second");
    peer.say(&tool, ACK, &[]);
    // More is promised: nothing goes out until it comes.
    tool.send(fd, b"half ", libc::MSG_MORE).unwrap();
    tool.sleep(Duration::from_millis(100));
    assert_eq!(tool.ioctl(fd, libc::TIOCOUTQ), Ok(5));
    tool.write(fd, b"whole").unwrap();
    assert_eq!(peer.hear(&tool).payload, b"half whole");
    peer.say(&tool, ACK, &[]);
    tool.set_int(fd, IPPROTO_TCP, libc::TCP_CORK, 1).unwrap();
    let start = tool.now();
    tool.writev(fd, &[b"cork", b"ed"]).unwrap();
    let corked = peer.hear(&tool);
    assert_eq!(corked.payload, b"corked");
    assert!((200_000..205_000).contains(&(corked.at - start)));
}

#[test]
fn closing_a_listener_resets_who_was_not_accepted() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let listening = listener(&tool, &peer);
    peer.open(&tool);
    assert_eq!(tool.poll(listening, libc::POLLIN, 0), libc::POLLIN);
    tool.close(listening).unwrap();
    assert_eq!(peer.hear(&tool).repr.flags, Flags::RST | ACK);
    nonblocking_accept_of_nothing(&tool);
}

fn nonblocking_accept_of_nothing(tool: &Table) {
    let fd = listener(tool, &Peer::new(V4, 8_081));
    nonblocking(tool, fd);
    assert_eq!(tool.accept(fd).map(|(fd, _)| fd), Err(EAGAIN));
    let taken = tool.socket(libc::AF_INET, SOCK_STREAM);
    assert_eq!(tool.bind(taken, Peer::new(V4, 8_081).local_addr()), Err(libc::EADDRINUSE));
}

#[test]
fn deferred_connections_are_accepted_with_their_first_bytes() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = listener(&tool, &peer);
    tool.set_int(fd, IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1).unwrap();
    nonblocking(&tool, fd);
    peer.open(&tool);
    assert!(tool.accept(fd).is_err());
    peer.say(&tool, push(), b"GET");
    let (fd, _) = tool.accept(fd).unwrap();
    assert_eq!(tool.read(fd, 9).unwrap(), b"GET");
}

#[test]
fn a_mapped_socket_speaks_ipv4() {
    let tool = Tool::new("local=192.168.0.1");
    let mut peer = Peer::new(V4, 8_080);
    let fd = tool.socket(libc::AF_INET6, SOCK_STREAM);
    tool.bind(fd, (tool::ANY_V6, 8_080).into()).unwrap();
    tool.listen(fd, 1).unwrap();
    peer.open(&tool);
    let (_, port) = tool.accept(fd).unwrap();
    assert_eq!(port, peer.port);
}

#[test]
fn messages_tell_how_much_is_left() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    const TCP_INQ: i32 = 36;
    tool.set_int(fd, IPPROTO_TCP, TCP_INQ, 1).unwrap();
    peer.say(&tool, push(), b"0123456789");
    assert_eq!(tool.recvmsg(fd, [3, 3]), Ok((b"012345".to_vec(), Some(4), 0)));
    peer.say(&tool, Flags::FIN | ACK, &[]);
    assert_eq!(tool.recvmsg(fd, [3, 3]), Ok((b"6789".to_vec(), Some(1), 0)));
}

#[test]
fn bytes_are_spliced_through_a_pipe() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    let [out, into] = tool.pipe();
    peer.say(&tool, push(), b"round");
    peer.hear(&tool);
    assert_eq!(tool.splice(fd, into, 100), Ok(5));
    assert_eq!(tool.splice(out, fd, 100), Ok(5));
    assert_eq!(peer.hear(&tool).payload, b"round");
    assert_eq!(tool.splice(out, into, 1), Err(libc::EINVAL));
}

#[test]
fn packets_carry_the_sockets_class_and_hops() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    tool.set_int(fd, libc::IPPROTO_IP, libc::IP_TOS, 0x28).unwrap();
    tool.set_int(fd, libc::IPPROTO_IP, libc::IP_TTL, 9).unwrap();
    tool.write(fd, b"x").unwrap();
    let packet = peer.hear(&tool).packet;
    let view = ipv4::Packet::new_checked(&packet[..]).unwrap();
    assert!(view.verify_checksum());
    assert_eq!((view.dscp(), view.ttl()), (0x28 >> 2, 9));
}

#[test]
fn a_narrow_path_is_learnt_from_icmp_and_shown() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    assert_eq!(tool.get_int(fd, libc::IPPROTO_IP, libc::IP_MTU), Ok(1_500));
    tool.write(fd, &[0; 1_000]).unwrap();
    let sent = peer.hear(&tool);
    let mut error = icmp_error(peer.remote, peer.local, 3, 4, &sent.packet);
    // The next hop's MTU is in the second word of the message.
    error[26..28].copy_from_slice(&600_u16.to_be_bytes());
    error[22..24].fill(0);
    let sum = freeway_wire::checksum::sum(&error[20..]).finish();
    error[22..24].copy_from_slice(&sum.to_be_bytes());
    tool.inject(&error);
    assert_eq!(peer.hear(&tool).payload.len(), 560);
    assert_eq!(tool.get_int(fd, libc::IPPROTO_IP, libc::IP_MTU), Ok(600));
}

#[test]
fn datagrams_come_and_go_and_are_refused() {
    let tool = Tool::new("");
    let peer = Peer::new(V4, 0);
    let fd = tool.socket(libc::AF_INET, libc::SOCK_DGRAM | SOCK_NONBLOCK);
    assert_eq!(tool.send(fd, b"x", 0), Err(libc::EDESTADDRREQ));
    assert_eq!(tool.sendto(fd, b"ping", peer.addr()), Ok(4));
    let (packet, _) = tool.next_packet().unwrap();
    let bytes = transport(&packet);
    let asked = udp::Datagram::new_checked(&bytes[..]).unwrap();
    assert_eq!((asked.dst_port(), asked.payload()), (peer.port, &b"ping"[..]));

    assert_eq!(tool.read(fd, 10), Err(EAGAIN));
    let repr = udp::Repr { src_port: peer.port, dst_port: asked.src_port(), payload_len: 4 };
    let mut answer = vec![0; udp::HEADER_LEN];
    answer.extend_from_slice(b"pong");
    repr.emit(&mut answer);
    freeway_wire::checksum::fill_transport(peer.remote, peer.local, Protocol::UDP, &mut answer);
    tool.inject(&ip_packet(peer.remote, peer.local, Protocol::UDP, &answer));
    assert_eq!(tool.poll(fd, libc::POLLIN | libc::POLLOUT, 0), libc::POLLIN | libc::POLLOUT);
    assert_eq!(tool.recv(fd, 2, libc::MSG_PEEK).unwrap(), b"po");
    assert_eq!(tool.read(fd, 10).unwrap(), b"pong");

    tool.connect(fd, peer.addr()).unwrap();
    tool.send(fd, b"again", 0).unwrap();
    let (packet, _) = tool.next_packet().unwrap();
    tool.inject(&icmp_error(peer.remote, peer.local, 3, 3, &packet));
    assert_eq!(tool.read(fd, 10), Err(ECONNREFUSED));
    tool.close(fd).unwrap();
}

#[test]
fn segments_sent_at_once_are_shown_as_one_if_the_script_wants_it() {
    for ends in [V4, V6] {
        let tool = Tool::new("tso=on,ts=off");
        let mut peer = Peer::new(ends, 8_080);
        let fd = accepted(&tool, &mut peer);
        let bytes: Vec<u8> = (0..3_500_u32).map(|place| place as u8).collect();
        tool.write(fd, &bytes).unwrap();
        let seen = peer.hear(&tool);
        assert_eq!((seen.repr.flags, seen.payload), (push(), bytes));
        peer.say(&tool, ACK, &[]);
        tool.write(fd, b"small").unwrap();
        tool.sleep(Duration::from_millis(1));
        peer.say(&tool, push(), b"x");
        assert_eq!(peer.hear(&tool).payload, b"small");
        assert_eq!(peer.hear(&tool).repr.ack, peer.seq);
    }
}

#[test]
fn null_is_a_bad_address_only_where_bytes_would_go() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    nonblocking(&tool, fd);
    assert_eq!(tool.send_null(fd, 10), Err(libc::EFAULT));
    assert_eq!(tool.read_null(fd, 10), Err(EAGAIN));
    peer.say(&tool, push(), b"kept");
    assert_eq!(tool.read_null(fd, 10), Err(libc::EFAULT));
    assert_eq!(tool.read(fd, 10).unwrap(), b"kept");
    assert_eq!(tool.send_null(fd, 0), Ok(0));
}

#[test]
fn what_more_was_promised_for_follows_the_next_acknowledgment() {
    let tool = Tool::new("ts=off");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    tool.set_int(fd, IPPROTO_TCP, libc::TCP_NODELAY, 1).unwrap();
    tool.send(fd, &[1; 1_100], libc::MSG_MORE).unwrap();
    assert_eq!(peer.hear(&tool).payload.len(), 1_000);
    tool.sleep(Duration::from_millis(10));
    peer.say(&tool, ACK, &[]);
    let start = tool.now();
    let rest = peer.hear(&tool);
    assert_eq!(rest.payload.len(), 100);
    assert!(rest.at <= start);
    peer.say(&tool, ACK, &[]);
    tool.send(fd, b"held", libc::MSG_MORE).unwrap();
    tool.set_int(fd, IPPROTO_TCP, libc::TCP_NODELAY, 1).unwrap();
    assert_eq!(peer.hear(&tool).payload, b"held");
}

#[test]
fn a_backlog_that_is_full_lets_nobody_in() {
    let tool = Tool::new("");
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::new(V4, 8_080)).collect();
    let fd = tool.socket(libc::AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
    tool.bind(fd, peers[0].local_addr()).unwrap();
    tool.listen(fd, 1).unwrap();
    for (place, peer) in peers.iter_mut().enumerate() {
        peer.port += place as u16;
        peer.say(&tool, Flags::SYN, &[]);
        if place < 2 {
            peer.hear(&tool);
            peer.say(&tool, ACK, &[]);
        }
    }
    assert!(tool.next_packet().is_none(), "the third is not answered");
    assert!(tool.accept(fd).is_ok() && tool.accept(fd).is_ok());
    assert_eq!(tool.accept(fd).map(|(fd, _)| fd), Err(EAGAIN));
    peers[2].seq = freeway_wire::tcp::SeqNumber(0);
    peers[2].open(&tool);
    assert!(tool.accept(fd).is_ok());
}

#[test]
fn the_c_librarys_getsockopt_knows_the_objects_descriptors() {
    let tool = Tool::new("");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    assert_eq!(tool::library_getsockopt(fd, IPPROTO_TCP, libc::TCP_INFO).unwrap()[0], 1);
    assert_eq!(tool::library_getsockopt(fd, IPPROTO_TCP, 26).unwrap(), b"");
    assert_eq!(tool::library_getsockopt(fd, SOL_SOCKET, 55).unwrap().len(), 36);
    assert_eq!(tool::library_getsockopt(0, SOL_SOCKET, libc::SO_TYPE), Err(libc::ENOTSOCK));
}
