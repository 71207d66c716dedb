//! The thread that keeps connections: it listens, dials, shakes hands, notices deaths, and tries again.
//!
//! It owns every socket. A connection that is complete is cut into a link for each queue, which the ports take; one that
//! ends is taken from them in the same way (see [`shared`](crate::shared)). It never waits for a peer or a port: sockets
//! do not block, handshakes have a deadline, and there are only so many at once.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::config::{Config, Role};
use crate::link::{Buffers, Channel, Layout, QueueLink};
use crate::message::{AddRing, Hello, Init, Message, Text, VERSION};
use crate::reason::Reason;
use crate::region::Regions;
use crate::ring::Ring;
use crate::session::{ClientSession, ClientStep, Offer, RingOffer, ServerSession, ServerStep, Terms};
use crate::shared::{Bell, LinkStatus, PoolOffer, Queue};
use crate::socket::{self, Listener};

/// Handshakes at once on all sockets; the oldest goes when one more begins.
const HANDSHAKES_MAX: usize = 32;
/// Messages of one connection that are dealt with before the others have their turn.
const MESSAGES_A_TURN: usize = 16;
/// The longest sleep. Everything rings the bell; this is for what might have been forgotten.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What ports keep of the thread. The last one ends it.
#[derive(Debug)]
pub(crate) struct Handle {
    common: Arc<Common>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Common {
    bell: Bell,
    stops: AtomicBool,
}

impl Handle {
    pub(crate) fn wake(&self) {
        self.common.bell.ring();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.common.stops.store(true, Ordering::Release);
        self.wake();
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It waits for nobody, so it ends soon. If it panicked there is nothing to be done about it here.
            let _ = thread.join();
        }
    }
}

/// One interface and its connection.
#[derive(Debug)]
pub(crate) struct Interface {
    pub(crate) config: Config,
    pub(crate) queues: Vec<Arc<Queue>>,
    pub(crate) status: Arc<LinkStatus>,
    /// The connection that is complete, or a client's that is under way.
    connection: Option<u64>,
    /// When a client tries again.
    dial_at: Instant,
}

impl Interface {
    pub(crate) fn new(config: Config) -> io::Result<Self> {
        let queues = (0..config.queues).map(|_| Queue::new().map(Arc::new)).collect::<io::Result<_>>()?;
        let status = Arc::new(LinkStatus::new());
        Ok(Self { config, queues, status, connection: None, dial_at: Instant::now() })
    }

    fn terms(&self) -> Terms {
        Terms {
            id: self.config.id,
            secret: Text::new(&self.config.secret),
            queues: self.config.queues,
            ring_log2_max: self.config.ring_log2,
            region_bytes_max: self.config.region_bytes_max,
            is_busy: self.connection.is_some(),
        }
    }

    /// Gives each queue its link.
    fn publish(&self, links: Vec<QueueLink>) {
        let mut links = links.into_iter();
        for queue in &self.queues {
            queue.change(links.next());
        }
    }
}

/// A socket that servers share.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) listener: Listener,
    /// Indices of the interfaces behind it.
    pub(crate) interfaces: Vec<usize>,
}

#[derive(Debug)]
enum Stage {
    /// A client that has come to this port.
    Server { port: usize, session: ServerSession<OwnedFd> },
    /// This end has dialled. The links are made when the server has said its limits.
    Client { session: ClientSession<OwnedFd>, links: Vec<QueueLink>, peer: Text<32> },
    /// Frames flow.
    Up,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    stage: Stage,
    /// For the handshake.
    deadline: Instant,
    interface: Option<usize>,
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Control {
    common: Arc<Common>,
    interfaces: Vec<Interface>,
    ports: Vec<Port>,
    connections: BTreeMap<u64, Connection>,
    next_key: u64,
}

impl Control {
    /// Starts the thread.
    pub(crate) fn start(interfaces: Vec<Interface>, ports: Vec<Port>) -> io::Result<Arc<Handle>> {
        let common = Arc::new(Common { bell: Bell::new()?, stops: AtomicBool::new(false) });
        let control = Self {
            common: Arc::clone(&common),
            interfaces,
            ports,
            connections: BTreeMap::new(),
            next_key: 0,
        };
        let thread = std::thread::Builder::new().name("memif".into()).spawn(move || control.run())?;
        Ok(Arc::new(Handle { common, thread: Mutex::new(Some(thread)) }))
    }

    fn run(mut self) {
        while !self.common.stops.load(Ordering::Acquire) {
            self.common.bell.hush();
            self.hear_ports();
            let now = Instant::now();
            self.expire(now);
            self.dial(now);
            self.wait(now);
        }
        let keys: Vec<_> = self.connections.keys().copied().collect();
        for key in keys {
            self.end(key, Reason::Closed);
        }
    }

