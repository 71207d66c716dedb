//! The two system calls on `/dev/net/tun` that have no safe wrapper.
//!
//! `TUNSETIFF` attaches a descriptor to a device by its name:
//!
//! ```text
//!   struct ifreq                     0        16      18                  40 (64-bit) or 32 bytes
//!                                    │ name   │ flags │ rest of the union │
//! ```
//!
//! `TUNSETOFFLOAD` takes its flags as the argument itself, not through a pointer.
//!
//! Sources: linux/if_tun.h, linux/if.h.

use std::ffi::{c_int, c_uint, c_ulong};
use std::fs::File;

use rustix::io;
use rustix::ioctl::{IntegerSetter, Opcode, Updater, ioctl, opcode};

/// The longest name, without the zero behind it.
pub(crate) const NAME_MAX: usize = 15;

const IFF_TAP: u16 = 0x0002;
const IFF_MULTI_QUEUE: u16 = 0x0100;
const IFF_NO_PI: u16 = 0x1000;

/// `_IOW('T', 202, int)`: the macro names an `int`, the kernel takes an `ifreq`.
const TUNSETIFF: Opcode = opcode::write::<c_int>(b'T', 202);
/// `_IOW('T', 208, unsigned int)`.
const TUNSETOFFLOAD: Opcode = opcode::write::<c_uint>(b'T', 208);

/// `struct ifreq`, as far as `TUNSETIFF` looks. The union's longest member is `struct ifmap`: two longs and eight
/// more bytes.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; NAME_MAX + 1],
    flags: u16,
    rest: [u8; 2 * size_of::<c_ulong>() + 6],
}

const _: () = assert!(size_of::<InterfaceRequest>() == 16 + 2 * size_of::<c_ulong>() + 8);

/// Makes `file`, an open `/dev/net/tun`, a queue of the TAP device `name`, which is created unless it exists. Frames
/// come without a header before them.
pub(crate) fn attach(file: &File, name: &str, multi_queue: bool) -> io::Result<()> {
    let mut request = InterfaceRequest {
        name: [0; NAME_MAX + 1],
        flags: IFF_TAP | IFF_NO_PI | if multi_queue { IFF_MULTI_QUEUE } else { 0 },
        rest: [0; 2 * size_of::<c_ulong>() + 6],
    };
    // The last byte stays zero.
    request.name[..NAME_MAX].iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    // SAFETY: needed to name an ioctl that rustix does not know. For this opcode the kernel reads and writes an
    // `ifreq`, which is what the request is laid out as, and which nobody else refers to.
    let attach = unsafe { Updater::<TUNSETIFF, InterfaceRequest>::new(&mut request) };
    // SAFETY: needed to make the call; on a descriptor that is not of `/dev/net/tun` it fails or is defined to take
    // an `int`, which is shorter than the request.
    unsafe { ioctl(file, attach) }
}

/// Lets Linux leave nothing to us: no sums, no segmentation. A device that existed may have been used otherwise.
pub(crate) fn refuse_offloads(file: &File) -> io::Result<()> {
    // SAFETY: needed to name an ioctl that rustix does not know. For this opcode the argument is a number.
    let refuse = unsafe { IntegerSetter::<TUNSETOFFLOAD>::new_usize(0) };
    // SAFETY: needed to make the call, which reads and writes no memory of ours.
    unsafe { ioctl(file, refuse) }
}
