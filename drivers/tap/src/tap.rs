//! One queue of a TAP device.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use freeway_mem::{PacketPool, RxBurst, TxBurst};
use freeway_port::{Armed, Port, PortCounters, PortInfo, RxQueue, TxQueue, mac_of};
use rustix::fs::OFlags;
use rustix::io::{Errno, read, readv, write};

use crate::error::TapError;
use crate::ioctl::{self, NAME_MAX};
use crate::netlink::{Link, Netlink};

/// Where the driver is.
const DRIVER: &str = "/dev/net/tun";
/// `MAX_TAP_QUEUES` of drivers/net/tun.c.
const QUEUES_MAX: usize = 256;

/// One queue of a TAP device as a port. See the [crate](crate).
#[derive(Debug)]
pub struct Tap {
    info: PortInfo,
    file: File,
    /// The device was deleted under us: no more frames, and the descriptor would wake a sleeper for ever.
    is_gone: bool,
    counters: PortCounters,
}

impl Tap {
    /// Opens the TAP device `name`, or creates it, with so many queues, one port each: one per core. A device with
    /// several spreads frames over them by a hash of its own (it remembers the queue that a flow was sent by).
    ///
    /// The device starts down and without addresses if it is new: see [`configure`](crate::configure()).
    ///
    /// # Errors
    ///
    /// See [`TapError`].
    pub fn open(name: &str, queues: usize) -> Result<Vec<Self>, TapError> {
        check_name(name)?;
        if !(1..=QUEUES_MAX).contains(&queues) {
            return Err(TapError::BadQueues(queues));
        }
        let files = (0..queues).map(|_| open_queue(name, queues)).collect::<Result<Vec<_>, _>>()?;
        let system = |action| move |source| TapError::System { action, name: name.to_owned(), source };
        let link = Netlink::open().and_then(|netlink| netlink.link(name)).map_err(system("ask about"))?;
        let info = info(name, &link);
        let tap = |file| Self { info: info.clone(), file, is_gone: false, counters: PortCounters::default() };
        Ok(files.into_iter().map(tap).collect())
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    pub(crate) fn set_mtu(&mut self, mtu: u16) {
        self.info.mtu = mtu;
    }

    /// Reads a frame away for which there is no buffer. False if there was none.
    #[cold]
    fn drop_next(&mut self) -> bool {
        // What does not fit into a read is gone.
        let result = read(&self.file, &mut [0_u8; 1]).map(|_| ());
        self.counters.rx_dropped_no_buffer += u64::from(result.is_ok());
        result.inspect_err(|&errno| self.note_rx_error(errno)).is_ok()
    }

    /// Why there is no frame to be read.
    fn note_rx_error(&mut self, errno: Errno) {
        if errno != Errno::AGAIN {
            self.counters.rx_errors += 1;
            self.is_gone |= errno == Errno::BADFD;
        }
    }

    /// What becomes of a frame that was not written: dropped and counted, or (false) to be tried again.
    #[cold]
    fn is_dropped_for(&mut self, errno: Errno) -> bool {
        let counter = match errno {
            Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM => {
                self.counters.tx_full += 1;
                return false;
            }
            // The interface is down, or gone.
            Errno::IO | Errno::BADFD => &mut self.counters.tx_dropped_no_link,
            _ => &mut self.counters.tx_errors,
        };
        *counter += 1;
        true
    }
}

fn check_name(name: &str) -> Result<(), TapError> {
    let is_odd = |byte: u8| matches!(byte, b'/' | b':' | b'%') || !byte.is_ascii_graphic();
    if name.is_empty() || name.len() > NAME_MAX || name == "." || name == ".." || name.bytes().any(is_odd) {
        return Err(TapError::BadName(name.to_owned()));
    }
    Ok(())
}

/// Opens the driver and makes it a queue of the device `name`, one of `queues`.
fn open_queue(name: &str, queues: usize) -> Result<File, TapError> {
    let attach = |multi_queue| {
        let file = open_driver(name)?;
        let attached = ioctl::attach(&file, name, multi_queue);
        Ok(attached.map(|()| file))
    };
    let attached = match attach(queues > 1)? {
        // The device exists, with room for several queues; one of them will do.
        Err(Errno::INVAL) if queues == 1 => attach(true)?,
        attached => attached,
    };
    let file = attached.map_err(|errno| attach_error(errno, name, queues))?;
    ioctl::refuse_offloads(&file).map_err(|errno| TapError::System {
        action: "refuse offloads of",
        name: name.to_owned(),
        source: errno.into(),
    })?;
    Ok(file)
}

fn open_driver(name: &str) -> Result<File, TapError> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(DRIVER).map_err(|error| {
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => TapError::NoDriver,
            Some(Errno::ACCESS | Errno::PERM) => TapError::DriverClosed,
            _ => TapError::System { action: "open /dev/net/tun for", name: name.to_owned(), source: error },
        }
    })
}