    /// Closes what ports have handed back, and ends connections whose peer broke a rule.
    fn hear_ports(&mut self) {
        let mut accused = Vec::new();
        for interface in &self.interfaces {
            for queue in &interface.queues {
                let returned: Vec<_> = queue.slot().returned.drain(..).collect();
                drop(returned);
                if let (Some(reason), Some(key)) = (queue.take_fault(), interface.connection) {
                    accused.push((key, reason));
                }
            }
        }
        for (key, reason) in accused {
            self.end(key, reason);
        }
    }

    fn expire(&mut self, now: Instant) {
        let is_late =
            |connection: &Connection| !matches!(connection.stage, Stage::Up) && connection.deadline <= now;
        let late: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| is_late(connection))
            .map(|(&key, _)| key)
            .collect();
        for key in late {
            self.end(key, Reason::TimedOut);
        }
    }

    /// Dials for clients that have no server, if it is time and their pools are known.
    fn dial(&mut self, now: Instant) {
        for index in 0..self.interfaces.len() {
            let Some(interface) = self.interfaces.get_mut(index) else { continue };
            let is_idle = interface.config.role == Role::Client && interface.connection.is_none();
            if !is_idle || interface.dial_at > now || !knows_pools(interface) {
                continue;
            }
            interface.dial_at = now + interface.config.patience.reconnect;
            let deadline = now + interface.config.patience.handshake;
            let Ok(socket) = socket::dial(&interface.config.socket) else { continue };
            let stage =
                Stage::Client { session: ClientSession::default(), links: Vec::new(), peer: Text::ZERO };
            interface.connection = Some(self.next_key);
            self.add(Connection { socket, stage, deadline, interface: Some(index) });
        }
    }

    fn add(&mut self, connection: Connection) {
        self.connections.insert(self.next_key, connection);
        self.next_key += 1;
        let is_under_way = |connection: &Connection| !matches!(connection.stage, Stage::Up);
        let mut under_way = self.connections.iter().filter(|(_, connection)| is_under_way(connection));
        let oldest = under_way.next().map(|(&key, _)| key);
        if let Some(oldest) = oldest.filter(|_| under_way.count() >= HANDSHAKES_MAX) {
            self.end(oldest, Reason::TooMany);
        }
    }

