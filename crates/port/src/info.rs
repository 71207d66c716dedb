//! What a port says of itself before the first frame.

use std::fmt;

use freeway_mem::TxChecksum;

/// An Ethernet header with one VLAN tag, in bytes: what a frame has besides an IP packet.
const LINK_HEADER_MAX: usize = 14 + 4;
/// The most data a packet has, in bytes.
const PACKET_MAX: usize = u16::MAX as usize;

/// Who a port is and what it can do. Read once, when an interface is made of the port; it does not change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortInfo {
    /// What people call the device, as in reports and on the command line.
    pub name: String,
    /// The MAC address of Freeway's end.
    pub mac: [u8; 6],
    /// The longest IP packet, in bytes, without the link header.
    pub mtu: u16,
    /// What the device does by itself.
    pub capabilities: Capabilities,
}

impl PortInfo {
    /// A port called `name`: an address [made of the name](mac_of), an MTU of 1500, no capabilities.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { mac: mac_of(&name), name, mtu: 1_500, capabilities: Capabilities::default() }
    }

    /// The longest frame, in bytes: the MTU, an Ethernet header and a VLAN tag, as far as a packet can hold it.
    pub const fn frame_max(&self) -> usize {
        let frame_max = self.mtu as usize + LINK_HEADER_MAX;
        if frame_max < PACKET_MAX { frame_max } else { PACKET_MAX }
    }
}

/// What a device does, so that software need not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// What is known of the checksums of received frames.
    pub rx_checksum: RxChecksum,
    /// Whether frames flagged `CHECKSUM_NEEDED` may be given to the port. Default: sums must be complete.
    pub tx_checksum: TxChecksum,
    /// How received frames were spread over the device's queues.
    pub steering: Steering,
    /// Whether buffers must lie side by side, at multiples of their size, because the device computes a buffer from an
    /// address (AF_XDP's chunks). Default false: a pool may [spread](freeway_mem::PoolConfig::spread) them.
    pub packed_buffers: bool,
}

/// What a port knows of the checksums of the frames it receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxChecksum {
    /// The device looks: frames whose sums it found good are flagged `CHECKSUM_GOOD`, all others are to be verified.
    Verified,
    /// Sums may be unfilled although the frames are good, and nothing tells which: all are to be trusted, by
    /// configuration. A veth whose other end leaves sums to a device that does not exist is like that.
    Trusted,
    /// Nothing is known: software verifies.
    #[default]
    None,
}

/// How a device with several queues chose the queue of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Steering {
    /// In some way of its own: cores hand foreign flows to each other.
    #[default]
    Software,
    /// By the flow hash that the cores use: a flow arrives at its home.
    FlowHash,
}

/// A MAC address made of a name: the same for the same name, in every process.
///
/// It is an individual address, and a locally administered one (bit 1 of the first byte), which no maker gives out.
/// Two names share an address with a chance of one in 2^46.
pub fn mac_of(name: &str) -> [u8; 6] {
    // FNV-1a over the name, then a finisher that spreads its last byte over all bits (from MurmurHash3).
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let [_, _, first, rest @ ..] = (mixed ^ (mixed >> 33)).to_be_bytes();
    let [b, c, d, e, f] = rest;
    [(first & !0b01) | 0b10, b, c, d, e, f]
}

impl fmt::Display for PortInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.mac;
        write!(f, "{} {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x} mtu {}", self.name, self.mtu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_made_of_names_are_individual_local_and_different() {
        let names: Vec<String> = (0..1_000).map(|n| format!("freeway{n}")).collect();
        let mut macs: Vec<_> = names.iter().map(|name| mac_of(name)).collect();
        assert!(macs.iter().all(|mac| mac[0] & 0b11 == 0b10));
        macs.sort_unstable();
        macs.dedup();
        assert_eq!(macs.len(), names.len());
        assert_eq!(mac_of("freeway0"), mac_of("freeway0"));
    }

    #[test]
    fn the_longest_frame_has_room_for_a_tag() {
        assert_eq!(PortInfo::new("test0").frame_max(), 1_518);
        assert_eq!(PortInfo { mtu: u16::MAX, ..PortInfo::new("test0") }.frame_max(), 65_535);
    }
}
