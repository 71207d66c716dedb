//! What scripts written for Linux take for granted: its error queue, Fast Open, records, and where it sets PSH.

#![allow(clippy::unwrap_used)]

mod tool;

use std::time::Duration;

use freeway_wire::tcp::{FastOpenCookie, Flags, Options};
use libc::{EAGAIN, EINPROGRESS, IPPROTO_TCP, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET};
use tool::{Peer, Tool, V4, V6, accepted, domain, listener};

const ACK: Flags = Flags::ACK;
const SO_TIMESTAMPING: i32 = 37;
const SO_ZEROCOPY: i32 = 60;
const MSG_ZEROCOPY: i32 = 0x0400_0000;
/// `TCP_INFO`'s number of SYN-RECEIVED, and its bit for data in a SYN.
const SYN_RECEIVED: u8 = 3;
const SYN_DATA: u8 = 32;

fn push() -> Flags {
    Flags::ACK | Flags::PSH
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[test]
fn lent_writes_are_reported_as_a_range_once_they_are_acknowledged() {
    for (ends, level) in
        [(V4, (libc::IPPROTO_IP, libc::IP_RECVERR)), (V6, (libc::IPPROTO_IPV6, libc::IPV6_RECVERR))]
    {
        let tool = Tool::new("");
        let mut peer = Peer::new(ends, 8_080);
        let fd = accepted(&tool, &mut peer);
        // Without the option the flag means nothing.
        tool.send(fd, b"copied", MSG_ZEROCOPY).unwrap();
        peer.hear(&tool);
        peer.say(&tool, ACK, &[]);
        assert_eq!(tool.report(fd), Err(EAGAIN));

        tool.set_int(fd, SOL_SOCKET, SO_ZEROCOPY, 1).unwrap();
        for before in [0, libc::POLLERR] {
            tool.send(fd, b"lent", MSG_ZEROCOPY).unwrap();
            peer.hear(&tool);
            assert_eq!(tool.poll(fd, 0, 0), before);
            peer.say(&tool, ACK, &[]);
        }
        assert_eq!(tool.poll(fd, 0, 0), libc::POLLERR);
        let (flags, controls) = tool.report(fd).unwrap();
        let [(kind, bytes)] = &controls[..] else { panic!("{controls:?}") };
        // No error; from a lent write that was copied; the first of them, and the last.
        assert_eq!((flags, *kind, &bytes[..8]), (libc::MSG_ERRQUEUE, level, &[0, 0, 0, 0, 5, 0, 1, 0][..]));
        assert_eq!((word(bytes, 8), word(bytes, 12)), (0, 1));
        assert_eq!(tool.report(fd), Err(EAGAIN));
        assert_eq!(tool.poll(fd, 0, 0), 0);
    }
}

#[test]
fn stamps_tell_when_a_write_left_and_when_it_arrived() {
    let tool = Tool::new("ts=off");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    // Software stamps of queueing, sending and acknowledgment, with the last byte's number.
    let wanted = 1 << 1 | 1 << 4 | 1 << 7 | 1 << 8 | 1 << 9;
    tool.set_int(fd, SOL_SOCKET, SO_TIMESTAMPING, wanted).unwrap();
    let left = tool.now();
    tool.write(fd, &[1; 100]).unwrap();
    peer.hear(&tool);
    tool.sleep(Duration::from_millis(20));
    let arrived = tool.now();
    peer.say(&tool, ACK, &[]);
    // SCM_TSTAMP_SCHED, _SND and _ACK.
    for (what, when) in [(1, left), (0, left), (2, arrived)] {
        let (flags, controls) = tool.report(fd).unwrap();
        assert_eq!(flags, libc::MSG_ERRQUEUE | libc::MSG_TRUNC);
        let [(stamp, times), (error, bytes)] = &controls[..] else { panic!("{controls:?}") };
        assert_eq!((*stamp, *error), ((SOL_SOCKET, 37), (libc::IPPROTO_IP, libc::IP_RECVERR)));
        assert_eq!((word(bytes, 0), bytes[4], word(bytes, 8)), (libc::ENOMSG as u32, 4, what));
        assert_eq!(word(bytes, 12), 99);
        let part = |at: usize| i64::from_ne_bytes(times[at..at + 8].try_into().unwrap());
        let at = part(0) * 1_000_000 + part(8) / 1_000;
        assert!((when..when + 1_000).contains(&at), "{at} is not {when}");
    }
    assert_eq!(tool.report(fd), Err(EAGAIN));
    // What there is no such stamp for is refused.
    assert_eq!(tool.set_int(fd, SOL_SOCKET, SO_TIMESTAMPING, 1 << 2), Err(libc::EINVAL));
}

#[test]
fn a_listener_takes_text_in_syns_that_bring_linuxs_cookie() {
    // The cookies of these addresses for this key, as a Linux host computes them.
    let key = "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4";
    for good in [true, false] {
        let tool = Tool::new(&format!("ts=off,tfokey={key}"));
        let mut peer = Peer::new(("192.168.0.1", "192.0.2.1"), 8_080);
        let listening = listener(&tool, &peer);
        tool.set_int(listening, IPPROTO_TCP, libc::TCP_FASTOPEN, 5).unwrap();
        let mut cookie = [0x30, 0x21, 0xb9, 0xd8, 0x89, 0x01, 0x7e, 0xeb];
        cookie[0] ^= u8::from(!good);
        let fast_open = FastOpenCookie::new(&cookie);
        let options = Options { mss: Some(1_000), fast_open, ..Options::default() };
        tool.inject(&peer.packet(Flags::SYN, b"early", options));
        let syn_ack = peer.hear(&tool);
        assert_eq!(syn_ack.repr.ack, peer.seq + if good { 6 } else { 1 });
        assert_eq!(syn_ack.repr.options.fast_open.is_some(), !good);
        if good {
            let (fd, _) = tool.accept(listening).unwrap();
            let info = tool.get(fd, IPPROTO_TCP, libc::TCP_INFO).unwrap();
            assert_eq!((info[0], info[5] & SYN_DATA), (SYN_RECEIVED, SYN_DATA));
            assert_eq!(tool.read(fd, 10).unwrap(), b"early");
            tool.write(fd, b"answer").unwrap();
            assert_eq!(peer.hear(&tool).payload, b"answer");
        }
    }
}

#[test]
fn an_open_takes_its_first_bytes_along_once_there_is_a_cookie() {
    let tool = Tool::new("ts=off");
    let mut peer = Peer::new(V4, 0);
    peer.port = 80;
    let fd = tool.socket(domain(&peer), SOCK_STREAM | SOCK_NONBLOCK);
    assert_eq!(tool.send_to(fd, b"early", libc::MSG_FASTOPEN, peer.addr()), Err(EINPROGRESS));
    let syn = peer.hear(&tool);
    assert_eq!((syn.repr.options.fast_open, syn.payload.len()), (Some(FastOpenCookie::REQUEST), 0));
    let cookie = FastOpenCookie::new(b"biscuits");
    let options = Options { mss: Some(1_000), fast_open: cookie, ..Options::default() };
    tool.inject(&peer.packet(Flags::SYN | ACK, &[], options));
    peer.seq += 1;
    assert_eq!(peer.hear(&tool).repr.flags, ACK);

    let mut peer = Peer::new(V4, 0);
    peer.port = 81;
    let fd = tool.socket(domain(&peer), SOCK_STREAM | SOCK_NONBLOCK);
    tool.set_int(fd, IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1).unwrap();
    // The SYN waits for the bytes.
    assert_eq!(tool.connect(fd, peer.addr()), Ok(0));
    assert_eq!(tool.write(fd, b"early"), Ok(5));
    let syn = peer.hear(&tool);
    assert_eq!((syn.repr.options.fast_open, &syn.payload[..]), (cookie, &b"early"[..]));
    peer.say(&tool, Flags::SYN | ACK, &[]);
    assert_eq!(peer.hear(&tool).repr.flags, ACK);
    let info = tool.get(fd, IPPROTO_TCP, libc::TCP_INFO).unwrap();
    assert_eq!((info[0], info[5] & SYN_DATA), (1, SYN_DATA));
}

#[test]
fn the_end_of_a_record_is_the_end_of_a_segment() {
    let tool = Tool::new("ts=off,iw=1");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    tool.write(fd, &[1; 1_200]).unwrap();
    tool.send(fd, &[2; 300], libc::MSG_EOR).unwrap();
    tool.send(fd, &[3; 400], libc::MSG_EOR).unwrap();
    tool.write(fd, &[4; 1_000]).unwrap();
    assert_eq!(peer.hear(&tool).payload.len(), 1_000);
    peer.say(&tool, ACK, &[]);
    // What was written before may share a segment with the first record, and nothing that follows.
    let mut seen = Vec::new();
    for _ in 0..3 {
        let next = peer.hear(&tool);
        seen.push((next.repr.flags, next.payload.len()));
        peer.say(&tool, ACK, &[]);
    }
    assert_eq!(seen, [(push(), 500), (push(), 400), (push(), 1_000)]);
}

#[test]
fn psh_stands_where_linuxs_large_segments_end_and_comes_again_where_writes_ended() {
    let tool = Tool::new("tso=off,ts=off");
    let mut peer = Peer::new(V4, 8_080);
    let fd = accepted(&tool, &mut peer);
    tool.write(fd, &[1; 6_000]).unwrap();
    let flags: Vec<_> = (0..6).map(|_| peer.hear(&tool).repr.flags).collect();
    // Five segments at once, for ten may be in flight, and the one that is left.
    assert_eq!(flags, [ACK, ACK, ACK, ACK, push(), push()]);
    // More follows a short write, and waits; what is sent again ends where its write did.
    peer.say(&tool, ACK, &[]);
    tool.write(fd, &[2; 500]).unwrap();
    assert_eq!(peer.hear(&tool).repr.flags, push());
    tool.write(fd, &[3; 300]).unwrap();
    let again = peer.hear(&tool);
    assert_eq!((again.repr.flags, again.payload.len()), (push(), 500));
}
