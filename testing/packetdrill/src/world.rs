//! Descriptors, what they stand for, and what the stack's events do to sockets.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd};

use anyhow::Result as Anyhow;
use freeway::{CloseReason, ConnId, Instant};
use freeway_wire::{Protocol, ipv4, ipv6, tcp, udp};
use rustix::fs::{Mode, OFlags};

use crate::epoll::Epoll;
use crate::errno::{Errno, Result, fail};
use crate::flags::Flags;
use crate::host::{Event, Host, Sent};
use crate::icmp;
use crate::offload::{Flow, Shaper};
use crate::pipe::{End, Pipe};
use crate::socket::{Arrived, Key, Kind, Marking, Socket, State};

/// Datagrams that wait for one socket; the newest goes.
const DATAGRAMS_MAX: usize = 1_024;

/// Bytes of the largest segment that is handed down to a device that cuts it.
const LARGEST: u64 = 65_536;

/// What a descriptor stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Object {
    Socket(Key),
    Epoll(Key),
    Pipe(Key, End),
}

/// A descriptor: a real one, so that the tool may close it by itself, on a file that does nothing.
#[derive(Debug)]
struct File {
    object: Object,
    reserved: OwnedFd,
}

/// Everything under the lock.
pub(crate) struct World {
    pub(crate) flags: Flags,
    pub(crate) host: Host,
    files: HashMap<i32, File>,
    pub(crate) sockets: HashMap<Key, Socket>,
    pub(crate) epolls: HashMap<Key, Epoll>,
    pub(crate) pipes: HashMap<Key, Pipe>,
    /// Whose a connection is. One that was closed is nobody's.
    pub(crate) owners: HashMap<ConnId, Key>,
    /// Who listens, or is bound, under a service number of the stack.
    pub(crate) services: HashMap<u16, Key>,
    pub(crate) shaper: Shaper,
    /// Packets for the tool, in its order.
    ready: VecDeque<Sent>,
    next_key: Key,
    pub(crate) next_port: u16,
}

impl World {
    pub(crate) fn new(flags: Flags) -> Anyhow<Self> {
        let host = Host::new(&flags)?;
        Ok(Self {
            flags,
            host,
            files: HashMap::new(),
            sockets: HashMap::new(),
            epolls: HashMap::new(),
            pipes: HashMap::new(),
            owners: HashMap::new(),
            services: HashMap::new(),
            shaper: Shaper::default(),
            ready: VecDeque::new(),
            next_key: 1,
            next_port: 0,
        })
    }

    // ---- descriptors ----

    pub(crate) fn new_key(&mut self) -> Key {
        self.next_key += 1;
        self.next_key
    }

