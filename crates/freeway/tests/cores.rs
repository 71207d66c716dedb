//! Two cores, one device with a single queue, and a client that notices nothing of it.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use freeway::port::{Pipe, PipeConfig, Port, pipe};
use freeway::{
    Application, BuildError, Clock, CloseReason, Conn, ConnectConfig, Core, Duration, Ended, HostConfig,
    Idle, Instant, Interface, ListenConfig, Mailboxes, Memory, Monotonic, RemotePort, Runtime, RuntimeConfig,
    Seat, Secrets, Seed, Stack,
};

const CONNECTIONS: usize = 48;
const ROUNDS: u32 = 8;

/// Which core each client was served by.
type Homes = Arc<Mutex<HashMap<SocketAddr, u32>>>;

/// Echoes, and writes down who was served where.
struct Echo {
    core: u32,
    homes: Homes,
}

impl Application for Echo {
    type Conn = ();

    fn start(&mut self, stack: &mut Stack<()>, _now: Instant) {
        stack.listen(&ListenConfig::new(7)).unwrap();
    }

    fn readable(&mut self, mut conn: Conn<'_, ()>) {
        let home = *self.homes.lock().unwrap().entry(conn.peer()).or_insert(self.core);
        assert_eq!(home, self.core, "a flow changed its core");
        while let Some(frame) = conn.receive() {
            conn.send(frame);
        }
        if conn.at_end() {
            conn.close();
        }
    }
}

/// Plays ping-pong on many connections at once, then closes them.
#[derive(Default)]
struct Client {
    finished: usize,
}

impl Application for Client {
    /// Rounds played.
    type Conn = u32;

    fn start(&mut self, stack: &mut Stack<u32>, _now: Instant) {
        for _ in 0..CONNECTIONS {
            stack.connect(&ConnectConfig::new("198.18.0.2:7".parse().unwrap())).unwrap();
        }
    }

    fn connected(&mut self, mut conn: Conn<'_, u32>) {
        assert_eq!(conn.write(&0u32.to_be_bytes()), 4);
    }

    fn readable(&mut self, mut conn: Conn<'_, u32>) {
        if let Ok(answer) = <[u8; 4]>::try_from(conn.peek()) {
            let round = *conn.state();
            assert_eq!(u32::from_be_bytes(answer), round);
            conn.consume(4);
            *conn.state() = round + 1;
            if round + 1 == ROUNDS {
                conn.shutdown();
            } else {
                conn.write(&(round + 1).to_be_bytes());
            }
        }
        if conn.at_end() {
            conn.close();
        }
    }

    fn closed(&mut self, _stack: &mut Stack<u32>, ended: Ended<u32>) {
        assert_eq!((ended.state, ended.reason), (ROUNDS, CloseReason::Finished));
        self.finished += 1;
    }
}

fn config() -> HostConfig {
    HostConfig::new(Secrets::from_seed(Seed(7))).max_connections(256).buffers(1_024).memory(Memory::Heap)
}

fn client(port: Pipe, now: Instant) -> Core<Client> {
    let interface = Interface::new(port).address("198.18.0.3/24".parse().unwrap());
    config().build(Mailboxes::single().unwrap(), now, Client::default(), [interface]).unwrap()
}

/// The queues of one core of the server.
enum Queue {
    Own(Pipe, freeway::Relay),
    Remote(RemotePort),
}

impl Queue {
    fn interface(self) -> Interface {
        match self {
            Self::Own(port, relay) => Interface::new(port).relay(relay),
            Self::Remote(port) => Interface::new(port),
        }
        .address("198.18.0.2/24".parse().unwrap())
    }
}

#[test]
fn a_flow_stays_on_its_core_whoever_owns_the_queue() {
    let homes = Homes::default();
    let (left, right) = pipe(&PipeConfig::default()).unwrap();
    let runtime =
        Runtime::new(RuntimeConfig { cores: 2, idle: Idle::Sleep, ..RuntimeConfig::default() }).unwrap();
    let (remote, relay) = runtime.remote_port(0, left.info().clone()).unwrap();
    let builders = [Queue::Own(left, relay), Queue::Remote(remote)].map(|queue| {
        let homes = Arc::clone(&homes);
        move |seat: Seat| -> Result<_, BuildError> {
            let (app, now) = (Echo { core: seat.core(), homes }, seat.now());
            Ok(config().build(seat.mailboxes, now, app, [queue.interface()])?)
        }
    });
    let running = runtime.start(builders).unwrap();

    let mut clock = Monotonic::new();
    let mut client = client(right, clock.now());
    while client.app().finished < CONNECTIONS {
        let now = clock.now();
        assert!(now < Instant::from_secs(20), "{} of {CONNECTIONS} finished", client.app().finished);
        if !client.poll(now).is_busy() {
            client.sleep(now, Duration::from_millis(100));
        }
    }

    let stats = running.stop().unwrap();
    let homes = homes.lock().unwrap();
    let shares = [0, 1].map(|core| homes.values().filter(|&&home| home == core).count());
    assert_eq!(shares[0] + shares[1], CONNECTIONS);
    assert!(shares.iter().all(|&share| share >= CONNECTIONS / 8), "{shares:?}");
    let mail = |core: usize, name| stats[core].get("mail", name).unwrap();
    assert!(mail(0, "handed_over") >= u64::from(ROUNDS) * shares[1] as u64);
    // The cores stop without emptying their mailboxes: the last acknowledgments may still lie there.
    assert!(mail(1, "taken") <= mail(0, "handed_over") + mail(0, "shared"));
    assert!(mail(0, "relayed") >= u64::from(ROUNDS) * shares[1] as u64);
    for core in &stats {
        assert_eq!(core.drops().filter(|(group, ..)| *group == "mail").collect::<Vec<_>>(), []);
    }
}
