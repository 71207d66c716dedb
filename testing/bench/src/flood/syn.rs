//! SYNs by the hundred thousand: one is made with care, the others are copies in which sender and sequence number change.
//!
//! The checksums follow the changes without another look at the bytes (RFC 1624).

use std::net::{Ipv4Addr, SocketAddrV4};

use freeway_wire::tcp::{Flags, HEADER_LEN, Options, Repr, Timestamps};
use freeway_wire::{Ecn, MacAddr, Protocol, checksum, ethernet, ipv4};

/// Where the headers begin, and where the fields lie that differ from one SYN to the next.
const IP: usize = ethernet::HEADER_LEN;
const TCP: usize = IP + ipv4::HEADER_LEN;
const IP_CHECKSUM: usize = IP + 10;
const IP_SRC: usize = IP + 12;
const TCP_SRC_PORT: usize = TCP;
const TCP_SEQ: usize = TCP + 4;
const TCP_CHECKSUM: usize = TCP + 16;
/// A SYN as Linux sends it: segment size, SACK, timestamps, window scale.
const OPTIONS_LEN: usize = 20;

/// Bytes of the frame.
pub const SYN_LEN: usize = TCP + HEADER_LEN + OPTIONS_LEN;

/// A SYN for one server, from nobody yet.
#[derive(Clone, Copy, Debug)]
pub struct SynTemplate {
    frame: [u8; SYN_LEN],
    /// With the address, the port and the sequence number all zero.
    ip_checksum: u16,
    tcp_checksum: u16,
}

impl SynTemplate {
    /// A SYN to `server`, between the stations `from` and `to`.
    pub fn new(from: MacAddr, to: MacAddr, server: SocketAddrV4) -> Self {
        let nobody = Ipv4Addr::UNSPECIFIED;
        let options = Options {
            mss: Some(1_460),
            sack_permitted: true,
            timestamps: Some(Timestamps { value: 1, echo: 0 }),
            window_scale: Some(7),
            ..Options::default()
        };
        let syn =
            Repr { dst_port: server.port(), flags: Flags::SYN, window: 64_240, options, ..Repr::default() };
        let ip = ipv4::Repr {
            src: nobody,
            dst: *server.ip(),
            protocol: Protocol::TCP,
            ttl: 64,
            dscp: 0,
            ecn: Ecn::NotEct,
            ident: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len: (SYN_LEN - TCP) as u16,
        };
        let mut frame = [0; SYN_LEN];
        ethernet::Repr { dst: to, src: from, ethertype: ethernet::EtherType::IPV4 }.emit(&mut frame);
        ip.emit(&mut frame[IP..]);
        syn.emit(&mut frame[TCP..]);
        checksum::fill_transport(nobody.into(), (*server.ip()).into(), Protocol::TCP, &mut frame[TCP..]);
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        Self { frame, ip_checksum: word(IP_CHECKSUM), tcp_checksum: word(TCP_CHECKSUM) }
    }

    /// Writes a SYN from `src` with the initial sequence number `seq`.
    #[inline]
    pub fn write(&self, into: &mut [u8; SYN_LEN], src: SocketAddrV4, seq: u32) {
        let (addr, port) = (src.ip().to_bits(), src.port());
        let ip_checksum = checksum::update32(self.ip_checksum, 0, addr);
        let tcp_checksum = checksum::update32(self.tcp_checksum, 0, addr);
        let tcp_checksum = checksum::update16(tcp_checksum, 0, port);
        let tcp_checksum = checksum::update32(tcp_checksum, 0, seq);
        *into = self.frame;
        into[IP_CHECKSUM..IP_CHECKSUM + 2].copy_from_slice(&ip_checksum.to_be_bytes());
        into[IP_SRC..IP_SRC + 4].copy_from_slice(&addr.to_be_bytes());
        into[TCP_SRC_PORT..TCP_SRC_PORT + 2].copy_from_slice(&port.to_be_bytes());
        into[TCP_SEQ..TCP_SEQ + 4].copy_from_slice(&seq.to_be_bytes());
        into[TCP_CHECKSUM..TCP_CHECKSUM + 2].copy_from_slice(&tcp_checksum.to_be_bytes());
    }
}

/// The control bits of a segment without IP options to an address that `is_forged`; `None` for every other frame.
#[inline]
pub fn answer_to(frame: &[u8], is_forged: impl FnOnce(Ipv4Addr) -> bool) -> Option<Flags> {
    const ETHERTYPE: usize = 12;
    const IP_DST: usize = IP + 16;
    let header = frame.first_chunk::<{ TCP + 14 }>()?;
    let is_segment = header[ETHERTYPE..IP + 1] == [0x08, 0x00, 0x45] && header[IP + 9] == Protocol::TCP.0;
    let dst = Ipv4Addr::new(header[IP_DST], header[IP_DST + 1], header[IP_DST + 2], header[IP_DST + 3]);
    (is_segment && is_forged(dst)).then(|| Flags::from_bits_retain(header[TCP + 13]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway::{Rng, Seed};
    use freeway_wire::tcp::Segment;

    use super::*;

    const FROM: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const TO: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn server() -> SocketAddrV4 {
        "198.18.0.2:7".parse().unwrap()
    }

    #[test]
    fn each_is_a_good_syn_of_its_sender() {
        let template = SynTemplate::new(FROM, TO, server());
        let mut rng = Rng::new(Seed(1));
        let mut edges = vec![(0, 0, 0), (u32::MAX, u16::MAX, u32::MAX), (0xc613_0000, 1, 0xffff)];
        edges.extend((0..10_000).map(|_| (rng.next_u32(), rng.next_u32() as u16, rng.next_u32())));
        for (addr, port, seq) in edges {
            let src = SocketAddrV4::new(Ipv4Addr::from_bits(addr), port);
            let mut frame = [0; SYN_LEN];
            template.write(&mut frame, src, seq);
            let link = ethernet::Frame::new_checked(&frame[..]).unwrap();
            assert_eq!((link.src(), link.dst()), (FROM, TO));
            let packet = ipv4::Packet::new_checked(link.payload()).unwrap();
            assert!(packet.verify_checksum(), "{src}");
            assert_eq!((packet.src(), packet.dst()), (*src.ip(), *server().ip()));
            let bytes = packet.payload();
            assert!(
                checksum::verify_transport(packet.src().into(), packet.dst().into(), Protocol::TCP, bytes),
                "{src} {seq}"
            );
            let syn = Repr::parse(&Segment::new_checked(bytes).unwrap()).unwrap();
            assert_eq!((syn.src_port, syn.dst_port, syn.seq.0, syn.flags), (port, 7, seq, Flags::SYN));
            assert_eq!((syn.options.mss, syn.options.window_scale), (Some(1_460), Some(7)));
            assert!(syn.options.sack_permitted && syn.options.timestamps.is_some());
        }
    }

    #[test]
    fn answers_are_told_by_their_address() {
        let template = SynTemplate::new(FROM, TO, server());
        let mut frame = [0; SYN_LEN];
        template.write(&mut frame, "198.19.1.2:3".parse().unwrap(), 4);
        let to = |wanted: Ipv4Addr| move |addr: Ipv4Addr| addr == wanted;
        assert_eq!(answer_to(&frame, to(*server().ip())), Some(Flags::SYN));
        assert_eq!(answer_to(&frame, to(Ipv4Addr::new(198, 19, 1, 2))), None);
        frame[13] = 6;
        assert_eq!(answer_to(&frame, |_| true), None);
        assert_eq!(answer_to(&frame[..40], |_| true), None);
    }
}