    /// A descriptor for `object`.
    pub(crate) fn open_fd(&mut self, object: Object) -> Result<i32> {
        let reserved = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Errno(errno.raw_os_error()))?;
        let fd = reserved.as_raw_fd();
        // The tool may have closed a descriptor by itself, so that its number comes again: whatever was there is gone,
        // and closing it once more would close the new one.
        if let Some(stale) = self.files.insert(fd, File { object, reserved }) {
            let _ = stale.reserved.into_raw_fd();
            self.release(stale.object);
        }
        Ok(fd)
    }

    pub(crate) fn object(&self, fd: i32) -> Result<Object> {
        self.files.get(&fd).map(|file| file.object).ok_or(Errno(libc::EBADF))
    }

    pub(crate) fn socket_key(&self, fd: i32) -> Result<Key> {
        match self.object(fd)? {
            Object::Socket(key) => Ok(key),
            _ => fail(libc::ENOTSOCK),
        }
    }

    pub(crate) fn socket(&mut self, key: Key) -> Result<&mut Socket> {
        self.sockets.get_mut(&key).ok_or(Errno(libc::EBADF))
    }

    /// Takes a descriptor out of the table and closes it; what it stood for is the caller's to end.
    pub(crate) fn close_fd(&mut self, fd: i32) -> Result<Object> {
        let File { object, reserved } = self.files.remove(&fd).ok_or(Errno(libc::EBADF))?;
        drop(reserved);
        for epoll in self.epolls.values_mut() {
            epoll.forget(fd);
        }
        Ok(object)
    }

    /// Forgets all descriptors without closing them: the tool has done so, and their numbers may be others' by now.
    pub(crate) fn forget_files(&mut self) {
        for (_, file) in self.files.drain() {
            let _ = file.reserved.into_raw_fd();
        }
    }

    // ---- time ----

    /// When something happens by itself.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let held = self.sockets.values().filter_map(|socket| socket.held_until);
        self.host.next_deadline().into_iter().chain(held).min()
    }

    /// Runs the stack at the present time, and carries its events to the sockets, until both rest.
    pub(crate) fn run(&mut self) {
        self.release_held_back();
        loop {
            self.run_stack();
            if let Some(event) = self.host.take_event() {
                self.on_event(event);
            } else if !self.advance_records() {
                break;
            }
        }
        self.tell_writes();
        self.count_time();
    }

    fn run_stack(&mut self) {
        self.host.run();
        let mut batch = self.host.drain_sent();
        while let Some(next) = batch.front() {
            let flow = ends(&next.packet);
            self.bound(flow);
            let parts = self.shaper.take(&mut batch, self.flags.offload, flow);
            self.ready.extend(parts);
        }
    }

    /// What a connection hands down at once (`tcp_tso_autosize`): what it sends in a millisecond, and more the nearer the
    /// peer is, two segments at least; half of what may be in flight, and of the largest window offered, at most.
    fn bound(&mut self, flow: Option<Flow>) {
        let Some((local, remote)) = flow else { return };
        let is_it = |socket: &&mut Socket| socket.local == Some(local) && socket.peer == Some(remote);
        let Some(socket) = self.sockets.values_mut().find(is_it) else { return };
        let info = socket.conn().and_then(|id| self.host.conn(id)).and_then(|conn| conn.info());
        let Some(info) = info else { return };
        socket.window_max = socket.window_max.max(info.snd_wnd);
        let mss = u32::from(info.mss).max(1);
        let rtt = info.srtt.map_or(0, freeway::Duration::as_micros).max(1);
        let rate = 2 * u64::from(info.cwnd) * 1_000_000 / rtt;
        let near = u32::try_from(rtt >> 9).ok().and_then(|shift| LARGEST.checked_shr(shift)).unwrap_or(0);
        let fair = (((rate >> 10) + near).min(LARGEST) / u64::from(mss)) as u32;
        let segments = fair
            .max(self.flags.offload_least)
            .min(info.cwnd / mss / 2)
            .min(socket.window_max / 2 / mss)
            .max(1);
        self.shaper.set_bound((local, remote), segments as usize);
    }

    pub(crate) fn has_sent(&self) -> bool {
        !self.ready.is_empty()
    }

    fn release_held_back(&mut self) {
        let now = self.host.now();
        let due = |socket: &Socket| socket.held_until.is_some_and(|until| until <= now);
        let keys: Vec<Key> =
            self.sockets.iter().filter(|(_, socket)| due(socket)).map(|(&key, _)| key).collect();
        for key in keys {
            self.give_up_holding(key);
        }
    }

    // ---- packets ----

    /// A packet of the script's peer.
    pub(crate) fn inject(&mut self, packet: &[u8]) {
        if let Some(dst) = destination(packet) {
            self.host.adopt(dst);
        }
        let report = icmp::report(packet);
        let before = report.and_then(|report| self.segment(&report));
        if let Some(report) = report {
            self.note_report(&report);
        }
        self.host.inject(packet);
        self.run();
        if let Some(report) = report {
            self.note_path(&report, before);
            self.fail_open(&report);
        }
    }

    fn socket_of(&self, report: &icmp::Report) -> Option<Key> {
        let kind = match report.protocol {
            Protocol::TCP => Kind::Stream,
            Protocol::UDP => Kind::Datagram,
            _ => return None,
        };
        let is_it = |socket: &Socket| {
            socket.kind == kind
                && socket.peer == Some(report.remote)
                && socket.local.is_some_and(|local| local.port() == report.local.port())
        };
        self.sockets.iter().find(|(_, socket)| is_it(socket)).map(|(&key, _)| key)
    }

    /// The payload of a full segment on the connection that is reported of, and whether it carries timestamps.
    fn segment(&mut self, report: &icmp::Report) -> Option<(u16, bool)> {
        let id = self.sockets.get(&self.socket_of(report)?)?.conn()?;
        let info = self.host.conn(id)?.info()?;
        Some((info.mss, info.timestamps))
    }

    /// Segments that became smaller say that the stack believes in a narrower path.
    fn note_path(&mut self, report: &icmp::Report, before: Option<(u16, bool)>) {
        let (Some((before, _)), Some((mss, stamps))) = (before, self.segment(report)) else { return };
        let headers = if report.remote.is_ipv4() { 20 + 20 } else { 40 + 20 };
        let options = if stamps { 12 } else { 0 };
        let Some(socket) = self.socket_of(report).and_then(|key| self.sockets.get_mut(&key)) else { return };
        if report.too_big && mss < before {
            socket.path_mtu = Some(mss + headers + options);
        }
    }

    fn note_report(&mut self, report: &icmp::Report) {
        let Some(key) = self.socket_of(report) else { return };
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        if report.too_big {
            return;
        }
        socket.soft_error = Some(report.errno);
        let is_hard = matches!(report.errno.0, libc::ECONNREFUSED | libc::ENOPROTOOPT);
        if socket.kind == Kind::Datagram && is_hard {
            socket.error = Some(report.errno);
            socket.wakes.state += 1;
        }
    }

    /// Linux gives up an open for any report that the peer cannot be reached, which RFC 9293 (MUST-56) leaves to the
    /// user of a connection: here this socket is.
    fn fail_open(&mut self, report: &icmp::Report) {
        let Some(key) = self.socket_of(report).filter(|_| !report.too_big) else { return };
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        let State::Connecting(id) = socket.state else { return };
        socket.error = Some(report.errno);
        if let Some(mut conn) = self.host.conn(id) {
            conn.abort();
        }
        self.run();
    }

    /// The next packet that the stack has sent, with what its socket puts into IP headers.
    pub(crate) fn take_sent(&mut self) -> Option<(Instant, Vec<u8>)> {
        let mut sent = self.ready.pop_front()?;
        if let Some(marking) = self.marking_of(&sent.packet) {
            marking.apply(&mut sent.packet);
        }
        Some((sent.at, sent.packet))
    }

    fn marking_of(&self, packet: &[u8]) -> Option<Marking> {
        let default = Marking::default();
        if self.sockets.values().all(|socket| socket.settings.marking == default) {
            return None;
        }
        let (local, remote) = ends(packet)?;
        let own = |socket: &&Socket| socket.local.is_some_and(|own| own.port() == local.port());
        let mut found = self.sockets.values().filter(own);
        // A connection's own socket goes before its listener, which marks what no socket has answered yet.
        let exact = found.clone().find(|socket| socket.peer == Some(remote));
        exact.or_else(|| found.find(|socket| socket.peer.is_none())).map(|socket| socket.settings.marking)
    }

    // ---- events ----

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Accepted { id, service, local, peer } => self.on_accepted(id, service, (local, peer)),
            Event::Connected { id } => {
                let left = self.host.conn(id).map_or(0, |conn| conn.unacknowledged_bytes());
                if let Some(socket) = self.owner(id) {
                    socket.state = State::Open(id);
                    socket.syn_had_data = (left as u64) < socket.written;
                    socket.soft_error = None;
                    socket.wakes.state += 1;
                }
            }
            Event::Readable { id, bytes, finished } => self.on_readable(id, &bytes, finished),
            Event::Writable { id } => self.on_writable(id),
            Event::Closed { id, reason } => self.on_closed(id, reason),
            Event::Datagram { service, remote, bytes } => {
                let key = self.services.get(&service).copied();
                let Some(socket) = key.and_then(|key| self.sockets.get_mut(&key)) else { return };
                let from_other = socket.peer.is_some_and(|peer| peer != remote);
                if !from_other && socket.speaks(remote.ip()) && socket.datagrams.len() < DATAGRAMS_MAX {
                    socket.datagrams.push_back(Arrived { from: remote, bytes });
                    socket.wakes.input += 1;
                }
            }
        }
    }

    fn owner(&mut self, id: ConnId) -> Option<&mut Socket> {
        let key = self.owners.get(&id)?;
        self.sockets.get_mut(key)
    }

    fn on_writable(&mut self, id: ConnId) {
        let Some(&key) = self.owners.get(&id) else { return };
        let enough = self.is_writable(key);
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        if socket.wants_room && enough {
            socket.wants_room = false;
            socket.wakes.output += 1;
        } else if socket.wants_room {
            self.want_room(key);
        }
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        // What MSG_MORE held back follows the next acknowledgment.
        if !socket.held_back.is_empty() {
            self.flush_held_back(key);
        }
    }

    fn on_accepted(&mut self, id: ConnId, service: u16, (local, peer): (SocketAddr, SocketAddr)) {
        let listener = self.services.get(&service).copied();
        let known = listener.and_then(|key| Some((key, self.sockets.get(&key)?)));
        let Some((listener, socket)) = known.filter(|(_, socket)| socket.speaks(peer.ip())) else {
            if let Some(mut conn) = self.host.conn(id) {
                conn.abort();
            }
            return;
        };
        let mut child = socket.child(id, local, peer, &self.flags);
        let info = self.host.conn(id).and_then(|conn| conn.info());
        // Before the handshake is over only Fast Open has a connection to offer.
        child.syn_had_data =
            info.is_some_and(|info| info.state == freeway_tcp::State::SynReceived && info.unread > 0);
        let defer = child.settings.defer_accept;
        child.deferred_for = defer.then_some(listener);
        let key = self.new_key();
        self.sockets.insert(key, child);
        self.owners.insert(id, key);
        if !defer {
            self.enqueue(listener, key);
        }
    }

    /// Puts a connection where its listener accepts it.
    fn enqueue(&mut self, listener: Key, key: Key) {
        if let Some(Socket { state: State::Listening { queue, .. }, wakes, .. }) =
            self.sockets.get_mut(&listener)
        {
            queue.push_back(key);
            wakes.input += 1;
        }
    }

    fn on_readable(&mut self, id: ConnId, bytes: &[u8], finished: bool) {
        let Some(&key) = self.owners.get(&id) else { return };
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        socket.unread.extend(bytes);
        if !bytes.is_empty() {
            socket.wakes.input += 1;
        }
        if finished && !socket.peer_finished {
            socket.peer_finished = true;
            socket.wakes.state += 1;
        }
        if let Some(listener) = socket.deferred_for.take() {
            self.enqueue(listener, key);
        }
    }

    fn on_closed(&mut self, id: ConnId, reason: CloseReason) {
        let Some(key) = self.owners.remove(&id) else { return };
        let Some(socket) = self.sockets.get_mut(&key) else { return };
        let (path, opening) = (socket.soft_error.take(), matches!(socket.state, State::Connecting(_)));
        let error = match reason {
            CloseReason::Finished | CloseReason::Aborted => None,
            CloseReason::Reset if opening => Some(Errno(libc::ECONNREFUSED)),
            // The peer had finished already: to this side the reset says that nobody listens.
            CloseReason::Reset if socket.peer_finished && !socket.shut_write => Some(Errno::PIPE),
            CloseReason::Reset => Some(Errno(libc::ECONNRESET)),
            // Fast Open: it was accepted before the handshake was over.
            CloseReason::Refused if !opening => Some(Errno(libc::ECONNRESET)),
            CloseReason::Refused => path.or(Some(Errno(libc::ECONNREFUSED))),
            CloseReason::TimedOut => path.or(Some(Errno(libc::ETIMEDOUT))),
        };
        socket.error = error.or(socket.error);
        socket.state = State::Ended;
        socket.held_back.clear();
        socket.held_until = None;
        socket.wakes.state += 1;
        if let Some(listener) = socket.deferred_for.take() {
            self.enqueue(listener, key);
        }
    }

    /// The connections of a listener's queue.
    pub(crate) fn take_queue(&mut self, key: Key) -> VecDeque<Key> {
        match self.sockets.get_mut(&key).map(|socket| &mut socket.state) {
            Some(State::Listening { queue, .. }) => std::mem::take(queue),
            _ => VecDeque::new(),
        }
    }
}

