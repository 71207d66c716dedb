//! What comes out of the IP host towards the transports.

use core::net::IpAddr;

use freeway_mem::Packet;
use freeway_wire::tcp::SeqNumber;
use freeway_wire::{Ecn, Protocol};

use super::IfaceId;

/// What became of a frame.
pub enum Ingress {
    /// A TCP segment or UDP datagram for this host.
    Transport(Inbound),
    /// An ICMP error about a packet of this host.
    Error(IcmpNotice),
    /// Dealt with, or dropped and counted.
    Consumed,
}

/// A transport's packet for this host.
pub struct Inbound {
    /// Transport header and payload, exactly as long as IP says. The IP header lies in the headroom.
    pub packet: Packet,
    /// The sender's address, a host's.
    pub src: IpAddr,
    /// An address of this host, or of a group that it is in.
    pub dst: IpAddr,
    /// What the packet holds.
    pub protocol: Protocol,
    /// The congestion mark.
    pub ecn: Ecn,
    /// The time to live, or hop limit, that is left.
    pub hop_limit: u8,
    /// Where it came in.
    pub iface: IfaceId,
    /// Whether it was sent to more than one host, by its IP address.
    pub broadcast: bool,
    /// Whether the transport's checksum need not be verified.
    pub checksum_good: bool,
    /// Bytes of IP header, extension headers included, in front of `packet`'s data.
    pub network_header_len: u16,
}

/// What an ICMP error says of the way to a peer. Fields come from the packet it quotes, which is ours by its
/// source address; whether that packet was ever sent, only the transport can tell (RFC 5927, section 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpNotice {
    /// What went wrong.
    pub kind: IcmpKind,
    /// This host's address in the quoted packet.
    pub local: IpAddr,
    /// Where the quoted packet was going.
    pub remote: IpAddr,
    /// The quoted packet's protocol: TCP or UDP.
    pub protocol: Protocol,
    /// This side's port.
    pub local_port: u16,
    /// The other side's port.
    pub remote_port: u16,
    /// The quoted segment's sequence number, with TCP.
    pub seq: Option<SeqNumber>,
}

/// What went wrong with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IcmpKind {
    /// It could not be delivered.
    Unreachable(Unreachable),
    /// It was too long for a link on the way, which takes `mtu` bytes, or so the message says.
    PacketTooBig {
        /// Bytes of a whole IP packet.
        mtu: u16,
    },
    /// It went too far, or its fragments did not all arrive.
    TimeExceeded,
    /// A field of its header was not understood.
    ParameterProblem,
}

/// Where delivery ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreachable {
    /// On the way to the network.
    Network,
    /// On the last link.
    Host,
    /// At the host, which does not speak the protocol.
    Protocol,
    /// At the host, where nobody listens.
    Port,
    /// At a filter.
    Prohibited,
}

impl IcmpKind {
    /// Whether a connection being opened may be given up for it (RFC 1122, section 4.2.3.9): what the host
    /// itself said, as against what may pass.
    pub const fn is_hard(self) -> bool {
        matches!(self, Self::Unreachable(Unreachable::Protocol | Unreachable::Port))
    }
}
