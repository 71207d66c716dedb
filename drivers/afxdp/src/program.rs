//! The XDP program in the kernel: loading it, attaching it, its tables.
//!
//! The program is `xdp/freeway.c`, compiled ahead (`cargo xtask xdp`). It is held by a bpf_link, and the link and the
//! tables by file descriptors of this process alone: nothing is pinned. However the process ends, the kernel takes the
//! program off the interface, and every frame is Linux's again.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use aya::maps::{Array, HashMap, Map, MapData, XskMap};
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpMode;
use aya::programs::{ProgramError, Xdp};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader};
use freeway_base::counters;

use crate::config::{Mode, Steering, Transport};
use crate::error::AfxdpError;
use crate::netlink::Link;
use crate::sys;

/// The compiled program.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../xdp/freeway.o");

/// The longest MTU at which a frame with two tags fits into one page, with what the kernel keeps beside it.
pub(crate) const SINGLE_BUFFER_MTU_MAX: u32 = 3_498;

/// `struct ip` of the program: IPv6, or IPv4 mapped into it.
type Ip = [u8; 16];
/// `struct address`: mode, VLAN, first and last port for active opens.
type Address = [u16; 4];
/// `struct service`: address, port in the machine's byte order, protocol, zero.
type Service = [u8; 20];

const MODE_OWN: u16 = 1;
const MODE_SHARED: u16 = 2;

counters! {
    /// What the XDP program made of the interface's frames, on all processors together.
    pub struct Verdicts {
        /// Left to Linux.
        passed,
        /// Freeway's, but left to Linux because no socket was there.
        passed_no_socket,
        /// Left to Linux because they are shorter than they say.
        passed_malformed,
        /// Freeway's, because all frames are.
        whole_interface,
        /// To an own address.
        own_address,
        /// ARP and neighbour discovery about an own address.
        own_neighbour,
        /// To a served port of a shared address.
        service,
        /// To a port from which Freeway opens connections.
        open,
        /// Later fragments of a datagram for Freeway.
        fragment,
        /// ICMP errors about a flow of Freeway's.
        icmp_error,
    }
}

/// The program, attached. Dropping it takes it off the interface.
pub(crate) struct Program {
    /// Alive as long as the program is to be attached.
    _link: FdLink,
    sockets: XskMap<MapData>,
    verdicts: MapData,
    /// Where it runs.
    pub(crate) mode: Mode,
    /// Whether frames may come in several buffers.
    pub(crate) has_fragments: bool,
}

impl Program {
    /// Loads the program, tells it what is Freeway's, and attaches it to `link`.
    pub(crate) fn attach(link: &Link, mode: Mode, steering: &Steering) -> Result<Self, AfxdpError> {
        let mut object = EbpfLoader::new().load(OBJECT)?;
        fill(&mut object, steering)?;
        let has_fragments = link.mtu > SINGLE_BUFFER_MTU_MAX;
        let name = if has_fragments { "freeway_frags" } else { "freeway" };
        let program: &mut Xdp = object.program_mut(name).ok_or_else(|| missing(name))?.try_into()?;
        program.load()?;
        let (held, mode) = match mode {
            Mode::Native => (attach_in(program, link, Mode::Native)?, Mode::Native),
            Mode::Generic => (attach_in(program, link, Mode::Generic)?, Mode::Generic),
            Mode::Auto => match attach_in(program, link, Mode::Native) {
                Ok(held) => (held, Mode::Native),
                Err(AfxdpError::Attach { .. }) => (attach_in(program, link, Mode::Generic)?, Mode::Generic),
                Err(error) => return Err(error),
            },
        };
        // A loaded program holds its tables by itself.
        let sockets = XskMap::try_from(take(&mut object, "sockets")?)?;
        let Map::PerCpuArray(verdicts) = take(&mut object, "verdicts")? else {
            return Err(missing("verdicts"));
        };
        Ok(Self { _link: held, sockets, verdicts, mode, has_fragments })
    }

    /// Sends what is Freeway's on this queue to this socket.
    pub(crate) fn set_socket(&mut self, queue: u32, socket: RawFd) -> Result<(), AfxdpError> {
        Ok(self.sockets.set(queue, socket, 0)?)
    }

    /// What tells what became of the interface's frames.
    pub(crate) fn reader(&self) -> io::Result<VerdictReader> {
        let map = self.verdicts.fd().as_fd().try_clone_to_owned()?;
        // A value for each processor that there may ever be.
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        Ok(VerdictReader { map, values: vec![0; cpus].into() })
    }
}

/// Reads the program's counters; of all processors together.
pub(crate) struct VerdictReader {
    map: OwnedFd,
    /// Room for one counter of each processor.
    values: Box<[u64]>,
}

