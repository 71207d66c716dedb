//! What can go wrong with an interface and its sockets, and what to do about it.

use std::io;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use thiserror::Error;

/// Why AF_XDP sockets could not be had of an interface.
#[derive(Debug, Error)]
pub enum AfxdpError {
    /// There is no such interface.
    #[error("there is no interface {0}: `ip link` lists those of this network namespace")]
    NoInterface(String),
    /// Not an Ethernet interface.
    #[error("the interface {0} has no Ethernet address: AF_XDP here serves Ethernet interfaces only")]
    NotEthernet(String),
    /// The interface has not that many queues.
    #[error(
        "the interface {name} has {there} receive queue(s), not {wanted}: lower `queues=`, or raise it with `ethtool \
         -L {name} combined {wanted}` (a veth pair gets its queues when it is made: `numrxqueues`, `numtxqueues`)"
    )]
    Queues {
        /// The interface.
        name: String,
        /// What was asked for.
        wanted: u32,
        /// What there are.
        there: u32,
    },
    /// Nobody but software fills in sums, and it was asked for.
    #[error("{name} cannot have sums filled in: {why}: use tx-checksum=auto")]
    NoTxChecksum {
        /// The interface.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// Rights are missing.
    #[error(
        "not permitted to {action} {name}: it takes CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_PERFMON, which root has"
    )]
    NotPermitted {
        /// What was to be done.
        action: &'static str,
        /// The interface.
        name: String,
    },
    /// Somebody else's XDP program is there.
    #[error(
        "the interface {0} has an XDP program already: end the process that attached it, or remove it with `ip link \
         set {0} xdp off`"
    )]
    Busy(String),
    /// A port of a shared address that a program of Linux's has.
    #[error("port {port} of {addr} is in use by another program: end that, or serve another port")]
    PortInUse {
        /// The address.
        addr: std::net::IpAddr,
        /// The port.
        port: u16,
    },
    /// Linux picks source ports from the range that Freeway opens connections from.
    #[error(
        "Linux picks source ports from {linux_first} to {linux_last}, and Freeway from {first} to {last}: keep them \
         apart with `sysctl net.ipv4.ip_local_port_range`"
    )]
    PortsOverlap {
        /// Linux's first.
        linux_first: u16,
        /// Linux's last.
        linux_last: u16,
        /// Freeway's first.
        first: u16,
        /// Freeway's last.
        last: u16,
    },
    /// The kernel does not hold the program by a link, so it would stay when this process is killed.
    #[error("this kernel cannot tie an XDP program to its process (bpf_link): it takes Linux 5.10 or newer")]
    NoLink,
    /// The XDP program does not attach.
    #[error("the XDP program does not attach to {name} in {mode} mode: {source}{advice}")]
    Attach {
        /// The interface.
        name: String,
        /// The mode.
        mode: &'static str,
        /// What the kernel said.
        source: Box<ProgramError>,
        /// What may help.
        advice: &'static str,
    },
    /// Rights to load the program are missing. The kernel's verifier says a good deal more, of no use here.
    #[error("not permitted to load the XDP program: it takes CAP_BPF and CAP_PERFMON, which root has")]
    MayNotLoad,
    /// The XDP program does not load.
    #[error("the XDP program does not load: {0}")]
    Load(#[source] Box<EbpfError>),
    /// The XDP program does not load.
    #[error("the XDP program does not load: {0}")]
    Program(#[source] Box<ProgramError>),
    /// One of the program's tables refused an entry.
    #[error("the XDP program's tables: {0}")]
    Map(#[source] Box<MapError>),
    /// Something else failed.
    #[error("cannot {action} {name}: {source}")]
    System {
        /// What was to be done.
        action: &'static str,
        /// The interface.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl From<EbpfError> for AfxdpError {
    fn from(error: EbpfError) -> Self {
        Self::Load(Box::new(error))
    }
}

impl From<ProgramError> for AfxdpError {
    fn from(error: ProgramError) -> Self {
        match &error {
            ProgramError::LoadError { io_error, .. }
                if io_error.kind() == io::ErrorKind::PermissionDenied =>
            {
                Self::MayNotLoad
            }
            _ => Self::Program(Box::new(error)),
        }
    }
}

impl From<MapError> for AfxdpError {
    fn from(error: MapError) -> Self {
        Self::Map(Box::new(error))
    }
}

impl AfxdpError {
    /// Tells a lack of rights from other failures.
    pub(crate) fn system(action: &'static str, name: &str, source: impl Into<io::Error>) -> Self {
        let (source, name) = (source.into(), name.to_owned());
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::NotPermitted { action, name },
            _ => Self::System { action, name, source },
        }
    }

    /// Whether more rights would help.
    pub fn is_not_permitted(&self) -> bool {
        let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        match self {
            Self::NotPermitted { .. } | Self::MayNotLoad => true,
            Self::System { source, .. } => is_denied(source),
            Self::Load(_) | Self::Program(_) | Self::Attach { .. } | Self::Map(_) => {
                let mut error: Option<&(dyn std::error::Error + 'static)> = Some(self);
                while let Some(this) = error {
                    if this.downcast_ref::<io::Error>().is_some_and(is_denied) {
                        return true;
                    }
                    error = this.source();
                }
                false
            }
            _ => false,
        }
    }
}
