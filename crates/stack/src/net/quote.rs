//! ICMP errors received: which packet of ours they quote.
//!
//! An error is worth as much as what it proves to know: its quotation must come from one of this host's
//! addresses and reach to the ports, and the transport checks the rest (RFC 5927, section 4.1).

use core::net::IpAddr;

use freeway_wire::tcp::SeqNumber;
use freeway_wire::{Protocol, ipv4};

use super::Net;
use super::inbound::{IcmpKind, IcmpNotice, Ingress};

/// Source and destination port, and TCP's sequence number.
const PORTS_AND_SEQ: usize = 8;

impl Net {
    /// Turns an error's quotation into a notice for the transport.
    pub(crate) fn notice(
        &mut self,
        kind: IcmpKind,
        quoted: Option<(IpAddr, IpAddr, Protocol, &[u8])>,
    ) -> Ingress {
        let notice = quoted.and_then(|(local, remote, protocol, transport)| {
            self.is_local(local)?;
            let &[a, b, c, d, e, f, g, h] = transport.first_chunk::<PORTS_AND_SEQ>()?;
            let is_tcp = protocol == Protocol::TCP;
            (is_tcp || protocol == Protocol::UDP).then_some(IcmpNotice {
                kind,
                local,
                remote,
                protocol,
                local_port: u16::from_be_bytes([a, b]),
                remote_port: u16::from_be_bytes([c, d]),
                seq: is_tcp.then_some(SeqNumber(u32::from_be_bytes([e, f, g, h]))),
            })
        });
        match notice {
            Some(notice) => {
                self.counters.errors_in += 1;
                Ingress::Error(notice)
            }
            None => {
                self.counters.dropped_icmp_quote += 1;
                Ingress::Consumed
            }
        }
    }
}

/// What an IPv4 error quotes: source, destination, protocol, and the transport's first bytes. Only a first
/// fragment has those.
pub(crate) fn quoted_v4(quote: &[u8]) -> Option<(IpAddr, IpAddr, Protocol, &[u8])> {
    let view = ipv4::Packet::new_quoted(quote).ok()?;
    if view.fragment_offset() != 0 {
        return None;
    }
    let transport = quote.get(view.header_len()..)?;
    Some((view.src().into(), view.dst().into(), view.protocol(), transport))
}

/// The MTU that a "fragmentation needed" reports. Routers of before 1990 report none: then the next common MTU
/// below the packet's length is meant (RFC 1191, section 7.1), as far as it is not below `least`.
pub(crate) fn path_mtu_v4(reported: u16, quote: &[u8], least: u16) -> u16 {
    const PLATEAUS: [u16; 9] = [32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296];
    if reported != 0 {
        return reported;
    }
    let sent = ipv4::Packet::new_unchecked(quote).total_len();
    PLATEAUS.into_iter().find(|&plateau| usize::from(plateau) < sent).unwrap_or(0).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreported_mtu_is_the_next_plateau() {
        let mut quote = [0x45, 0, 0, 0];
        for (sent, mtu) in [(1_500u16, 1_492), (1_492, 1_006), (9_000, 8_166), (600, 552), (40, 552)] {
            quote[2..].copy_from_slice(&sent.to_be_bytes());
            assert_eq!(path_mtu_v4(0, &quote, 552), mtu);
        }
        // What a router does report is taken as it is: whether to believe it is decided later.
        assert_eq!(path_mtu_v4(1_400, &quote, 552), 1_400);
        assert_eq!(path_mtu_v4(68, &quote, 552), 68);
    }
}
