//! The packets of the host, taken apart; and what holds for every one of them.

use std::net::IpAddr;

use anyhow::{Context as _, anyhow, ensure};
use freeway_wire::tcp::{Flags, HEADER_LEN, Repr, Segment as View};
use freeway_wire::{Ecn, MacAddr, Protocol, checksum, ethernet, ipv4, ipv6};

use crate::packet::Ends;
use crate::version::PEER_MAC;

/// An IP packet of the host's.
pub(crate) struct IpPacket<'a> {
    pub(crate) ends: Ends,
    pub(crate) protocol: Protocol,
    pub(crate) ttl: u8,
    pub(crate) ecn: Ecn,
    pub(crate) dscp: u8,
    pub(crate) payload: &'a [u8],
}

impl<'a> IpPacket<'a> {
    /// The packet in a frame. Its header's sum is right, it goes to the peer's station, and it is whole.
    pub(crate) fn open(frame: &'a [u8]) -> anyhow::Result<Self> {
        let ethernet = ethernet::Frame::new_checked(frame).map_err(|error| anyhow!("{error:?}"))?;
        ensure!(ethernet.dst() == PEER_MAC, "it goes to station {}", Mac(ethernet.dst()));
        let bytes = &frame[ethernet::HEADER_LEN..];
        match ethernet.ethertype() {
            ethernet::EtherType::IPV4 => Self::open_v4(bytes),
            ethernet::EtherType::IPV6 => Self::open_v6(bytes),
            other => Err(anyhow!("it is no IP packet, but {other:?}")),
        }
    }

    fn open_v4(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let ip = ipv4::Packet::new_checked(bytes).map_err(|error| anyhow!("{error:?}"))?;
        ensure!(ip.verify_checksum(), "the IP checksum is wrong");
        ensure!(!ip.is_fragment(), "it is a fragment");
        // RFC 1191: TCP's packets are not to be fragmented on the way.
        ensure!(ip.protocol() != Protocol::TCP || ip.dont_fragment(), "it may be fragmented");
        Ok(Self {
            ends: Ends { src: IpAddr::V4(ip.src()), dst: IpAddr::V4(ip.dst()) },
            protocol: ip.protocol(),
            ttl: ip.ttl(),
            ecn: ip.ecn(),
            dscp: ip.dscp(),
            payload: bytes.get(ip.header_len()..ip.total_len()).context("it is cut short")?,
        })
    }

    fn open_v6(bytes: &'a [u8]) -> anyhow::Result<Self> {
        let ip = ipv6::Packet::new_checked(bytes).map_err(|error| anyhow!("{error:?}"))?;
        Ok(Self {
            ends: Ends { src: IpAddr::V6(ip.src()), dst: IpAddr::V6(ip.dst()) },
            protocol: ip.next_header(),
            ttl: ip.hop_limit(),
            ecn: ip.ecn(),
            dscp: ip.dscp(),
            payload: bytes.get(ipv6::HEADER_LEN..ip.total_len()).context("it is cut short")?,
        })
    }

    /// The sum of what the packet holds is right (RFC 9293, MUST-2).
    fn check_sum(&self) -> anyhow::Result<()> {
        let sound = checksum::verify_transport(self.ends.src, self.ends.dst, self.protocol, self.payload);
        ensure!(sound, "the checksum is wrong");
        Ok(())
    }

    /// The ICMP message that the packet holds.
    pub(crate) fn icmp(&self) -> anyhow::Result<&'a [u8]> {
        ensure!(matches!(self.protocol, Protocol::ICMP | Protocol::ICMPV6), "it is not ICMP");
        self.check_sum()?;
        ensure!(self.payload.len() >= 8, "the message is cut short");
        Ok(self.payload)
    }

    /// The TCP segment that the packet holds.
    pub(crate) fn segment(&self) -> anyhow::Result<Sending<'a>> {
        ensure!(self.protocol == Protocol::TCP, "it is not TCP");
        self.check_sum()?;
        let view = View::new_checked(self.payload).map_err(|error| anyhow!("{error:?}"))?;
        let repr = Repr::parse(&view).map_err(|error| anyhow!("{error:?}"))?;
        let options = &self.payload[HEADER_LEN..view.header_len()];
        check_header(self.payload, &repr, options)?;
        Ok(Sending { repr, options, payload: &self.payload[view.header_len()..] })
    }
}

/// A segment of the host's.
pub(crate) struct Sending<'a> {
    pub(crate) repr: Repr,
    pub(crate) options: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// What RFC 9293 says of every segment: reserved bits are zero (section 3.1), SYN's options stand in SYNs alone
/// (MUST-65), behind the end of the options there is nothing but zeros (MUST-69), and nothing but a reset lacks
/// an acknowledgment once there is something to acknowledge.
fn check_header(bytes: &[u8], repr: &Repr, options: &[u8]) -> anyhow::Result<()> {
    ensure!(bytes[12] & 0x0f == 0, "a reserved bit is set");
    let of_syn =
        repr.options.mss.is_some() || repr.options.window_scale.is_some() || repr.options.sack_permitted;
    let is_syn = repr.flags.contains(Flags::SYN);
    ensure!(is_syn || !of_syn, "an option of SYNs stands in another segment");
    ensure!(repr.flags.intersects(Flags::SYN | Flags::RST | Flags::ACK), "it acknowledges nothing");
    ensure!(repr.urgent == 0 && !repr.flags.contains(Flags::URG), "it claims urgent data");
    let end = walk(options).context("an option is cut short")?;
    ensure!(options[end..].iter().all(|&byte| byte == 0), "the padding is not zero");
    Ok(())
}

/// Where the options end: at an END, or with the header.
fn walk(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        at += match kind {
            0 => return Some(at),
            1 => 1,
            _ => usize::from(*options.get(at + 1).filter(|&&len| len >= 2)?),
        };
    }
    (at == options.len()).then_some(at)
}

/// A hardware address for people.
struct Mac(MacAddr);

impl std::fmt::Display for Mac {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x?}", self.0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_walked_to_their_end() {
        assert_eq!(walk(&[2, 4, 5, 0xb4]), Some(4));
        assert_eq!(walk(&[1, 3, 3, 7, 0, 9]), Some(4));
        assert_eq!(walk(&[2, 4, 5]), None);
        assert_eq!(walk(&[8, 1]), None);
    }
}
