//! What can go wrong with a TAP device, and what to do about it.

use std::io;
use std::net::IpAddr;

use thiserror::Error;

/// Why a TAP device could not be opened or set up.
#[derive(Debug, Error)]
pub enum TapError {
    /// The name cannot be an interface's.
    #[error("'{0}' cannot name a TAP device: 1 to 15 bytes, no slash, colon, percent sign or space")]
    BadName(String),
    /// No queue, or more than the kernel has.
    #[error("a TAP device has 1 to 256 queues, not {0}")]
    BadQueues(usize),
    /// The kernel has no TUN/TAP driver, or the container does not show it.
    #[error(
        "there is no /dev/net/tun: load the driver with `modprobe tun`, or start the container with `--device \
         /dev/net/tun`"
    )]
    NoDriver,
    /// Not allowed to open `/dev/net/tun` itself.
    #[error(
        "/dev/net/tun may not be opened by this user: it should have mode 0666 (`chmod 0666 /dev/net/tun`)"
    )]
    DriverClosed,
    /// Not allowed to create or to open the device.
    #[error(
        "not permitted to open or create the TAP device {name}: run with CAP_NET_ADMIN, or let an administrator \
         prepare it with `ip tuntap add {name} mode tap user $USER{multi_queue}`"
    )]
    NotPermitted {
        /// The device.
        name: String,
        /// ` multi_queue` if several queues were asked for.
        multi_queue: &'static str,
    },
    /// Another process has the device open.
    #[error("the TAP device {0} is in use by another process: end that process, or choose another name")]
    Busy(String),
    /// There is an interface of that name, and it is not such a device.
    #[error(
        "the interface {name} exists and is no TAP device with {queues} queue(s): choose another name, or remove it \
         with `ip link delete {name}`"
    )]
    OtherKind {
        /// The interface.
        name: String,
        /// The queues asked for.
        queues: usize,
    },
    /// The Linux end may not be set up.
    #[error(
        "not permitted to set up the interface {0}: run with CAP_NET_ADMIN, or let an administrator do it with `ip \
         address add` and `ip link set {0} up`"
    )]
    SetUpNotPermitted(String),
    /// The Linux end refused an address.
    #[error("the interface {name} does not take the address {addr}/{prefix_len}: {source}")]
    Address {
        /// The interface.
        name: String,
        /// The address.
        addr: IpAddr,
        /// The length of its network's prefix, in bits.
        prefix_len: u8,
        /// What the kernel said.
        source: io::Error,
    },
    /// The Linux end refused its MTU.
    #[error("the interface {name} does not take an MTU of {mtu}: {source}")]
    Mtu {
        /// The interface.
        name: String,
        /// The MTU, in bytes.
        mtu: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// Something else failed.
    #[error("cannot {action} the TAP device {name}: {source}")]
    System {
        /// What was to be done.
        action: &'static str,
        /// The device.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}
