//! A cache server and a client that says what a test tells it, joined by a pipe, on a clock moved by hand.
#![allow(dead_code, clippy::unwrap_used, clippy::needless_pass_by_value)]

use std::collections::VecDeque;
use std::sync::Arc;

use freeway::port::{Fault, FaultConfig, PipeConfig, Port, SharedClock, pipe};
use freeway::{
    Application, Conn, ConnId, ConnectConfig, Core, Datagram, Duration, Ended, HashKey, HostConfig, Instant,
    Interface, ListenConfig, MailConfig, Mailboxes, Memory, Post, PostConfig, Secrets, Seed, Stack, UdpId,
    mesh, remote,
};
use freeway_cache::store::Place;
use freeway_cache::{CacheConfig, CacheServer, CacheState, StoreConfig};

/// The cache as an application of its own.
pub struct App {
    pub cache: CacheServer,
}

impl Application for App {
    type Conn = CacheState;

    fn start(&mut self, stack: &mut Stack<CacheState>, _now: Instant) {
        stack.listen(&ListenConfig::new(11_211)).unwrap();
        stack.udp_bind(None, 11_211, 0).unwrap();
    }

    fn turn(&mut self, stack: &mut Stack<CacheState>, now: Instant) {
        self.cache.turn(stack, now, |state| state);
    }

    fn mail(&mut self, stack: &mut Stack<CacheState>, now: Instant) -> usize {
        self.cache.mail(stack, now, |state| state)
    }

    fn has_mail(&mut self) -> bool {
        self.cache.has_mail()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.cache.next_deadline()
    }

    fn accepted(&mut self, mut conn: Conn<'_, CacheState>) {
        self.cache.accepted(&mut conn, |state| state);
    }

    fn readable(&mut self, mut conn: Conn<'_, CacheState>) {
        self.cache.readable(&mut conn, |state| state);
    }

    fn writable(&mut self, mut conn: Conn<'_, CacheState>) {
        self.cache.pump(&mut conn, |state| state);
    }

    fn timer(&mut self, mut conn: Conn<'_, CacheState>) {
        self.cache.timer(&mut conn);
    }

    fn closed(&mut self, _stack: &mut Stack<CacheState>, ended: Ended<CacheState>) {
        self.cache.closed(ended.state);
    }

    fn datagram(&mut self, stack: &mut Stack<CacheState>, datagram: Datagram) {
        self.cache.datagram(stack, datagram);
    }
}

/// One of the client's connections, and what it says and hears.
#[derive(Default)]
pub struct Line {
    id: Option<ConnId>,
    pub to_say: VecDeque<u8>,
    pub heard: Vec<u8>,
    /// Whether it reads what arrives.
    pub listens: bool,
    pub over: bool,
}

/// Says bytes on several connections and hears the answers.
pub struct Client {
    pub lines: Vec<Line>,
    pub datagrams: Vec<Vec<u8>>,
    udp: Option<UdpId>,
}

impl Client {
    fn say(conn: &mut Conn<'_, u32>, line: &mut Line) {
        let written = conn.write(line.to_say.make_contiguous());
        line.to_say.drain(..written);
    }
}

impl Application for Client {
    type Conn = u32;

    fn start(&mut self, stack: &mut Stack<u32>, _now: Instant) {
        self.udp = Some(stack.udp_bind(None, 40_000, 0).unwrap());
        for line in &mut self.lines {
            line.id = Some(stack.connect(&ConnectConfig::new("198.18.0.2:11211".parse().unwrap())).unwrap());
        }
    }

    fn turn(&mut self, stack: &mut Stack<u32>, _now: Instant) {
        for line in &mut self.lines {
            let Some(mut conn) = line.id.and_then(|id| stack.conn(id)) else { continue };
            if !line.to_say.is_empty() && conn.send_room() > 0 {
                Self::say(&mut conn, line);
            }
            if line.listens {
                while !conn.peek().is_empty() {
                    line.heard.extend_from_slice(conn.peek());
                    conn.consume(conn.peek().len());
                }
            }
            if conn.at_end() {
                conn.close();
            }
        }
    }

    fn closed(&mut self, _stack: &mut Stack<u32>, ended: Ended<u32>) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.id == Some(ended.id)) {
            line.over = true;
        }
    }

    fn datagram(&mut self, _stack: &mut Stack<u32>, datagram: Datagram) {
        self.datagrams.push(datagram.packet.data().to_vec());
    }
}

/// Both, and the time.
pub struct Lab {
    clock: SharedClock,
    pub server: Core<App>,
    /// The server's other cores, which send and receive by way of the first.
    pub others: Vec<Core<App>>,
    pub client: Core<Client>,
    pub now: Instant,
}

pub fn config(memory: usize) -> CacheConfig {
    let store = StoreConfig {
        memory,
        item_bytes: 64,
        item_max: memory / 2,
        place: Place::Heap,
        ..StoreConfig::default()
    };
    CacheConfig { store, unix_time: 1_700_000_000, ..CacheConfig::default() }
}

fn host(port: impl Port + 'static, address: &str) -> (HostConfig, Interface) {
    let mut config =
        HostConfig::new(Secrets::from_seed(Seed(1))).max_connections(256).buffers(4_096).memory(Memory::Heap);
    config.stack.large_pool.buffers = 4;
    (config, Interface::new(port).address(address.parse().unwrap()))
}

