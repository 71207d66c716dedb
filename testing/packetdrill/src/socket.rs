//! One socket: what Linux keeps of it beside the connection itself.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use freeway::{ConnId, Duration, Instant, ListenerId, TcpConfig, UdpId};

use crate::address::Family;
use crate::chrono::Chrono;
use crate::errno::Errno;
use crate::flags::Flags;
use crate::reports::Reports;
use crate::stream::Record;

/// A socket's number. Sockets without a descriptor (not accepted yet) have one too.
pub(crate) type Key = u32;

/// What a socket carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// TCP.
    Stream,
    /// UDP.
    Datagram,
}

/// Where a socket stands.
#[derive(Debug)]
pub(crate) enum State {
    /// Nothing yet, or nothing any more; a datagram socket that is not bound.
    Idle,
    /// It accepts; `queue` holds those who wait.
    Listening { id: ListenerId, backlog: usize, queue: VecDeque<Key> },
    /// Its SYN is out.
    Connecting(ConnId),
    /// Open, in at least one direction.
    Open(ConnId),
    /// The connection, or the attempt at one, is over.
    Ended,
    /// A datagram socket with a port.
    Bound(UdpId),
}

/// A datagram that waits to be read.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// How often those who wait for something were woken: what edge-triggered events are counted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Wakes {
    /// Something to read.
    pub(crate) input: u64,
    /// Room to write after there was none.
    pub(crate) output: u64,
    /// The connection opened, ended, or failed.
    pub(crate) state: u64,
}

/// Options that are not TCP's own settings; where a type is optional, absent is Linux's default.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) reuse_addr: bool,
    pub(crate) reuse_port: bool,
    pub(crate) broadcast: bool,
    pub(crate) v6_only: bool,
    pub(crate) keepalive: bool,
    pub(crate) keepalive_times: freeway_tcp::Keepalive,
    /// `SO_LINGER`, when it is on.
    pub(crate) linger: Option<Duration>,
    /// Bytes queued for sending, at most.
    pub(crate) send_buffer: u32,
    pub(crate) receive_timeout: Option<Duration>,
    pub(crate) send_timeout: Option<Duration>,
    /// `SO_RCVLOWAT`: bytes before a read, or its readiness, has enough.
    pub(crate) receive_low: u32,
    /// `TCP_FASTOPEN` of a listener: connections whose handshake is not over, at most; 0 takes no text in SYNs.
    pub(crate) fast_open: u32,
    /// `TCP_FASTOPEN_CONNECT`: an open waits for what is to be written, where it may travel in the SYN.
    pub(crate) fast_open_connect: bool,
    /// `SO_ZEROCOPY`: `MSG_ZEROCOPY` is reported on.
    pub(crate) zero_copy: bool,
    pub(crate) defer_accept: bool,
    /// `TCP_NOTSENT_LOWAT`: bytes not sent yet above which there is no room to write.
    pub(crate) not_sent_low: u32,
    pub(crate) max_segment: Option<u16>,
    /// `TCP_USER_TIMEOUT` in milliseconds.
    pub(crate) user_timeout_ms: u32,
    pub(crate) quick_ack: bool,
    /// `TCP_INQ`: messages tell how much is left to read.
    pub(crate) tell_unread: bool,
    pub(crate) marking: Marking,
}

/// What a socket's packets carry in their IP headers, where it is not what the stack writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marking {
    /// The type of service, or traffic class; the lower two bits are TCP's own.
    pub(crate) class: Option<u8>,
    /// The time to live, or hop limit.
    pub(crate) hops: Option<u8>,
    /// `IP_MTU_DISCOVER`: whether packets may be fragmented on their way (IPv4).
    pub(crate) may_fragment: Option<bool>,
}