impl Marking {
    /// Writes it into a packet.
    fn apply(self, packet: &mut [u8]) {
        let Self { class, hops, may_fragment } = self;
        match packet.first().map(|byte| byte >> 4) {
            Some(4) => {
                let mut view = ipv4::Packet::new_unchecked(packet);
                if let Some(class) = class {
                    let ecn = view.ecn();
                    view.set_traffic_class(class >> 2, ecn);
                }
                if let Some(hops) = hops {
                    view.set_ttl(hops);
                }
                if may_fragment == Some(true) && !view.is_fragment() {
                    view.set_fragment(false, false, 0);
                }
                view.fill_checksum();
            }
            Some(6) => {
                let mut view = ipv6::Packet::new_unchecked(packet);
                if let Some(class) = class {
                    let (ecn, label) = (view.ecn(), view.flow_label());
                    view.set_first_word(class >> 2, ecn, label);
                }
                if let Some(hops) = hops {
                    view.set_hop_limit(hops);
                }
            }
            _ => {}
        }
    }
}

fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => ipv4::Packet::new_checked(packet).ok().map(|view| view.dst().into()),
        6 => ipv6::Packet::new_checked(packet).ok().map(|view| view.dst().into()),
        _ => None,
    }
}

/// The two ends of a packet that the stack has sent.
fn ends(packet: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (protocol, src, dst, payload): (_, IpAddr, IpAddr, _) = match packet.first()? >> 4 {
        4 => {
            let view = ipv4::Packet::new_checked(packet).ok()?;
            let payload = packet.get(view.header_len()..)?;
            (view.protocol(), view.src().into(), view.dst().into(), payload)
        }
        6 => {
            let view = ipv6::Packet::new_checked(packet).ok()?;
            (view.next_header(), view.src().into(), view.dst().into(), packet.get(ipv6::HEADER_LEN..)?)
        }
        _ => return None,
    };
    let (from, to) = match protocol {
        Protocol::TCP => {
            let view = tcp::Segment::new_checked(payload).ok()?;
            (view.src_port(), view.dst_port())
        }
        Protocol::UDP => {
            let view = udp::Datagram::new_checked(payload).ok()?;
            (view.src_port(), view.dst_port())
        }
        _ => return None,
    };
    Some((SocketAddr::new(src, from), SocketAddr::new(dst, to)))
}