impl VerdictReader {
    /// What became of the interface's frames so far.
    pub(crate) fn read(&mut self) -> io::Result<Verdicts> {
        let mut sum = |index| {
            sys::array_element(self.map.as_fd(), index, &mut self.values)?;
            io::Result::Ok(self.values.iter().sum())
        };
        Ok(Verdicts {
            passed: sum(0)?,
            passed_no_socket: sum(1)?,
            passed_malformed: sum(2)?,
            whole_interface: sum(3)?,
            own_address: sum(4)?,
            own_neighbour: sum(5)?,
            service: sum(6)?,
            open: sum(7)?,
            fragment: sum(8)?,
            icmp_error: sum(9)?,
        })
    }
}

fn take(object: &mut Ebpf, name: &str) -> Result<Map, AfxdpError> {
    object.take_map(name).ok_or_else(|| missing(name))
}

fn map<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Map, AfxdpError> {
    object.map_mut(name).ok_or_else(|| missing(name))
}

/// The object was not built of this source: a mistake that `cargo xtask xdp` finds.
fn missing(name: &str) -> AfxdpError {
    let source = io::Error::new(io::ErrorKind::InvalidData, "it is not in the compiled program");
    AfxdpError::System { action: "find", name: name.to_owned(), source }
}

/// Writes what is Freeway's into the program's tables.
fn fill(object: &mut Ebpf, steering: &Steering) -> Result<(), AfxdpError> {
    let Steering { whole_interface, vlan, own, shared, services, opens } = steering;
    let mut settings: Array<_, u32> = Array::try_from(map(object, "settings")?)?;
    settings.set(0, u32::from(*whole_interface), 0)?;
    let (first, last) = opens.as_ref().map_or((0, 0), |ports| (*ports.start(), *ports.end()));
    let mut addresses: HashMap<_, Ip, Address> = HashMap::try_from(map(object, "addresses")?)?;
    for &addr in own {
        addresses.insert(octets(addr), [MODE_OWN, *vlan, 0, 0], 0)?;
    }
    for &addr in shared {
        addresses.insert(octets(addr), [MODE_SHARED, *vlan, first, last], 0)?;
    }
    let mut table: HashMap<_, Service, u32> = HashMap::try_from(map(object, "services")?)?;
    for &addr in shared {
        for &(transport, port) in services {
            table.insert(service(addr, transport, port), 1, 0)?;
        }
    }
    Ok(())
}

fn octets(addr: IpAddr) -> Ip {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn service(addr: IpAddr, transport: Transport, port: u16) -> Service {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&octets(addr));
    key[16..18].copy_from_slice(&port.to_ne_bytes());
    key[18] = transport.number();
    key
}

fn attach_in(program: &mut Xdp, link: &Link, mode: Mode) -> Result<FdLink, AfxdpError> {
    let (flags, name) = match mode {
        Mode::Generic => (XdpMode::Skb, "generic"),
        Mode::Auto | Mode::Native => (XdpMode::Driver, "native"),
    };
    let id = program.attach_to_if_index(link.index, flags).map_err(|source| {
        match errno(&source).map(io::Error::from_raw_os_error) {
            Some(error) if error.raw_os_error() == Some(libc::EBUSY) => AfxdpError::Busy(link.name.clone()),
            Some(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                AfxdpError::NotPermitted { action: "attach an XDP program to", name: link.name.clone() }
            }
            _ => AfxdpError::Attach {
                name: link.name.clone(),
                mode: name,
                source: Box::new(source),
                advice: ADVICE,
            },
        }
    })?;
    // Without a link the program would outlive this process; dropping what there is instead takes it off again.
    FdLink::try_from(program.take_link(id)?).map_err(|_| AfxdpError::NoLink)
}

const ADVICE: &str = "; an interface with GRO hardware, LRO, too few queues or too long an MTU may refuse: `mode=generic` works \
                      everywhere";

/// What the kernel said, if it was asked.
fn errno(error: &ProgramError) -> Option<i32> {
    let mut error: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(this) = error {
        if let Some(io) = this.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        error = this.source();
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_have_the_layout_of_the_program() {
        let key = service("198.18.0.2".parse().unwrap(), Transport::Udp, 0x1234);
        assert_eq!(key[..16], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 18, 0, 2]);
        assert_eq!(u16::from_ne_bytes([key[16], key[17]]), 0x1234);
        assert_eq!(key[18..], [17, 0]);
        assert_eq!(octets("2001:db8::1".parse().unwrap())[..4], [0x20, 0x01, 0x0d, 0xb8]);
    }
}
