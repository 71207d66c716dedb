//! What an interface's driver says of its queues, offloads and hashing.
//!
//! Sources: linux/ethtool.h, linux/sockios.h, netdevice(7).

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType, socket};

const SIOCETHTOOL: u64 = 0x8946;

const ETHTOOL_GRXCSUM: u32 = 0x14;
const ETHTOOL_GTXCSUM: u32 = 0x16;
const ETHTOOL_GTSO: u32 = 0x1e;
const ETHTOOL_GGSO: u32 = 0x23;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_GRXFH: u32 = 0x29;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_GRXFHINDIR: u32 = 0x38;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `ETH_FLAG_LRO` and `ETH_FLAG_RXHASH`.
const FLAG_LRO: u32 = 1 << 15;
const FLAG_RX_HASH: u32 = 1 << 28;

/// `TCP_V4_FLOW`.
const TCP_V4_FLOW: u32 = 1;
/// `RXH_IP_SRC`, `RXH_IP_DST`, `RXH_L4_B_0_1`, `RXH_L4_B_2_3`: the hash covers the whole four-tuple.
const FOUR_TUPLE: u64 = 0b1111 << 4;

/// The most entries of an indirection table that are read.
const INDIRECTION_MAX: usize = 4_096;

/// `struct ifreq`, as far as `SIOCETHTOOL` looks.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    data: *mut c_void,
    rest: [u8; 16],
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    rx_max: u32,
    tx_max: u32,
    other_max: u32,
    combined_max: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ethtool_rxnfc`, whose rules are of no interest here: the kernel copies all of it back.
#[repr(C)]
struct FlowHash {
    command: u32,
    flow: u32,
    fields: u64,
    rules: [u64; 22],
}

/// `struct ethtool_rxfh_indir`.
#[repr(C)]
struct Indirection {
    command: u32,
    size: u32,
    queues: [u32; INDIRECTION_MAX],
}

/// An interface to ask about. Nothing here changes anything.
pub(crate) struct Ethtool {
    socket: OwnedFd,
    name: [u8; libc::IFNAMSIZ],
}

impl Ethtool {
    /// Of interface `name` of this thread's network namespace.
    pub(crate) fn of(name: &str) -> io::Result<Self> {
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        let mut padded = [0; libc::IFNAMSIZ];
        // The last byte stays zero.
        padded[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        Ok(Self { socket, name: padded })
    }

    /// Asks the question that `data` begins with; the answer overwrites it.
    ///
    /// # Safety
    ///
    /// `T` is laid out as the command that it begins with demands, with room for all that the kernel answers.
    unsafe fn ask<T>(&self, data: &mut T) -> io::Result<()> {
        let mut request =
            InterfaceRequest { name: self.name, data: (&raw mut *data).cast::<c_void>(), rest: [0; 16] };
        // SAFETY: needed for an ioctl that rustix does not know. The kernel reads the request and writes into `data`,
        // both of which live on; by this function's own contract there is room for the answer.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// How many receive queues are in use. Not all drivers tell.
    pub(crate) fn rx_queues(&self) -> io::Result<u32> {
        let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
        // SAFETY: needed to ask. `Channels` is `struct ethtool_channels`.
        unsafe { self.ask(&mut channels)? };
        Ok((channels.rx + channels.combined).max(1))
    }

    /// The answer to a question with a number for an answer.
    fn value(&self, command: u32) -> Option<u32> {
        // `struct ethtool_value`.
        let mut value = [command, 0];
        // SAFETY: needed to ask. `struct ethtool_value` is the command and the answer, four bytes each.
        unsafe { self.ask(&mut value).ok()? };
        Some(value[1])
    }

    fn is_on(&self, command: u32) -> Option<bool> {
        self.value(command).map(|value| value != 0)
    }

    /// Whether Linux leaves the sums of what it sends to the device.
    pub(crate) fn tx_checksum(&self) -> Option<bool> {
        self.is_on(ETHTOOL_GTXCSUM)
    }

    /// Whether the device verifies sums.
    pub(crate) fn rx_checksum(&self) -> Option<bool> {
        self.is_on(ETHTOOL_GRXCSUM)
    }

    /// Whether Linux hands TCP segments longer than the MTU to the device.
    pub(crate) fn tso(&self) -> Option<bool> {
        self.is_on(ETHTOOL_GTSO)
    }

    /// Whether Linux cuts packets longer than the MTU only just before the device.
    pub(crate) fn gso(&self) -> Option<bool> {
        self.is_on(ETHTOOL_GGSO)
    }

    /// Whether Linux puts received packets together.
    pub(crate) fn gro(&self) -> Option<bool> {
        self.is_on(ETHTOOL_GGRO)
    }

    /// Whether the device puts received packets together.
    pub(crate) fn lro(&self) -> Option<bool> {
        self.value(ETHTOOL_GFLAGS).map(|flags| flags & FLAG_LRO != 0)
    }

    /// Whether the device hashes received packets.
    pub(crate) fn rx_hash(&self) -> Option<bool> {
        self.value(ETHTOOL_GFLAGS).map(|flags| flags & FLAG_RX_HASH != 0)
    }

    /// Whether the hash of a TCP segment covers ports as well as addresses.
    pub(crate) fn hashes_ports(&self) -> Option<bool> {
        let mut hash = FlowHash { command: ETHTOOL_GRXFH, flow: TCP_V4_FLOW, fields: 0, rules: [0; 22] };
        // SAFETY: needed to ask. `FlowHash` begins like `struct ethtool_rxnfc` and is as long.
        unsafe { self.ask(&mut hash).ok()? };
        Some(hash.fields & FOUR_TUPLE == FOUR_TUPLE)
    }

    /// The queues that the device spreads flows over, in order, each once.
    pub(crate) fn indirection(&self) -> Option<Vec<u32>> {
        // A size of zero asks for the size.
        let mut table =
            Box::new(Indirection { command: ETHTOOL_GRXFHINDIR, size: 0, queues: [0; INDIRECTION_MAX] });
        // SAFETY: needed to ask. `Indirection` is `struct ethtool_rxfh_indir`; of size zero the kernel writes the head.
        unsafe { self.ask(&mut *table).ok()? };
        if table.size as usize > INDIRECTION_MAX {
            return None;
        }
        table.command = ETHTOOL_GRXFHINDIR;
        // SAFETY: needed to ask. The kernel writes `size` entries, and there is room for them.
        unsafe { self.ask(&mut *table).ok()? };
        let mut queues = table.queues[..(table.size as usize).min(INDIRECTION_MAX)].to_vec();
        queues.sort_unstable();
        queues.dedup();
        (!queues.is_empty()).then_some(queues)
    }
}

// `struct ethtool_rx_flow_spec` is 168 bytes, and 16 come before and 8 after it.
const _: () = assert!(size_of::<FlowHash>() == 192);
const _: () = assert!(size_of::<Channels>() == 36);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn loopback_tells_its_offloads_and_has_no_queues_to_spread_over() {
        let lo = Ethtool::of("lo").unwrap();
        assert_eq!(lo.tx_checksum(), Some(true));
        assert!(lo.rx_queues().is_err());
        assert_eq!(lo.indirection(), None);
    }

    #[test]
    fn an_interface_that_is_not_there_tells_nothing() {
        let none = Ethtool::of("no-such-thing").unwrap();
        assert_eq!((none.tx_checksum(), none.lro(), none.hashes_ports()), (None, None, None));
        assert_eq!(none.rx_queues().unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
