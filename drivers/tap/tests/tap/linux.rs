//! What frames look like that Linux hands over: sums filled in, segments cut.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use freeway_mem::{PacketPool, RxBurst, TxBurst};
use freeway_port::conformance::pool_for;
use freeway_port::{Port, RxQueue, TxQueue};
use freeway_tap::{LinuxEnd, Tap, configure};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

use crate::namespace::in_namespace;

const LINUX: [u8; 4] = [198, 18, 0, 1];
const OURS: [u8; 4] = [198, 18, 0, 2];
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A host that knows how to answer ARP.
struct Host {
    tap: Tap,
    pool: PacketPool,
}

impl Host {
    fn new() -> Self {
        let mut taps = Tap::open("fwtest0", 1).unwrap();
        let addresses = vec![(Ipv4Addr::from(LINUX).into(), 24)];
        configure(&mut taps, &LinuxEnd { addresses, ..LinuxEnd::default() }).unwrap();
        let tap = taps.remove(0);
        let pool = pool_for(tap.info(), 1_024);
        Self { tap, pool }
    }

    /// Frames of IPv4 that arrive until `enough`, with ARP answered meanwhile.
    fn receive(&mut self, mut enough: impl FnMut(&[Vec<u8>]) -> bool) -> Vec<Vec<u8>> {
        let over = Instant::now() + Duration::from_secs(5);
        let mut frames = Vec::new();
        while !enough(&frames) {
            assert!(Instant::now() < over, "only {} frames came", frames.len());
            let mut burst = RxBurst::new();
            self.tap.rx_burst(&self.pool, &mut burst);
            for packet in burst {
                match packet.data()[12..14].try_into().unwrap() {
                    ARP => self.answer_arp(packet.data()),
                    IPV4 => frames.push(packet.data().to_vec()),
                    _ => {}
                }
            }
        }
        frames
    }

    fn send(&mut self, frame: &[u8]) {
        let mut packet = self.pool.alloc().unwrap();
        assert!(packet.copy_from_slice(frame));
        assert_eq!(self.tap.tx_burst(&mut TxBurst::from_iter([packet.share()])), 1);
        assert_eq!(self.tap.counters().tx_errors, 0);
    }

    /// RFC 826: the question with the roles exchanged.
    fn answer_arp(&mut self, question: &[u8]) {
        let mac = self.tap.info().mac;
        let mut answer = question.to_vec();
        answer[..6].copy_from_slice(&question[6..12]);
        answer[6..12].copy_from_slice(&mac);
        answer[21] = 2;
        answer[22..28].copy_from_slice(&mac);
        answer[28..32].copy_from_slice(&OURS);
        answer[32..42].copy_from_slice(&question[22..32]);
        if question[38..42] == OURS && question[21] == 1 {
            self.send(&answer);
        }
    }
}

/// The Internet checksum's sum over `bytes` (RFC 1071), folded: 0xffff over what includes its right sum.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The IPv4 packet of a frame, without the fill behind it.
fn packet_of(frame: &[u8]) -> &[u8] {
    let len = u16::from_be_bytes(frame[16..18].try_into().unwrap());
    &frame[14..14 + usize::from(len)]
}

/// The sum over the segment of a packet without options, and its pseudo-header (RFC 9293, section 3.1).
fn transport_sum(packet: &[u8]) -> u16 {
    let segment = &packet[20..];
    let len = (segment.len() as u16).to_be_bytes();
    sum(&[&packet[12..20], &[0, packet[9]], &len, segment].concat())
}

fn assert_sums_are_right(frame: &[u8]) {
    let packet = packet_of(frame);
    assert_eq!(sum(&packet[..20]), 0xffff, "the sum of an IPv4 header");
    assert_eq!(transport_sum(packet), 0xffff, "the sum of a segment of protocol {}", packet[9]);
}

fn of_protocol(frames: &[Vec<u8>], protocol: u8) -> Vec<&[u8]> {
    frames.iter().map(Vec::as_slice).filter(|frame| packet_of(frame)[9] == protocol).collect()
}

#[test]
fn udp_from_linux_has_right_sums() {
    in_namespace("udp_from_linux_has_right_sums", || {
        let mut host = Host::new();
        let socket = UdpSocket::bind((Ipv4Addr::from(LINUX), 0)).unwrap();
        for len in [0, 1, 100, 1_472] {
            socket.send_to(&vec![7; len], (Ipv4Addr::from(OURS), 9)).unwrap();
        }
        let frames = host.receive(|frames| of_protocol(frames, UDP).len() >= 4);
        of_protocol(&frames, UDP).into_iter().for_each(assert_sums_are_right);
    });
}

/// A SYN-ACK to the SYN in `frame`, with a large window and the usual segment size.
fn syn_ack(frame: &[u8]) -> Vec<u8> {
    let port = |at: usize| [frame[34 + at], frame[35 + at]];
    let seq = u32::from_be_bytes(frame[38..42].try_into().unwrap());
    let mut tcp = [port(2), port(0)].concat();
    tcp.extend_from_slice(&1_000_u32.to_be_bytes());
    tcp.extend_from_slice(&seq.wrapping_add(1).to_be_bytes());
    // Six words of header, SYN and ACK, the window; then the sum, no urgent data, and the MSS option (kind 2).
    tcp.extend_from_slice(&[0x60, 0x12, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 0x05, 0xb4]);

    let total = (20 + tcp.len() as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, TCP, 0, 0];
    packet.extend_from_slice(&OURS);
    packet.extend_from_slice(&LINUX);
    let header_sum = (!sum(&packet)).to_be_bytes();
    packet[10..12].copy_from_slice(&header_sum);
    packet.extend_from_slice(&tcp);
    let tcp_sum = (!transport_sum(&packet)).to_be_bytes();
    packet[36..38].copy_from_slice(&tcp_sum);
    [&frame[6..12], &frame[..6], &IPV4, &packet].concat()
}

#[test]
fn tcp_from_linux_has_right_sums_and_no_segment_above_the_mtu() {
    in_namespace("tcp_from_linux_has_right_sums_and_no_segment_above_the_mtu", || {
        let mut host = Host::new();
        let nonblocking = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Stream, nonblocking, None).unwrap();
        let [a, b, c, d] = OURS;
        let connecting = connect(OwnedFd::as_raw_fd(&socket), &SockaddrIn::new(a, b, c, d, 80));
        assert_eq!(connecting, Err(Errno::EINPROGRESS));
        let frames = host.receive(|frames| !of_protocol(frames, TCP).is_empty());
        let syn = of_protocol(&frames, TCP)[0].to_vec();
        assert_sums_are_right(&syn);
        host.send(&syn_ack(&syn));

        // The initial window is ten segments: what Linux would leave to a card in one piece.
        let mut stream = TcpStream::from(socket);
        let acknowledged = host.receive(|frames| !of_protocol(frames, TCP).is_empty());
        assert_sums_are_right(&acknowledged[0]);
        assert!(stream.write(&[7; 1 << 16]).unwrap() > 20_000);
        let payload = |frames: &[Vec<u8>]| {
            of_protocol(frames, TCP).iter().map(|frame| packet_of(frame).len() - 40).sum::<usize>()
        };
        let frames = host.receive(|frames| payload(frames) >= 10 * 1_460);
        for frame in of_protocol(&frames, TCP) {
            assert_sums_are_right(frame);
            assert!(frame.len() <= 1_514, "a frame of {} bytes", frame.len());
        }
        assert_eq!(host.tap.counters().rx_dropped_too_long, 0);
    });
}
