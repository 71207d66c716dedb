//! The way in, IPv4: which packets are for this host, whole.
//!
//! The checks stand in the order of RFC 1122, section 3.2.1, cheapest and most telling first.

use core::net::{IpAddr, Ipv4Addr};

use freeway_base::Instant;
use freeway_mem::Packet;
use freeway_wire::ipv4::{self, OptionKind};
use freeway_wire::{Ecn, Error, Protocol};

use super::Net;
use super::address::v4_bits;
use super::counters::NetCounters;
use super::icmp::{Complaint, Offender};
use super::inbound::{Inbound, Ingress};
use super::link::Arrived;
use super::reassembly::{Fragment, Key};
use super::setup::is_host_v4;

/// What is read from a header, once.
struct Header {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    protocol: Protocol,
    ecn: Ecn,
    ttl: u8,
    header_len: usize,
    total_len: usize,
    is_fragment: bool,
}

impl Header {
    /// Sections 3.2.1.1 (version), 3.2.1.2 (checksum), 3.2.1.8 (options).
    #[inline]
    fn parse(bytes: &[u8], trusted: bool, counters: &mut NetCounters) -> Option<Self> {
        let view = match ipv4::Packet::new_checked(bytes) {
            Ok(view) => view,
            Err(Error::BadVersion) => return refuse(&mut counters.dropped_version),
            Err(_) => return refuse(&mut counters.dropped_length),
        };
        if !trusted && !view.verify_checksum() {
            return refuse(&mut counters.dropped_ip_checksum);
        }
        let header_len = view.header_len();
        if header_len > ipv4::HEADER_LEN {
            check_options(&view, counters)?;
        }
        Some(Self {
            src: view.src(),
            dst: view.dst(),
            protocol: view.protocol(),
            ecn: view.ecn(),
            ttl: view.ttl(),
            header_len,
            total_len: view.total_len(),
            is_fragment: view.is_fragment(),
        })
    }
}

/// Options are passed over, but source routes are not followed: they serve attacks only (RFC 7126, section 4.3).
#[cold]
fn check_options(view: &ipv4::Packet<&[u8]>, counters: &mut NetCounters) -> Option<()> {
    for option in view.options() {
        match option {
            Ok(option)
                if matches!(
                    option.kind,
                    OptionKind::LOOSE_SOURCE_ROUTE | OptionKind::STRICT_SOURCE_ROUTE
                ) =>
            {
                return refuse(&mut counters.dropped_source_route);
            }
            Ok(_) => {}
            Err(_) => return refuse(&mut counters.dropped_options),
        }
    }
    Some(())
}

#[cold]
pub(crate) fn refuse<T>(counter: &mut u64) -> Option<T> {
    *counter += 1;
    None
}

impl Net {
    #[inline]
    pub(crate) fn ipv4_input(&mut self, now: Instant, arrived: Arrived, mut packet: Packet) -> Ingress {
        let Some(header) = Header::parse(packet.data(), arrived.trusted, &mut self.counters) else {
            return Ingress::Consumed;
        };
        let Some(broadcast) = self.is_for_us_v4(&arrived, &header) else { return Ingress::Consumed };
        packet.truncate(header.total_len);
        if header.is_fragment {
            return self.ipv4_fragment(now, &arrived, &header, &packet, broadcast);
        }
        packet.trim_front(header.header_len);
        let inbound = Inbound {
            packet,
            src: IpAddr::V4(header.src),
            dst: IpAddr::V4(header.dst),
            protocol: header.protocol,
            ecn: header.ecn,
            hop_limit: header.ttl,
            iface: arrived.iface,
            broadcast,
            checksum_good: arrived.trusted,
            network_header_len: header.header_len as u16,
        };
        self.ipv4_deliver(now, inbound)
    }

    /// Sections 3.2.1.3 (addresses) and 3.3.6 (broadcasts). Says whether the packet went to more than one host,
    /// or nothing if it is not for this one.
    #[inline]
    fn is_for_us_v4(&mut self, arrived: &Arrived, header: &Header) -> Option<bool> {
        if !is_host_v4(header.src) || self.addresses.is_any_broadcast(header.src) {
            return refuse(&mut self.counters.dropped_martian);
        }
        let to_group = self.addresses.find(v4_bits(header.dst)).is_none();
        if to_group {
            self.check_group_v4(arrived, header)?;
        } else if arrived.group {
            return refuse(&mut self.counters.dropped_link_broadcast);
        }
        // A packet "from us to us" that came by the wire is an attack (LAND).
        if self.addresses.find(v4_bits(header.src)).is_some() {
            return refuse(&mut self.counters.dropped_own_source);
        }
        Some(to_group)
    }

    #[cold]
    fn check_group_v4(&mut self, arrived: &Arrived, header: &Header) -> Option<()> {
        if header.dst.is_loopback() || header.dst.is_unspecified() {
            return refuse(&mut self.counters.dropped_martian);
        }
        const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
        if header.dst == ALL_HOSTS || self.addresses.is_broadcast(arrived.iface, header.dst) {
            Some(())
        } else {
            refuse(&mut self.counters.dropped_not_local)
        }
    }

    /// Section 3.2.2.1: what the packet holds decides.
    #[inline]
    fn ipv4_deliver(&mut self, now: Instant, inbound: Inbound) -> Ingress {
        self.counters.ipv4_in += 1;
        match inbound.protocol {
            Protocol::TCP | Protocol::UDP => Ingress::Transport(inbound),
            Protocol::ICMP => self.icmpv4_input(now, inbound),
            _ => {
                self.counters.dropped_protocol += 1;
                self.complain(now, Offender::from(inbound), Complaint::protocol_unreachable_v4());
                Ingress::Consumed
            }
        }
    }

    /// Section 3.3.2: reassembly.
    #[cold]
    fn ipv4_fragment(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        header: &Header,
        packet: &Packet,
        broadcast: bool,
    ) -> Ingress {
        let view = ipv4::Packet::new_unchecked(packet.data());
        let (bytes, more) = (view.payload(), view.more_fragments());
        if more && !bytes.len().is_multiple_of(8) {
            self.counters.dropped_fragment += 1;
            return Ingress::Consumed;
        }
        let fragment = Fragment {
            key: Key {
                src: v4_bits(header.src),
                dst: v4_bits(header.dst),
                ident: u32::from(view.ident()),
                protocol: header.protocol,
            },
            offset: usize::from(view.fragment_offset()),
            more,
            bytes,
            header: packet.data().get(..ipv4::HEADER_LEN).unwrap_or_default(),
            protocol: header.protocol,
            ecn: header.ecn,
            hop_limit: header.ttl,
        };
        let whole = self.reassembly.insert(now, &fragment, &self.large, &mut self.counters);
        let Some(whole) = whole.map(|whole| whole.fitted(&self.pool)) else { return Ingress::Consumed };
        self.counters.reassembled += 1;
        self.ipv4_deliver(
            now,
            Inbound {
                packet: whole.packet,
                src: IpAddr::V4(header.src),
                dst: IpAddr::V4(header.dst),
                protocol: whole.protocol,
                ecn: whole.ecn,
                hop_limit: whole.hop_limit,
                iface: arrived.iface,
                broadcast,
                // A port that vouches for a fragment has not seen the whole.
                checksum_good: false,
                network_header_len: whole.header_len,
            },
        )
    }
}
