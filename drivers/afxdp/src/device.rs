//! An interface with the XDP program on it, and the ports of its queues.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use freeway_port::{Capabilities, PortInfo, RxChecksum, Steering};

use crate::config::{AfxdpConfig, Checksum, Mode};
use crate::error::AfxdpError;
use crate::ethtool::Ethtool;
use crate::netlink::{Link, Netlink};
use crate::port::Afxdp;
use crate::program::{Program, VerdictReader, Verdicts};
use crate::reservation::Reservation;
use crate::resolver::Resolver;
use crate::sums::Sums;
use crate::sys;
use crate::veth::VethPair;
use crate::xsk;

/// An interface that Freeway takes frames of. The XDP program stays on it as long as the device or one of its ports
/// is there.
#[derive(Clone)]
pub struct Device {
    pub(crate) shared: Arc<Shared>,
}

/// What all ports of a device have in common.
pub(crate) struct Shared {
    pub(crate) config: AfxdpConfig,
    pub(crate) link: Link,
    queues: u32,
    /// Touched when sockets are opened and counters read, never for a frame.
    program: Mutex<Program>,
    pub(crate) has_fragments: bool,
    /// Who fills in the sums of what is sent.
    pub(crate) sums: Sums,
    mode: Mode,
    /// Answers questions about neighbours on shared addresses.
    pub(crate) resolver: Option<Resolver>,
    _reservation: Reservation,
    _multicast: Option<OwnedFd>,
    /// Goes last: the interface itself, if it was made for this device.
    _pair: Option<VethPair>,
}

impl Device {
    /// Puts the XDP program on an interface that exists. No frame is taken before a port is attached to a pool.
    ///
    /// # Errors
    ///
    /// See [`AfxdpError`].
    pub fn open(config: AfxdpConfig) -> Result<Self, AfxdpError> {
        Self::on(config, None)
    }

    /// Puts the XDP program on the far end of a veth pair, which goes with the device.
    ///
    /// # Errors
    ///
    /// See [`AfxdpError`].
    pub fn open_pair(config: AfxdpConfig, pair: VethPair) -> Result<Self, AfxdpError> {
        Self::on(AfxdpConfig { interface: pair.far().to_owned(), ..config }, Some(pair))
    }

    fn on(config: AfxdpConfig, pair: Option<VethPair>) -> Result<Self, AfxdpError> {
        let name = config.interface.clone();
        let asked = Netlink::open().and_then(|mut netlink| netlink.link(&name));
        let link = asked.map_err(|error| AfxdpError::system("ask about", &name, error))?;
        let link = link.ok_or_else(|| AfxdpError::NoInterface(name.clone()))?;
        if link.mac.is_none() {
            return Err(AfxdpError::NotEthernet(name));
        }
        let there = Ethtool::of(&name).and_then(|ethtool| ethtool.rx_queues()).unwrap_or(link.rx_queues_max);
        let queues = config.queues.unwrap_or(there);
        if queues > there {
            return Err(AfxdpError::Queues { name, wanted: queues, there });
        }
        let multicast = if config.steering.own.iter().any(std::net::IpAddr::is_ipv6) {
            let joined = sys::all_multicast(link.index);
            Some(joined.map_err(|error| AfxdpError::system("receive multicasts of", &name, error))?)
        } else {
            None
        };
        let reservation = Reservation::make(&config.steering)?;
        let resolver = if config.steering.shared.is_empty() {
            None
        } else {
            let started = Resolver::start(link.index);
            Some(started.map_err(|error| AfxdpError::system("watch the neighbours of", &name, error))?)
        };
        xsk::probe().map_err(|error| AfxdpError::system("open AF_XDP sockets on", &name, error))?;
        let program = Program::attach(&link, config.mode, &config.steering)?;
        let sums = Sums::of(&link, config.tx_checksum)?;
        let shared = Shared {
            queues,
            has_fragments: program.has_fragments,
            sums,
            mode: program.mode,
            program: Mutex::new(program),
            link,
            config,
            resolver,
            _reservation: reservation,
            _multicast: multicast,
            _pair: pair,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.shared.link.name
    }

    /// How many receive queues are served.
    pub fn queues(&self) -> u32 {
        self.shared.queues
    }

    /// Where the XDP program runs: never [`Mode::Auto`].
    pub fn mode(&self) -> Mode {
        self.shared.mode
    }

    /// What the ports say of themselves.
    pub fn info(&self) -> PortInfo {
        self.shared.info()
    }

    /// The queues of each of so many cores, as far as there are any: core `n` serves queues `n`, `n + cores`, …
    pub fn divide(&self, cores: usize) -> Vec<Share> {
        let cores = (cores as u32).clamp(1, self.queues());
        (0..cores)
            .map(|core| {
                let queues = (core..self.queues()).step_by(cores as usize).collect();
                Share { shared: Arc::clone(&self.shared), queues }
            })
            .collect()
    }

    /// What became of the interface's frames so far.
    ///
    /// # Errors
    ///
    /// The kernel does not say.
    pub fn verdicts(&self) -> Result<Verdicts, AfxdpError> {
        let told = self.shared.verdict_reader().and_then(|mut reader| reader.read());
        told.map_err(|error| AfxdpError::system("read the counters of", self.name(), error))
    }
}

/// One core's queues of a device, to be taken to that core's thread.
pub struct Share {
    shared: Arc<Shared>,
    queues: Vec<u32>,
}

impl Share {
    /// The receive queues, by number.
    pub fn queues(&self) -> &[u32] {
        &self.queues
    }

    /// The port that serves them. It takes frames as soon as it is [attached](freeway_port::Port::attach) to a pool.
    pub fn into_port(self) -> Afxdp {
        Afxdp::new(self.shared, self.queues)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("device", &self.shared.link.name).field("queues", &self.queues).finish()
    }
}

impl Shared {
    pub(crate) fn info(&self) -> PortInfo {
        let rx_checksum = match self.config.checksum {
            Checksum::Trust => RxChecksum::Trusted,
            Checksum::Auto if self.link.is_veth => RxChecksum::Verified,
            Checksum::Auto | Checksum::Verify => RxChecksum::None,
        };
        PortInfo {
            mac: self.link.mac.unwrap_or_default(),
            mtu: u16::try_from(self.link.mtu).unwrap_or(u16::MAX),
            // A queue is chosen by a hash that is not ours.
            capabilities: Capabilities {
                rx_checksum,
                tx_checksum: self.sums.capability(),
                steering: Steering::Software,
                packed_buffers: true,
            },
            ..PortInfo::new(self.link.name.clone())
        }
    }

    /// Whether sums that Linux left unfilled are looked for.
    pub(crate) fn marks_unfilled(&self) -> bool {
        self.link.is_veth && self.config.checksum == Checksum::Auto
    }

    /// What tells what became of the interface's frames.
    pub(crate) fn verdict_reader(&self) -> io::Result<VerdictReader> {
        self.program().reader()
    }

    /// Sends what is Freeway's on this queue to this socket.
    pub(crate) fn set_socket(&self, queue: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.program().set_socket(queue, socket.as_raw_fd()).map_err(io::Error::other)
    }

    fn program(&self) -> MutexGuard<'_, Program> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { config, link, queues, mode, .. } = &*self.shared;
        f.debug_struct("Device")
            .field("config", config)
            .field("link", link)
            .field("queues", queues)
            .field("mode", mode)
            .finish_non_exhaustive()
    }
}
