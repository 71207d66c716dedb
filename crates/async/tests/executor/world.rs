//! Two executors on two hosts, joined by a pipe, on one clock.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use freeway::port::{PipeConfig, pipe};
use freeway::{Core, Duration, HostConfig, Instant, Interface, Mailboxes, Memory, Secrets, Seed};
use freeway_async::{Executor, ExecutorConfig};

/// From turn to turn.
pub const TICK: Duration = Duration::from_micros(50);

pub fn server_addr(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 18, 0, 2], port))
}

/// Small tables, so that bounds are met.
pub fn small() -> ExecutorConfig {
    ExecutorConfig { max_tasks: 256, max_streams: 256, max_timers: 256, ..ExecutorConfig::default() }
}

pub struct World {
    pub server: Core<Executor>,
    pub client: Core<Executor>,
    pub now: Instant,
}

impl World {
    /// A server and a client, each with its first task.
    pub fn new<S, C>(server: impl FnOnce() -> S + 'static, client: impl FnOnce() -> C + 'static) -> Self
    where
        S: Future<Output = ()> + 'static,
        C: Future<Output = ()> + 'static,
    {
        Self::with_config(small(), server, client)
    }

    pub fn with_config<S, C>(
        config: ExecutorConfig,
        server: impl FnOnce() -> S + 'static,
        client: impl FnOnce() -> C + 'static,
    ) -> Self
    where
        S: Future<Output = ()> + 'static,
        C: Future<Output = ()> + 'static,
    {
        let now = Instant::from_secs(100);
        let (left, right) = pipe(&PipeConfig { frames: 4_096, ..PipeConfig::default() }).unwrap();
        let mut host = HostConfig::new(Secrets::from_seed(Seed(1)))
            .max_connections(config.max_streams + 8)
            .buffers(8_192)
            .memory(Memory::Heap);
        host.stack.large_pool.buffers = 2;
        let mail = Mailboxes::single().unwrap();
        let interface = Interface::new(left).address("198.18.0.2/24".parse().unwrap());
        let app = Executor::new(&mail, config, server);
        let server = host.build(mail, now, app, [interface]).unwrap();
        let mail = Mailboxes::single().unwrap();
        let interface = Interface::new(right).address("198.18.0.3/24".parse().unwrap());
        let app = Executor::new(&mail, config, client);
        host.seed = Seed(2);
        let client = host.build(mail, now, app, [interface]).unwrap();
        let mut world = Self { server, client, now };
        world.server.start(now);
        world.client.start(now);
        world
    }

    /// One turn of each.
    pub fn turn(&mut self) {
        self.server.poll(self.now);
        self.client.poll(self.now);
        self.now += TICK;
    }

    /// Runs for `span`.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.turn();
        }
    }

    /// Runs until the client's tasks are over, and the server's too where it has an end; within `limit`.
    pub fn finish(&mut self, limit: Duration) {
        let end = self.now + limit;
        while self.client.app().tasks() > 0 {
            assert!(self.now < end, "{} tasks are not over", self.client.app().tasks());
            self.turn();
        }
        let panicked = self.client.app().counters().panicked + self.server.app().counters().panicked;
        assert_eq!(panicked, 0, "tasks panicked");
    }

    /// Lets what is under way end, and checks that nothing is left on either side but `tasks` of the server's.
    pub fn assert_clean(&mut self, tasks: usize) {
        self.run(Duration::from_secs(3));
        for (core, tasks) in [(&self.server, tasks), (&self.client, 0)] {
            let occupancy = core.stack().occupancy();
            assert_eq!((occupancy.connections.0, occupancy.items.0, occupancy.buffers.0), (0, 0, 0));
            assert_eq!(core.app().tasks(), tasks);
            assert_eq!(level(core, "streams"), 0);
            assert_eq!(level(core, "timers"), 0);
        }
    }
}

/// A fill level of an executor.
pub fn level(core: &Core<Executor>, name: &str) -> u64 {
    core.stats(Instant::ZERO).get("async_tables", name).unwrap()
}

/// What a task leaves for its test.
pub struct Slot<T>(Rc<RefCell<Option<T>>>);

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Slot<T> {
    pub fn new() -> Self {
        Self(Rc::new(RefCell::new(None)))
    }

    pub fn put(&self, value: T) {
        *self.0.borrow_mut() = Some(value);
    }

    pub fn take(&self) -> Option<T> {
        self.0.borrow_mut().take()
    }
}
