//! A TAP device as a Freeway port: Linux on one end, Freeway on the other.
//!
//! ```text
//!   Linux: an interface NAME with addresses of its own          Freeway: a host on the same link
//!   routes, ping, curl, a bridge …  ◄──── frames ────►  Tap     a MAC made of the name, its own addresses
//!                                     read, write
//! ```
//!
//! It needs neither a card nor a driver, so it serves a first run, containers, and tests. Its price is one system call
//! a frame: about 1 M frames/s to Linux and 0.7 M/s from it on a 2024 server core.
//!
//! # Whose device it is
//!
//! [`Tap::open`] opens the device of that name, or creates it, which takes `CAP_NET_ADMIN`. One that was created
//! disappears with the last of its [`Tap`]s, however the process ends. One that existed (`ip tuntap add NAME mode tap
//! user USER`) stays, and whoever it was made for needs no rights to open it.
//!
//! # Checksums and segmentation
//!
//! The device is opened without `IFF_VNET_HDR`, the header in which Linux and its user could leave sums and
//! segmentation to each other. So Linux completes sums and cuts segments before it hands a frame over, and verifies
//! the sums of what it is given: the port offers no offloads and claims none. `tests/tap/linux.rs` shows it: the sums of
//! UDP and TCP are right, and 64 KiB written to a connection arrive in frames no longer than the MTU.
//!
//! Sources: Documentation/networking/tuntap.rst and drivers/net/tun.c of Linux; rtnetlink(7).

mod error;
mod ioctl;
mod linux_end;
mod netlink;
mod tap;

pub use error::TapError;
pub use linux_end::{LinuxEnd, configure};
pub use tap::Tap;