    /// Sleeps until something happens, and deals with it.
    fn wait(&mut self, now: Instant) {
        let mut until = now + SLEEP_MAX;
        for connection in self.connections.values().filter(|c| !matches!(c.stage, Stage::Up)) {
            until = until.min(connection.deadline);
        }
        for interface in &self.interfaces {
            if interface.config.role == Role::Client
                && interface.connection.is_none()
                && knows_pools(interface)
            {
                until = until.min(interface.dial_at);
            }
        }
        let span = until.saturating_duration_since(now);
        let timeout = Timespec { tv_sec: span.as_secs() as i64, tv_nsec: i64::from(span.subsec_nanos()) };
        let keys: Vec<u64> = self.connections.keys().copied().collect();
        let mut sources = vec![PollFd::new(self.common.bell.fd(), PollFlags::IN)];
        sources.extend(self.ports.iter().map(|port| PollFd::new(&port.listener.socket, PollFlags::IN)));
        sources.extend(
            self.connections.values().map(|connection| PollFd::new(&connection.socket, PollFlags::IN)),
        );
        if poll(&mut sources, Some(&timeout)).is_err() {
            return;
        }
        let mut ready = sources.iter().skip(1).map(|source| !source.revents().is_empty());
        let listening: Vec<bool> = ready.by_ref().take(self.ports.len()).collect();
        let speaking: Vec<u64> =
            keys.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(key, _)| key).collect();
        drop(sources);
        for key in speaking {
            self.listen_to(key);
        }
        for (port, _) in listening.into_iter().enumerate().filter(|(_, ready)| *ready) {
            self.accept(port);
        }
    }

    fn accept(&mut self, index: usize) {
        let Some(port) = self.ports.get(index) else { return };
        let Some(socket) = port.listener.accept() else { return };
        let first = port.interfaces.first().and_then(|&interface| self.interfaces.get(interface));
        let Some(first) = first else { return };
        let hello = ServerSession::<OwnedFd>::hello(Text::new(&first.config.name), &self.terms(port));
        if socket::send(&socket, &hello, None).is_ok() {
            let stage = Stage::Server { port: index, session: ServerSession::default() };
            let deadline = Instant::now() + first.config.patience.handshake;
            self.add(Connection { socket, stage, deadline, interface: None });
        }
    }

    fn terms(&self, port: &Port) -> Vec<Terms> {
        port.interfaces.iter().filter_map(|&index| self.interfaces.get(index)).map(Interface::terms).collect()
    }

    /// Deals with what a peer says.
    fn listen_to(&mut self, key: u64) {
        for _ in 0..MESSAGES_A_TURN {
            let Some(connection) = self.connections.get(&key) else { return };
            let heard = match socket::receive(&connection.socket) {
                Ok(None) => return,
                Ok(Some((message, file))) => self.handle(key, &message, file),
                Err(reason) => Err(reason),
            };
            if let Err(reason) = heard {
                self.end(key, reason);
                return;
            }
        }
    }

    fn handle(&mut self, key: u64, message: &Message, file: Option<OwnedFd>) -> Result<(), Reason> {
        let Some(mut connection) = self.connections.remove(&key) else { return Ok(()) };
        let handled = match &mut connection.stage {
            Stage::Up if matches!(message, Message::Disconnect { .. }) => Err(Reason::PeerDisconnected),
            Stage::Up => Err(Reason::OutOfOrder),
            Stage::Server { .. } => self.handle_as_server(key, &mut connection, message, file),
            Stage::Client { .. } => self.handle_as_client(&mut connection, message),
        };
        self.connections.insert(key, connection);
        handled
    }

    fn handle_as_server(
        &mut self,
        key: u64,
        connection: &mut Connection,
        message: &Message,
        file: Option<OwnedFd>,
    ) -> Result<(), Reason> {
        let Stage::Server { port, session } = &mut connection.stage else { return Ok(()) };
        let Some(port) = self.ports.get(*port) else { return Err(Reason::Closed) };
        let step = session.handle(message, file, &self.terms(port));
        let index = session.interface().and_then(|own| port.interfaces.get(own)).copied();
        connection.interface = index;
        match step? {
            ServerStep::Reply(reply) => socket::send(&connection.socket, &reply, None),
            ServerStep::Ready(offer) => {
                let index = index.ok_or(Reason::UnknownId)?;
                let interface = self.interfaces.get_mut(index).ok_or(Reason::UnknownId)?;
                // Another client may have been faster.
                if interface.connection.is_some() {
                    return Err(Reason::Busy);
                }
                let peer = format!("{}/{}", offer.peer[0], offer.peer[1]);
                let links = links_of_peer(offer, &interface.config)?;
                let name = Text::new(&interface.config.name);
                socket::send(&connection.socket, &Message::Connected { name }, None)?;
                interface.connection = Some(key);
                interface.publish(links);
                interface.status.set_up(peer);
                connection.stage = Stage::Up;
                Ok(())
            }
        }
    }

    fn handle_as_client(&mut self, connection: &mut Connection, message: &Message) -> Result<(), Reason> {
        let Stage::Client { session, links, peer } = &mut connection.stage else { return Ok(()) };
        let interface = connection.interface.and_then(|index| self.interfaces.get(index));
        let Some(interface) = interface else { return Err(Reason::Closed) };
        let step = session.handle(message, |hello| {
            let (made, script) = links_of_own(interface, hello)?;
            *links = made;
            *peer = hello.name;
            Ok(script)
        })?;
        match step {
            ClientStep::Send(message, file) => socket::send(&connection.socket, &message, file.as_ref()),
            ClientStep::Connected(name) => {
                interface.publish(std::mem::take(links));
                interface.status.set_up(format!("{peer}/{name}"));
                connection.stage = Stage::Up;
                Ok(())
            }
        }
    }

    /// Ends a connection: says why, counts it, and takes it from the ports.
    fn end(&mut self, key: u64, reason: Reason) {
        let Some(connection) = self.connections.remove(&key) else { return };
        let stranger = || match &connection.stage {
            Stage::Server { port, .. } => {
                self.ports.get(*port).and_then(|port| port.interfaces.first()).copied()
            }
            _ => None,
        };
        let index = connection.interface.or_else(stranger);
        let Some(interface) = index.and_then(|index| self.interfaces.get_mut(index)) else { return };
        interface.status.note_end(reason);
        if !matches!(reason, Reason::PeerGone | Reason::PeerDisconnected) {
            let goodbye = Message::Disconnect { code: reason as u32, reason: Text::new(reason.text()) };
            // It is a courtesy: a peer that cannot be told will notice.
            let _ = socket::send(&connection.socket, &goodbye, None);
        }
        if interface.connection != Some(key) {
            return;
        }
        interface.connection = None;
        interface.dial_at = Instant::now() + interface.config.patience.reconnect;
        if matches!(connection.stage, Stage::Up) {
            interface.status.set_down();
            interface.publish(Vec::new());
        }
    }
}

