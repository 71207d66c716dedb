//! The server between an honest client and a crowd.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use freeway::host::Memory;
use freeway::{Cidr, HostConfig, Interface, Mailboxes, Secrets};
use freeway_base::{Duration, Instant, Seed};
use freeway_port::{PipeConfig, pipe};
use freeway_runtime::Core;
use freeway_stack::StackConfig;
use freeway_stack::stack::{Occupancy, StackCounters};

use super::crowd::{Crowd, ECHO, Habit, Server};
use crate::abuse::honest::{Client, Fortunes};

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const HONEST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const SERVER_UP: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);
const CROWD: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
/// From turn to turn.
const TICK: Duration = Duration::from_micros(200);
/// Turns of each host from tick to tick, at most.
const TURNS_A_TICK: u32 = 4;

pub(super) struct World {
    pub(super) server: Core<Server>,
    honest: Core<Client>,
    pub(super) crowd: Core<Crowd>,
    pub(super) now: Instant,
    /// Whether the crowd's host runs at all.
    pub(super) crowd_runs: bool,
    /// The fullest that the server's tables were.
    pub(super) peak: Occupancy,
    calm: Occupancy,
}

impl World {
    /// A world whose server's tables are `change`d; the crowd's cable holds so many frames.
    pub(super) fn new(cable: usize, change: impl FnOnce(&mut StackConfig)) -> Self {
        let now = Instant::from_secs(1_000);
        let cidr = |addr| Cidr::new(IpAddr::V4(addr), 24);
        let lay = |name: &str, frames| {
            pipe(&PipeConfig { frames, name: name.into(), ..PipeConfig::default() }).expect("a pipe")
        };
        let ((near, down), (far, up)) = (lay("honest", 1_024), lay("crowd", cable));
        let base = || {
            let mut config = HostConfig::new(Secrets::from_seed(Seed(1)))
                .max_connections(512)
                .buffers(4_096)
                .memory(Memory::Heap);
            config.stack.large_pool.buffers = 2;
            config
        };
        let mail = || Mailboxes::single().expect("mailboxes");
        let mut config = base();
        change(&mut config.stack);
        let interfaces =
            [Interface::new(down).address(cidr(SERVER)), Interface::new(up).address(cidr(SERVER_UP))];
        let server = config.build(mail(), now, Server::default(), interfaces).expect("a server");

        let mut config = base().max_connections(4_096);
        config.seed = Seed(2);
        let client = Client::new(SocketAddr::new(IpAddr::V4(SERVER), ECHO), freeway_tcp::Config::default());
        let interface = Interface::new(near).address(cidr(HONEST));
        let honest = config.build(mail(), now, client, [interface]).expect("a client");

        let mut config = base().max_connections(8_192).buffers(16_384);
        config.seed = Seed(3);
        let interface = Interface::new(far).address(cidr(CROWD));
        let crowd = Crowd::new(IpAddr::V4(SERVER_UP), Habit::Leave);
        let crowd = config.build(mail(), now, crowd, [interface]).expect("a crowd");
        let mut world = Self {
            server,
            honest,
            crowd,
            now,
            crowd_runs: true,
            peak: Occupancy::default(),
            calm: Occupancy::default(),
        };
        world.run(Duration::from_millis(300));
        world.calm = world.settled();
        world
    }

    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            // The crowd never rests, so that a moment would never end.
            for _ in 0..TURNS_A_TICK {
                let mut busy = self.server.poll(self.now).is_busy();
                self.look();
                busy |= self.honest.poll(self.now).is_busy();
                busy |= self.crowd_runs && self.crowd.poll(self.now).is_busy();
                if !busy {
                    break;
                }
            }
            self.now += TICK;
        }
    }

    fn look(&mut self) {
        let now = self.server.stack().occupancy();
        self.peak.time_wait = self.peak.time_wait.max(now.time_wait);
        self.peak.flows = self.peak.flows.max(now.flows);
        self.peak.items.0 = self.peak.items.0.max(now.items.0);
        self.peak.buffers.0 = self.peak.buffers.0.max(now.buffers.0);
    }

    pub(super) fn counters(&self) -> StackCounters {
        self.server.stack().counters()
    }

    fn fortunes(&self) -> Fortunes {
        self.honest.app().fortunes
    }

    /// During `span` the honest client is served as if nobody else were there.
    pub(super) fn assert_served(&mut self, span: Duration) {
        let before = self.fortunes();
        self.run(span);
        let after = self.fortunes();
        let seconds = span.as_millis() as f64 / 1e3;
        let bytes = after.lasting_bytes - before.lasting_bytes;
        let complete = f64::from(after.complete - before.complete);
        assert_eq!((after.wrong_bytes, after.broken, after.lasting_ended), (0, 0, false), "{after:?}");
        assert!(bytes as f64 > seconds * 50_000.0, "{bytes} bytes in {seconds} s");
        assert!(complete > seconds * 90.0, "{complete} connections in {seconds} s: {after:?}");
    }

    /// The tables when the honest client opens nothing new and all that has to wait has waited.
    fn settled(&mut self) -> Occupancy {
        self.honest.app_mut().opens = false;
        let end = self.now + Duration::from_secs(70);
        while self.now < end {
            while self.server.poll(self.now).is_busy()
                | self.honest.poll(self.now).is_busy()
                | self.crowd.poll(self.now).is_busy()
            {}
            let next = [self.server.next_deadline(), self.honest.next_deadline(), self.crowd.next_deadline()];
            let next = next.into_iter().flatten().min().unwrap_or(end);
            self.now = next.max(self.now + TICK).min(end);
        }
        self.honest.app_mut().opens = true;
        self.server.stack().occupancy()
    }

    /// When the crowd has gone, the server's tables are what they were before it came, and the honest client is served.
    pub(super) fn assert_recovered(&mut self) {
        self.crowd_runs = true;
        self.crowd.app_mut().habit = Habit::Leave;
        self.run(Duration::from_secs(5));
        let (left, calm) = (self.settled(), self.calm);
        let key = |it: Occupancy| {
            [it.connections.0, it.syn_received.0, it.time_wait, it.flows, it.timers, it.classes]
        };
        assert_eq!(key(left), key(calm), "{left:?}, before {calm:?}");
        // The connection that lasts may be in the middle of an exchange.
        assert!(left.items.0 <= 1 && left.buffers.0 <= 1, "{left:?}");
        self.assert_served(Duration::from_millis(500));
    }
}