impl Lab {
    pub fn new(config: CacheConfig, lines: usize) -> Self {
        Self::with_faults(&config, lines, FaultConfig::NONE, Seed(1))
    }

    /// A server on several cores.
    pub fn with_cores(config: &CacheConfig, lines: usize, cores: u32) -> Self {
        Self::build(config, lines, FaultConfig::NONE, Seed(1), (cores, PostConfig::default()))
    }

    /// The same over a cable that does this to frames both ways.
    pub fn with_faults(config: &CacheConfig, lines: usize, faults: FaultConfig, seed: Seed) -> Self {
        Self::build(config, lines, faults, seed, (1, PostConfig::default()))
    }

    pub fn build(
        config: &CacheConfig,
        lines: usize,
        faults: FaultConfig,
        seed: Seed,
        (cores, post): (u32, PostConfig),
    ) -> Self {
        let now = Instant::from_secs(5);
        let clock = SharedClock::new(now);
        let (left, right) = pipe(&PipeConfig::default()).unwrap();
        let right = Fault::new(right, clock.clone(), seed, faults, faults).unwrap();
        let mail = mesh(cores, &MailConfig::default()).unwrap();
        let (asks, answers) = (Post::mesh(&mail, &post), Post::mesh(&mail, &post));
        let (bell, info) = (Arc::clone(mail[0].bell()), left.info().clone());
        let mut first = Some(left);
        let mut relays = Vec::new();
        let mut remotes = Vec::new();
        for _ in 1..cores {
            let (port, relay) = remote(info.clone(), &MailConfig::default(), Arc::clone(&bell));
            relays.push(relay);
            remotes.push(port);
        }
        let mut remotes = remotes.into_iter();
        let mut relays = Some(relays);
        let ends = asks.into_iter().zip(answers);
        let mut servers: Vec<Core<App>> = mail
            .into_iter()
            .zip(ends)
            .map(|(mail, (asks, answers))| {
                let cache = CacheServer::new(config.clone(), HashKey::new([1, 2]), now).unwrap();
                let cache = cache.with_peers(asks, answers);
                let (host_config, interface) = match first.take() {
                    Some(port) => {
                        let (config, interface) = host(port, "198.18.0.2/24");
                        (config, relays.take().unwrap().into_iter().fold(interface, Interface::relay))
                    }
                    None => host(remotes.next().unwrap(), "198.18.0.2/24"),
                };
                host_config.build(mail, now, App { cache }, [interface]).unwrap()
            })
            .collect();
        let server = servers.remove(0);
        let (host_config, interface) = host(right, "198.18.0.3/24");
        let lines = (0..lines).map(|_| Line { listens: true, ..Line::default() }).collect();
        let client = Client { lines, datagrams: Vec::new(), udp: None };
        let client = host_config.build(Mailboxes::single().unwrap(), now, client, [interface]).unwrap();
        let mut lab = Self { clock, server, others: servers, client, now };
        lab.turns(500);
        lab
    }

    pub fn turns(&mut self, count: u32) {
        for _ in 0..count {
            self.client.poll(self.now);
            self.server.poll(self.now);
            self.others.iter_mut().for_each(|core| {
                core.poll(self.now);
            });
            self.now += Duration::from_micros(20);
            self.clock.set(self.now);
        }
    }

    /// Lets seconds go by.
    pub fn wait(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
        self.clock.set(self.now);
        self.turns(10);
    }

    pub fn line(&mut self, number: usize) -> &mut Line {
        &mut self.client.app_mut().lines[number]
    }

    /// Says something on a connection and returns all that is answered.
    pub fn ask(&mut self, number: usize, request: &[u8]) -> Vec<u8> {
        self.line(number).to_say.extend(request);
        let mut idle = 0;
        while idle < 50 {
            let before = self.line(number).heard.len() + self.line(number).to_say.len();
            self.turns(4);
            let after = self.line(number).heard.len() + self.line(number).to_say.len();
            idle = if before == after { idle + 1 } else { 0 };
        }
        std::mem::take(&mut self.line(number).heard)
    }

    /// Finishes a connection.
    pub fn hang_up(&mut self, number: usize) {
        let id = self.client.app().lines[number].id.unwrap();
        self.client.stack_mut().conn(id).unwrap().shutdown();
        self.turns(500);
    }

    /// Resets a connection.
    pub fn cut_off(&mut self, number: usize) {
        self.cut_off_at_once(number);
        self.turns(500);
    }

    /// The same without waiting for what comes of it.
    pub fn cut_off_at_once(&mut self, number: usize) {
        let id = self.client.app().lines[number].id.unwrap();
        self.client.stack_mut().conn(id).unwrap().abort();
    }

    /// Sends a datagram and returns the answers.
    pub fn ask_by_datagram(&mut self, request: &[u8]) -> Vec<Vec<u8>> {
        let socket = self.client.app().udp.unwrap();
        let stack = self.client.stack_mut();
        let mut packet = stack.pool().alloc().unwrap();
        packet.append(request.len()).unwrap().copy_from_slice(request);
        stack.udp_send(socket, None, "198.18.0.2:11211".parse().unwrap(), packet);
        self.turns(50);
        std::mem::take(&mut self.client.app_mut().datagrams)
    }
}
