//! The system calls on sockets and interfaces that have no safe wrapper.
//!
//! Sources: linux/if_xdp.h, linux/bpf.h, linux/if_packet.h, socket(7), packet(7).

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::config::BusyPoll;

const XDP_MAX_TX_SKB_BUDGET: c_int = 9;

const SO_BUSY_POLL: c_int = 46;
const SO_PREFER_BUSY_POLL: c_int = 69;
const SO_BUSY_POLL_BUDGET: c_int = 70;

fn set(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: u32) -> io::Result<()> {
    let len = size_of::<u32>() as libc::socklen_t;
    // SAFETY: needed for options that rustix does not know. The kernel reads four bytes of `value`, which lives on.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast::<c_void>(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets the core drive the device's interrupt handler in its own receive calls.
pub(crate) fn set_busy_poll(fd: BorrowedFd<'_>, busy_poll: BusyPoll) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, 1)?;
    set(fd, libc::SOL_SOCKET, SO_BUSY_POLL, busy_poll.us)?;
    set(fd, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, busy_poll.budget)
}

/// How many frames one transmit call of a copying socket moves, instead of 32. Linux 6.18; older ones refuse, which
/// costs a call more for a full burst.
pub(crate) fn set_tx_budget(fd: BorrowedFd<'_>, frames: u32) -> io::Result<()> {
    set(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, frames)
}

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;

/// `union bpf_attr`, as far as looking up an element goes.
#[repr(C)]
struct Lookup {
    map: u32,
    _padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Reads element `index` of an array that has a number for each possible processor; `values` has room for as many.
/// Takes no memory of the heap, so that a running core may call it.
pub(crate) fn array_element(map: BorrowedFd<'_>, index: u32, values: &mut [u64]) -> io::Result<()> {
    let lookup = Lookup {
        map: map.as_raw_fd() as u32,
        _padding: 0,
        key: (&raw const index) as u64,
        value: values.as_mut_ptr() as u64,
        flags: 0,
    };
    let (attribute, len) = (&raw const lookup, size_of::<Lookup>());
    // SAFETY: needed because no crate reads such an element without the heap. The kernel reads `lookup` and `index`, and
    // writes eight bytes for each possible processor, for which the caller says there is room; all of them live on.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_LOOKUP_ELEM, attribute, len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct packet_mreq`.
#[repr(C)]
struct Membership {
    index: c_int,
    kind: u16,
    len: u16,
    address: [u8; 8],
}

/// Lets the interface take all multicast frames as long as the socket returned is open: neighbours ask for an own
/// IPv6 address by groups that Linux has not joined.
pub(crate) fn all_multicast(index: u32) -> io::Result<OwnedFd> {
    // SAFETY: needed because a packet socket without a protocol, which receives nothing, has no safe wrapper.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: needed to own what was opened just now.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let membership =
        Membership { index: index as c_int, kind: libc::PACKET_MR_ALLMULTI as u16, len: 0, address: [0; 8] };
    let len = size_of::<Membership>() as libc::socklen_t;
    let value = (&raw const membership).cast::<c_void>();
    let (level, name) = (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP);
    // SAFETY: needed for an option that rustix does not know. The kernel reads the membership, which lives on.
    let result = unsafe { libc::setsockopt(fd.as_fd().as_raw_fd(), level, name, value, len) };
    if result == 0 { Ok(fd) } else { Err(io::Error::last_os_error()) }
}
