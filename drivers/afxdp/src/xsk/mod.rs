//! An AF_XDP socket: the memory it works on, its four rings, and the queue it is bound to.
//!
//! ```text
//!   socket ─► memory (UMEM) ─► sizes of the rings ─► rings mapped ─► bound to a queue
//!
//!   fill        addresses of chunks to be filled         ours to write
//!   receive     descriptors of frames that arrived       ours to read
//!   transmit    descriptors of frames to be sent         ours to write
//!   completion  addresses of chunks that were sent       ours to read
//! ```
//!
//! Sources: Documentation/networking/af_xdp.rst, linux/if_xdp.h.

mod mapping;
mod ring;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use freeway_wire::offload::REQUEST_LEN;
use libc::xdp_desc;
use rustix::net::sockopt::{
    set_xdp_rx_ring_size, set_xdp_tx_ring_size, set_xdp_umem_completion_ring_size,
    set_xdp_umem_fill_ring_size, set_xdp_umem_reg, xdp_mmap_offsets, xdp_options, xdp_statistics,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XdpOptionsFlags, XdpRingOffset, XdpStatistics, XdpUmemReg,
    XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use mapping::Mapping;
use ring::{Entry, Layout};

pub(crate) use ring::{Consumer, Producer};

/// The memory that a socket's frames lie in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Umem {
    /// Where it begins: on a page.
    pub(crate) base: *mut u8,
    /// How long it is, in bytes.
    pub(crate) len: usize,
    /// The size of the chunks it is cut into, in bytes.
    pub(crate) chunk: u32,
    /// Whether requests stand before frames that are sent: then there is room for one before each, in its chunk.
    pub(crate) has_requests: bool,
}

/// How many entries each ring has: powers of two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) fill: u32,
    pub(crate) completion: u32,
    pub(crate) rx: u32,
    pub(crate) tx: u32,
}

/// See the [module](self).
pub(crate) struct Xsk {
    pub(crate) fill: Producer<u64>,
    pub(crate) completion: Consumer<u64>,
    pub(crate) rx: Consumer<xdp_desc>,
    pub(crate) tx: Producer<xdp_desc>,
    /// Closed after the rings are unmapped: the kernel then lets go of the memory.
    fd: OwnedFd,
}

impl Xsk {
    /// Opens a socket over `umem`, with rings of `sizes`. It takes and sends nothing before it is [bound](Self::bind).
    ///
    /// # Safety
    ///
    /// `umem` is mapped as long as the socket is there. Whoever puts an address into the fill ring has given up the chunk
    /// until it comes out of the receive ring; what is in the transmit ring is not written until it comes out of the
    /// completion ring.
    pub(crate) unsafe fn open(umem: Umem, sizes: Sizes) -> io::Result<Self> {
        let fd = socket()?;
        register(fd.as_fd(), umem)?;
        set_xdp_umem_fill_ring_size(&fd, sizes.fill)?;
        set_xdp_umem_completion_ring_size(&fd, sizes.completion)?;
        set_xdp_rx_ring_size(&fd, sizes.rx)?;
        set_xdp_tx_ring_size(&fd, sizes.tx)?;
        let offsets = xdp_mmap_offsets(&fd)?;
        let fd_ref = fd.as_fd();
        let fill = map::<u64>(fd_ref, libc::XDP_UMEM_PGOFF_FILL_RING, offsets.fr, sizes.fill)?;
        let completion =
            map::<u64>(fd_ref, libc::XDP_UMEM_PGOFF_COMPLETION_RING, offsets.cr, sizes.completion)?;
        let rx = map::<xdp_desc>(fd_ref, libc::XDP_PGOFF_RX_RING as u64, offsets.rx, sizes.rx)?;
        let tx = map::<xdp_desc>(fd_ref, libc::XDP_PGOFF_TX_RING as u64, offsets.tx, sizes.tx)?;
        Ok(Self {
            fill: Producer::new(fill.0, fill.1, sizes.fill).ok_or_else(no_ring)?,
            completion: Consumer::new(completion.0, completion.1, sizes.completion).ok_or_else(no_ring)?,
            rx: Consumer::new(rx.0, rx.1, sizes.rx).ok_or_else(no_ring)?,
            tx: Producer::new(tx.0, tx.1, sizes.tx).ok_or_else(no_ring)?,
            fd,
        })
    }

    /// Binds the socket to receive queue `number` of interface `index`.
    pub(crate) fn bind(&self, index: u32, number: u32, flags: SocketAddrXdpFlags) -> io::Result<()> {
        Ok(bind(&self.fd, &SocketAddrXdp::new(flags, index, number))?)
    }

    /// The socket's descriptor, for tables and for sleeping.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether the card reads and writes the memory itself.
    pub(crate) fn is_zero_copy(&self) -> io::Result<bool> {
        Ok(xdp_options(&self.fd)?.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY))
    }

    /// What the kernel counts.
    pub(crate) fn statistics(&self) -> io::Result<XdpStatistics> {
        Ok(xdp_statistics(&self.fd)?)
    }
}

/// Opens an AF_XDP socket, and closes it again.
pub(crate) fn probe() -> io::Result<()> {
    socket().map(drop)
}

/// Whether the kernel takes requests that stand before frames: whether it registers memory with room for them.
pub(crate) fn takes_requests() -> io::Result<bool> {
    /// On a page wherever pages have at most this size.
    #[repr(align(65536))]
    struct Page([u8; 1 << 16]);
    let mut page = Box::new(Page([0; 1 << 16]));
    let umem = Umem { base: page.0.as_mut_ptr(), len: page.0.len(), chunk: 2_048, has_requests: true };
    // Without rings nothing is read or written, and the socket goes before the page.
    match socket().and_then(|socket| register(socket.as_fd(), umem)) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        registered => registered.map(|()| true),
    }
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)?)
}

/// Gives memory to a socket.
fn register(socket: BorrowedFd<'_>, umem: Umem) -> io::Result<()> {
    let registration = XdpUmemReg {
        addr: umem.base as u64,
        len: umem.len as u64,
        chunk_size: umem.chunk,
        headroom: 0,
        flags: XdpUmemRegFlags::from_bits_retain(if umem.has_requests {
            libc::XDP_UMEM_TX_METADATA_LEN
        } else {
            0
        }),
        tx_metadata_len: if umem.has_requests { REQUEST_LEN as u32 } else { 0 },
    };
    Ok(set_xdp_umem_reg(socket, registration)?)
}

/// Maps a ring of `size` entries, and says where its parts are.
fn map<T: Entry>(
    socket: BorrowedFd<'_>,
    page: u64,
    offsets: XdpRingOffset,
    size: u32,
) -> io::Result<(Mapping, Layout)> {
    let XdpRingOffset { producer, consumer, desc, flags } = offsets;
    let flags = flags.ok_or_else(|| {
        io::Error::new(io::ErrorKind::Unsupported, "this kernel's AF_XDP rings have no flags: Linux 5.4 does")
    })?;
    let entries = (size as usize).checked_mul(size_of::<T>());
    let len = usize::try_from(desc).ok().zip(entries).and_then(|(begin, len)| begin.checked_add(len));
    let mapping = Mapping::new(socket, page, len.ok_or_else(no_ring)?)?;
    Ok((mapping, Layout { producer, consumer, flags, entries: desc }))
}

fn no_ring() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel describes AF_XDP rings that cannot be")
}