/// One socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) family: Family,
    pub(crate) kind: Kind,
    pub(crate) nonblocking: bool,
    pub(crate) settings: Settings,
    /// TCP's settings; a connection has its own copy, which is changed along.
    pub(crate) tcp: TcpConfig,
    pub(crate) state: State,
    /// What it was bound to, explicitly or by opening a connection.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    /// Whom the first write opens a connection to.
    pub(crate) lazy_peer: Option<SocketAddr>,
    /// Bytes to be read: a copy of what the stack holds.
    pub(crate) unread: VecDeque<u8>,
    /// Bytes written on this connection.
    pub(crate) written: u64,
    /// What is told of writes.
    pub(crate) reports: Reports,
    /// Records that must not share a segment (`MSG_EOR`).
    pub(crate) records: VecDeque<Record>,
    /// Bytes that are not given to the stack yet, since more are promised (`MSG_MORE`).
    pub(crate) held_back: Vec<u8>,
    /// When they go out nevertheless.
    pub(crate) held_until: Option<Instant>,
    pub(crate) datagrams: VecDeque<Arrived>,
    /// What the next call reports.
    pub(crate) error: Option<Errno>,
    /// What the path said, to be reported should the connection time out.
    pub(crate) soft_error: Option<Errno>,
    /// The MTU that the path has told, and the stack has believed.
    pub(crate) path_mtu: Option<u16>,
    /// The peer's FIN has come.
    pub(crate) peer_finished: bool,
    pub(crate) shut_read: bool,
    pub(crate) shut_write: bool,
    /// Whether a call has told that the open succeeded, or failed.
    pub(crate) open_told: bool,
    /// The listener that gets this connection when its first bytes come.
    pub(crate) deferred_for: Option<Key>,
    /// Bytes in the SYN have been taken: the peer's, or ours.
    pub(crate) syn_had_data: bool,
    /// What its connection has spent time with.
    pub(crate) chrono: Chrono,
    /// The largest window that the peer has offered.
    pub(crate) window_max: u32,
    /// A write or a poll found no room: acknowledgments wake.
    pub(crate) wants_room: bool,
    pub(crate) wakes: Wakes,
}

impl Socket {
    pub(crate) fn new(family: Family, kind: Kind, flags: &Flags) -> Self {
        let settings = Settings {
            reuse_addr: false,
            reuse_port: false,
            broadcast: false,
            v6_only: false,
            keepalive: false,
            keepalive_times: freeway_tcp::Keepalive { spread: 0, ..freeway_tcp::Keepalive::default() },
            linger: None,
            send_buffer: flags.send_buffer,
            receive_timeout: None,
            send_timeout: None,
            receive_low: 1,
            fast_open: 0,
            fast_open_connect: false,
            zero_copy: false,
            defer_accept: false,
            not_sent_low: u32::MAX,
            max_segment: None,
            user_timeout_ms: 0,
            quick_ack: true,
            tell_unread: false,
            marking: Marking::default(),
        };
        Self {
            family,
            kind,
            nonblocking: false,
            settings,
            tcp: flags.tcp,
            state: State::Idle,
            local: None,
            peer: None,
            lazy_peer: None,
            unread: VecDeque::new(),
            written: 0,
            reports: Reports::default(),
            records: VecDeque::new(),
            held_back: Vec::new(),
            held_until: None,
            datagrams: VecDeque::new(),
            error: None,
            soft_error: None,
            path_mtu: None,
            peer_finished: false,
            shut_read: false,
            shut_write: false,
            open_told: false,
            deferred_for: None,
            syn_had_data: false,
            chrono: Chrono::default(),
            window_max: 0,
            wants_room: false,
            wakes: Wakes::default(),
        }
    }

    /// A connection that this listener has accepted: options are inherited, descriptor flags are not.
    pub(crate) fn child(&self, id: ConnId, local: SocketAddr, peer: SocketAddr, flags: &Flags) -> Self {
        Self {
            settings: self.settings.clone(),
            tcp: self.tcp,
            state: State::Open(id),
            local: Some(local),
            peer: Some(peer),
            open_told: true,
            ..Self::new(self.family, self.kind, flags)
        }
    }

    /// The connection, while it lives.
    pub(crate) const fn conn(&self) -> Option<ConnId> {
        match self.state {
            State::Connecting(id) | State::Open(id) => Some(id),
            _ => None,
        }
    }

    /// The address of a bind, where one was named; none means all.
    pub(crate) fn bound_ip(&self) -> Option<IpAddr> {
        self.local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
    }

    /// Every address, as a socket of this family says it.
    pub(crate) const fn any(&self) -> IpAddr {
        match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// Whether this socket talks to addresses of this one's version.
    pub(crate) const fn speaks(&self, ip: IpAddr) -> bool {
        match (self.family, ip) {
            (Family::V4, IpAddr::V4(_)) | (Family::V6, IpAddr::V6(_)) => true,
            (Family::V6, IpAddr::V4(_)) => !self.settings.v6_only,
            (Family::V4, IpAddr::V6(_)) => false,
        }
    }

    /// The error that waits, which is reported once.
    pub(crate) const fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// Leaves the connection behind: the socket may open another one.
    pub(crate) fn disconnect(&mut self) {
        self.state = State::Idle;
        self.peer = None;
        self.lazy_peer = None;
        self.unread.clear();
        self.written = 0;
        self.syn_had_data = false;
        self.chrono = Chrono::default();
        self.reports = Reports::default();
        self.records.clear();
        self.held_back.clear();
        self.held_until = None;
        self.peer_finished = false;
        self.shut_read = false;
        self.shut_write = false;
        self.open_told = false;
        self.wants_room = false;
    }
}