fn attach_error(errno: Errno, name: &str, queues: usize) -> TapError {
    let name = name.to_owned();
    match errno {
        Errno::PERM | Errno::ACCESS => {
            TapError::NotPermitted { name, multi_queue: if queues > 1 { " multi_queue" } else { "" } }
        }
        Errno::BUSY => TapError::Busy(name),
        Errno::INVAL | Errno::EXIST => TapError::OtherKind { name, queues },
        Errno::TOOBIG => TapError::BadQueues(queues),
        _ => TapError::System { action: "open", name, source: io::Error::from(errno) },
    }
}

/// The port's description: a MAC made of the name, whatever Linux's end has.
fn info(name: &str, link: &Link) -> PortInfo {
    let mut mac = mac_of(name);
    if mac == link.mac {
        // Somebody gave Linux's end the address made of the name: ours is the next one.
        mac[5] ^= 1;
    }
    PortInfo { mac, mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX), ..PortInfo::new(name) }
}

impl RxQueue for Tap {
    fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize {
        let before = into.len();
        for _ in 0..into.remaining_capacity() {
            let Some(mut packet) = pool.alloc() else {
                if self.drop_next() {
                    continue;
                }
                break;
            };
            let room = packet.tailroom().min(self.info.frame_max());
            let Some(buffer) = packet.append(room) else { break };
            // A read cuts off what does not fit and does not say so: one byte more tells.
            let mut spill = [0_u8; 1];
            match readv(&self.file, &mut [IoSliceMut::new(buffer), IoSliceMut::new(&mut spill)]) {
                Ok(len) if len <= room => {
                    packet.truncate(len);
                    self.counters.rx_bytes += len as u64;
                    into.push(packet);
                }
                Ok(_) => self.counters.rx_dropped_too_long += 1,
                Err(errno) => {
                    self.note_rx_error(errno);
                    break;
                }
            }
        }
        let received = into.len() - before;
        self.counters.rx_frames += received as u64;
        received
    }

    fn arm(&mut self) -> Armed<'_> {
        // The descriptor is readable as long as there are frames, so none is missed.
        if self.is_gone { Armed::Never } else { Armed::Fd(self.file.as_fd()) }
    }

    fn disarm(&mut self) {}
}

impl TxQueue for Tap {
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
        let mut taken = 0;
        for packet in from.iter() {
            let frame = packet.data();
            if frame.len() > self.info.frame_max() {
                self.counters.tx_dropped_too_long += 1;
            } else {
                match write(&self.file, frame) {
                    Ok(_) => {
                        self.counters.tx_frames += 1;
                        self.counters.tx_bytes += frame.len() as u64;
                    }
                    Err(errno) => {
                        if !self.is_dropped_for(errno) {
                            break;
                        }
                    }
                }
            }
            taken += 1;
        }
        from.drain(..taken);
        taken
    }
}

impl Port for Tap {
    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&self) -> PortCounters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_that_no_interface_has_are_refused_before_anything_is_opened() {
        for name in ["", "0123456789abcdef", "a/b", "a b", "tap%d", "eth0:1", ".", "..", "tap\n"] {
            let error = Tap::open(name, 1).unwrap_err();
            assert!(matches!(error, TapError::BadName(_)), "{name}: {error}");
        }
        assert!(matches!(Tap::open("freeway0", 0), Err(TapError::BadQueues(0))));
        assert!(matches!(Tap::open("freeway0", 257), Err(TapError::BadQueues(257))));
    }

    #[test]
    fn errors_say_what_to_do() {
        let message = |errno, queues| attach_error(errno, "fw0", queues).to_string();
        assert!(message(Errno::PERM, 1).contains("`ip tuntap add fw0 mode tap user $USER`"));
        assert!(message(Errno::PERM, 2).contains("mode tap user $USER multi_queue`"));
        assert!(message(Errno::BUSY, 1).contains("in use by another process"));
        assert!(message(Errno::INVAL, 2).contains("`ip link delete fw0`"));
    }

    #[test]
    fn the_two_ends_never_share_an_address() {
        let link = Link { index: 1, is_up: false, mtu: 70_000, mac: mac_of("fw0") };
        let ours = info("fw0", &link);
        assert_ne!(ours.mac, link.mac);
        assert_eq!(ours.mac[0] & 0b11, 0b10);
        assert_eq!(ours.mtu, u16::MAX);
        assert_eq!(info("fw0", &Link::default()).mac, mac_of("fw0"));
    }
}
