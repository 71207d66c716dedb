//! The cable between the stack and the tool: a port whose neighbour always answers.
//!
//! The tool speaks raw IP. Frames that leave the stack lose their Ethernet header; packets of the tool get one.
//! Questions for a neighbour's hardware address (ARP, neighbour solicitations) are answered here, whoever is asked
//! for, so that no packet of a script waits for one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::rc::Rc;

use freeway_mem::{PacketPool, RxBurst, TxBurst};
use freeway_port::{Armed, Port, PortCounters, PortInfo, RxQueue, TxQueue};
use freeway_wire::ethernet::{self, EtherType, Frame};
use freeway_wire::ndp::{self, NeighborAdvert, NeighborFlags};
use freeway_wire::{Ecn, MacAddr, Protocol, arp, icmpv6, ipv6};

/// The hardware address of everybody but the stack.
const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// What is under way in both directions.
#[derive(Debug, Default)]
struct Lanes {
    /// Frames for the stack.
    inward: VecDeque<Vec<u8>>,
    /// Packets for the tool.
    outward: VecDeque<Vec<u8>>,
}

/// The tool's end.
#[derive(Clone, Debug)]
pub(crate) struct Cable {
    lanes: Rc<RefCell<Lanes>>,
    mac: MacAddr,
}

/// The stack's end.
#[derive(Debug)]
pub(crate) struct CablePort {
    cable: Cable,
    info: PortInfo,
    counters: PortCounters,
}

/// Lays a cable for packets of at most `mtu` bytes.
pub(crate) fn cable(mtu: u16) -> (Cable, CablePort) {
    let info = PortInfo { mtu, ..PortInfo::new("packetdrill") };
    let cable = Cable { lanes: Rc::default(), mac: MacAddr(info.mac) };
    (cable.clone(), CablePort { cable, info, counters: PortCounters::default() })
}

impl Cable {
    /// Sends a packet of the tool to the stack.
    pub(crate) fn push(&self, packet: &[u8]) {
        let ethertype =
            if packet.first().is_some_and(|byte| byte >> 4 == 6) { EtherType::IPV6 } else { EtherType::IPV4 };
        self.push_frame(ethertype, |body| body.extend_from_slice(packet));
    }

    /// The next packet that the stack has sent.
    pub(crate) fn pop(&self) -> Option<Vec<u8>> {
        self.lanes.borrow_mut().outward.pop_front()
    }

    /// Whether frames wait for the stack.
    pub(crate) fn has_inward(&self) -> bool {
        !self.lanes.borrow().inward.is_empty()
    }

    fn push_frame(&self, ethertype: EtherType, fill: impl FnOnce(&mut Vec<u8>)) {
        let mut frame = vec![0; ethernet::HEADER_LEN];
        ethernet::Repr { dst: self.mac, src: PEER_MAC, ethertype }.emit(&mut frame);
        fill(&mut frame);
        self.lanes.borrow_mut().inward.push_back(frame);
    }

    /// A frame leaves the stack.
    fn carry(&self, frame: &[u8]) {
        let (Ok(view), Some(packet)) = (Frame::new_checked(frame), frame.get(ethernet::HEADER_LEN..)) else {
            return;
        };
        match view.ethertype() {
            EtherType::ARP => self.answer_arp(packet),
            EtherType::IPV6 if self.answer_ndp(packet) => {}
            EtherType::IPV4 | EtherType::IPV6 => {
                self.lanes.borrow_mut().outward.push_back(packet.to_vec());
            }
            _ => {}
        }
    }

    fn answer_arp(&self, packet: &[u8]) {
        let Ok(request) = arp::Packet::new_checked(packet).and_then(|view| arp::Repr::parse(&view)) else {
            return;
        };
        if request.operation != arp::Operation::REQUEST || request.sender_ip == request.target_ip {
            return;
        }
        let reply = arp::Repr {
            operation: arp::Operation::REPLY,
            sender_mac: PEER_MAC,
            sender_ip: request.target_ip,
            target_mac: request.sender_mac,
            target_ip: request.sender_ip,
        };
        self.push_frame(EtherType::ARP, |body| {
            let start = body.len();
            body.resize(start + reply.buffer_len(), 0);
            reply.emit(&mut body[start..]);
        });
    }

    /// Answers a neighbour solicitation. True for every packet that concerns only the link: discovery, and groups'
    /// membership reports.
    fn answer_ndp(&self, packet: &[u8]) -> bool {
        let Ok(view) = ipv6::Packet::new_checked(packet) else { return false };
        if view.next_header() == Protocol::HOP_BY_HOP {
            return true;
        }
        if view.next_header() != Protocol::ICMPV6 {
            return false;
        }
        let Ok(message) = icmpv6::Packet::new_checked(view.payload()) else { return false };
        match ndp::Repr::parse(&message) {
            Ok(ndp::Repr::NeighborSolicit(solicit)) => {
                if view.src() != Ipv6Addr::UNSPECIFIED {
                    self.advertise(solicit.target, view.src());
                }
                true
            }
            Ok(_) => true,
            Err(_) => false,
        }
    }

    fn advertise(&self, target: Ipv6Addr, to: Ipv6Addr) {
        let advert = ndp::Repr::NeighborAdvert(NeighborAdvert {
            flags: NeighborFlags::SOLICITED | NeighborFlags::OVERRIDE,
            target,
            target_lladdr: Some(PEER_MAC),
        });
        let header = ipv6::Repr {
            dscp: 0,
            ecn: Ecn::NotEct,
            flow_label: 0,
            payload_len: advert.buffer_len() as u16,
            next_header: Protocol::ICMPV6,
            hop_limit: ndp::HOP_LIMIT,
            src: target,
            dst: to,
        };
        self.push_frame(EtherType::IPV6, |body| {
            let start = body.len();
            body.resize(start + header.buffer_len() + advert.buffer_len(), 0);
            header.emit(&mut body[start..]);
            advert.emit(target, to, &mut body[start + header.buffer_len()..]);
        });
    }
}

impl RxQueue for CablePort {
    fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize {
        let before = into.len();
        for _ in 0..into.remaining_capacity() {
            let Some(frame) = self.cable.lanes.borrow_mut().inward.pop_front() else { break };
            let Some(mut packet) = pool.alloc() else {
                self.counters.rx_dropped_no_buffer += 1;
                continue;
            };
            if packet.copy_from_slice(&frame) {
                self.counters.rx_bytes += frame.len() as u64;
                into.push(packet);
            } else {
                self.counters.rx_dropped_too_long += 1;
            }
        }
        let received = into.len() - before;
        self.counters.rx_frames += received as u64;
        received
    }

    fn arm(&mut self) -> Armed<'_> {
        if self.cable.has_inward() { Armed::Ready } else { Armed::Never }
    }

    fn disarm(&mut self) {}
}

impl TxQueue for CablePort {
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
        let taken = from.len();
        for packet in from.drain(..) {
            self.counters.tx_frames += 1;
            self.counters.tx_bytes += packet.data().len() as u64;
            self.cable.carry(packet.data());
        }
        taken
    }
}

impl Port for CablePort {
    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&self) -> PortCounters {
        self.counters
    }
}