/// Whether all queues of a client have said what their pools are, if that matters.
fn knows_pools(interface: &Interface) -> bool {
    interface.config.trust == crate::config::Trust::None
        || interface.queues.iter().all(|queue| !matches!(queue.slot().pool, PoolOffer::Unknown))
}

/// A server's links: the client's rings, where they are said to be.
fn links_of_peer(offer: Offer<OwnedFd>, config: &Config) -> Result<Vec<QueueLink>, Reason> {
    let Offer { regions, to_server, to_client, peer: _ } = offer;
    let regions = Arc::new(Regions::map(&regions, config.trust)?);
    let channel = |ring: Option<RingOffer<OwnedFd>>| {
        let Some(RingOffer { place, interrupt }) = ring else { return Ok(None) };
        let ring = Ring::over(&regions, place.region, place.offset, place.log2_size)?;
        ring.check_cookie()?;
        socket::check_eventfd(&interrupt)?;
        Ok(Some(Channel { ring, interrupt }))
    };
    let (mut to_server, mut to_client) = (to_server.into_iter(), to_client.into_iter());
    (0..config.queues)
        .map(|_| {
            Ok(QueueLink {
                rx: channel(to_server.next().flatten())?,
                tx: channel(to_client.next().flatten())?,
                buffers: Buffers::Peer,
            })
        })
        .collect()
}

/// What a client says after HELLO, each with the file that goes along.
type Script = Vec<(Message, Option<OwnedFd>)>;

/// A client's links, with memory made for them, and what to say of it.
fn links_of_own(interface: &Interface, hello: &Hello) -> Result<(Vec<QueueLink>, Script), Reason> {
    let config = &interface.config;
    let queues =
        config.queues.min(usize::from(hello.to_server_max) + 1).min(usize::from(hello.to_client_max) + 1);
    let log2_size = config.ring_log2.min(hello.ring_log2_max);
    if log2_size == 0 {
        return Err(Reason::RingSize);
    }
    let mut regions: Script = Vec::new();
    // The first region is that of the rings; the pools follow.
    let mut lent = vec![None; queues];
    for (queue, lent) in interface.queues.iter().zip(&mut lent) {
        if let PoolOffer::Shared(file, bytes) = &queue.slot().pool {
            let index = regions.len() as u16 + 1;
            if index > hello.region_max {
                return Err(Reason::TooFewRegions);
            }
            let file = file.try_clone().map_err(|_| Reason::NoResources)?;
            regions.push((Message::AddRegion { index, size: *bytes as u64 }, Some(file)));
            *lent = Some(index);
        }
    }
    let layout = Layout::new(queues, log2_size, config.buffer_size, |queue| {
        lent.get(queue).is_some_and(Option::is_none)
    })
    .ok_or(Reason::NoResources)?;
    let (memory, file) = Regions::create(layout.bytes()).map_err(|_| Reason::NoResources)?;
    let memory = Arc::new(memory);
    let mut script = vec![
        (
            Message::Init(Init {
                version: VERSION,
                id: config.id,
                mode: 0,
                secret: Text::new(&config.secret),
                name: Text::new(concat!("freeway ", env!("CARGO_PKG_VERSION"))),
            }),
            None,
        ),
        (Message::AddRegion { index: 0, size: layout.bytes() as u64 }, Some(file)),
    ];
    script.append(&mut regions);
    let channel = |to_server: bool, queue: usize| -> Result<(Channel, (Message, Option<OwnedFd>)), Reason> {
        let offset = layout.ring_at(to_server, queue);
        let ring = Ring::over(&memory, 0, offset, log2_size)?;
        ring.lay_out();
        let interrupt =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|_| Reason::NoResources)?;
        let theirs = interrupt.try_clone().map_err(|_| Reason::NoResources)?;
        let place =
            AddRing { to_server, index: queue as u16, region: 0, offset, log2_size, private_header: 0 };
        Ok((Channel { ring, interrupt }, (Message::AddRing(place), Some(theirs))))
    };
    let mut links = Vec::new();
    let mut to_client = Vec::new();
    for queue in 0..queues {
        let (tx, announcement) = channel(true, queue)?;
        script.push(announcement);
        let (rx, announcement) = channel(false, queue)?;
        to_client.push(announcement);
        let buffers = match lent.get(queue).copied().flatten() {
            Some(region) => Buffers::Lent { region },
            None => layout.buffers(queue).ok_or(Reason::NoResources)?,
        };
        links.push(QueueLink { rx: Some(rx), tx: Some(tx), buffers });
    }
    script.append(&mut to_client);
    script.push((Message::Connect { name: Text::new(&config.name) }, None));
    Ok((links, script))
}
