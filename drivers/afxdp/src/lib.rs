//! AF_XDP sockets of a network interface as Freeway ports: frames without the kernel's network stack.
//!
//! ```text
//!   interface ──► XDP program ──┬─► what Freeway serves ──► AF_XDP socket of the queue ──► Afxdp (a port)
//!                (xdp/freeway.c)└─► everything else ──────► Linux
//! ```
//!
//! [`Device::open`] puts the program on an interface and says what is Freeway's ([`Steering`]): the whole interface,
//! addresses of its own, or ports of addresses that Linux has too. [`Device::divide`] gives each core its queues;
//! [`attach`](freeway_port::Port::attach) makes the core's packet pool the memory of its sockets, so that nothing is
//! copied between a socket and the stack. [`VethPair`] makes an interface where there is none.
//!
//! # Shared addresses
//!
//! Linux keeps ARP, neighbour discovery, ICMP and all ports that are not served. Freeway's questions about neighbours
//! are put to Linux by netlink, its answers come back as the neighbours' own. Each served port is bound by a socket
//! that is never read, so that no program of Linux's takes it meanwhile. Connections that Freeway opens come from a
//! range of ports that Linux does not pick from.
//!
//! # What goes when the process goes
//!
//! Program, tables and sockets are held by file descriptors alone. However the process ends, the kernel takes the
//! program off, and the interface is Linux's again, at once. A veth pair stays, and goes when the next one is made.
//!
//! # Checksums
//!
//! AF_XDP of today tells nothing about sums of received frames, so they are verified in software. A veth's other end
//! leaves sums unfilled: see [`Checksum::Auto`]. TCP and UDP sums of sent frames are left to the kernel or the card where
//! that is known to work, and are computed in software elsewhere: see [`TxChecksum`].
//!
//! # VLANs
//!
//! Tags are seen where they lie in the frame. A card or veth that takes them out beforehand has to be told not to:
//! `ethtool -K IFACE rxvlan off`, and `ethtool -K PEER txvlan off` on the other end of a veth.
//!
//! Sources: Documentation/networking/af_xdp.rst of Linux; packet sockets: packet(7).

mod checksum;
mod config;
mod device;
mod error;
mod ethtool;
pub mod inspect;
mod lent;
mod linux;
mod netdev;
mod netlink;
mod port;
mod program;
mod questions;
mod queue;
mod request;
mod reservation;
mod resolver;
mod sums;
mod sys;
mod veth;
mod xsk;

pub use config::{AfxdpConfig, BusyPoll, Checksum, CopyMode, Mode, Steering, Transport, TxChecksum};
pub use device::{Device, Share};
pub use error::AfxdpError;
pub use linux::{Following, LinuxRoute, LinuxSide, Routes, linux_side};
pub use port::Afxdp;
pub use program::Verdicts;
pub use veth::{VethConfig, VethPair};
