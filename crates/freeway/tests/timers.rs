//! Timers of applications beside TCP's own, with an entry of the wheel for both and with one each.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::rc::Rc;

use freeway::port::{PipeConfig, pipe};
use freeway::{
    Application, Conn, ConnectConfig, Core, Duration, Ended, HostConfig, Instant, Interface, ListenConfig,
    Mailboxes, Memory, Secrets, Seed, Stack,
};

/// When a timer is set, how long it waits, each time anew; then never again.
const WAITS: [Duration; 3] =
    [Duration::from_millis(2_000), Duration::from_millis(40), Duration::from_millis(3_000)];
/// A timer comes at most so late: two ticks of 1.05 ms, and the turn in which it is found.
const LATE: Duration = Duration::from_millis(4);
/// Between two requests of the client.
const PAUSE: Duration = Duration::from_millis(100);

/// The server's timers, in the order in which they came: the port of the peer, and when.
type Rings = Rc<RefCell<Vec<(u16, Instant)>>>;

/// Echoes, and waits.
struct Server {
    rings: Rings,
}

impl Application for Server {
    /// Timers that have come.
    type Conn = u32;

    fn start(&mut self, stack: &mut Stack<u32>, _now: Instant) {
        stack.listen(&ListenConfig::new(7)).unwrap();
    }

    fn accepted(&mut self, mut conn: Conn<'_, u32>) {
        conn.set_timer(Some(WAITS[0]));
    }

    fn readable(&mut self, mut conn: Conn<'_, u32>) {
        while let Some(frame) = conn.receive() {
            conn.send(frame);
        }
        if conn.at_end() {
            conn.close();
        }
    }

    fn timer(&mut self, mut conn: Conn<'_, u32>) {
        let now = conn.stack().now();
        self.rings.borrow_mut().push((conn.peer().port(), now));
        *conn.state() += 1;
        let wait = WAITS.get(*conn.state() as usize).copied();
        // What was set last counts.
        conn.set_timer(Some(Duration::from_secs(1)));
        conn.set_timer(wait);
    }
}

/// Asks again and again, on one connection for good and on one that ends before its timer.
struct Client {
    asked: u32,
    answered: u32,
}

impl Application for Client {
    /// Whether it is the one that ends early.
    type Conn = bool;

    fn start(&mut self, stack: &mut Stack<bool>, _now: Instant) {
        for ends_early in [false, true] {
            let id = stack.connect(&ConnectConfig::new("198.18.0.2:7".parse().unwrap())).unwrap();
            *stack.conn(id).unwrap().state() = ends_early;
        }
    }

    fn connected(&mut self, mut conn: Conn<'_, bool>) {
        if *conn.state() {
            conn.close();
        } else {
            conn.set_timer(Some(PAUSE));
        }
    }

    fn readable(&mut self, mut conn: Conn<'_, bool>) {
        self.answered += conn.peek().len() as u32;
        conn.consume(usize::MAX);
    }

    fn timer(&mut self, mut conn: Conn<'_, bool>) {
        self.asked += conn.write(b"?") as u32;
        conn.set_timer(Some(PAUSE));
    }

    fn closed(&mut self, _stack: &mut Stack<bool>, ended: Ended<bool>) {
        assert!(ended.state, "the connection that asks stays");
    }
}

fn core<A: Application>(
    app: A,
    address: &str,
    port: impl freeway::port::Port + 'static,
    apart: bool,
) -> Core<A> {
    let mut config =
        HostConfig::new(Secrets::from_seed(Seed(3))).max_connections(64).buffers(512).memory(Memory::Heap);
    config.stack.application_timers = apart;
    let interface = Interface::new(port).address(address.parse().unwrap());
    config.build(Mailboxes::single().unwrap(), Instant::ZERO, app, [interface]).unwrap()
}

fn timers_come_when_they_were_set(apart: bool) {
    let rings = Rings::default();
    let (left, right) = pipe(&PipeConfig::default()).unwrap();
    let mut server = core(Server { rings: Rc::clone(&rings) }, "198.18.0.2/24", right, apart);
    let client = Client { asked: 0, answered: 0 };
    let mut client = core(client, "198.18.0.3/24", left, apart);
    let mut opened = None;
    for millis in 0..12_000 {
        let now = Instant::from_millis(millis);
        client.poll(now);
        // For a while nothing is heard of the server, and TCP's own timers do their work.
        if !(3_000..4_000).contains(&millis) {
            server.poll(now);
        }
        client.poll(now);
        if opened.is_none() && server.stack().counters().tcp.accepted > 0 {
            opened = Some(now);
        }
    }
    let mut due = opened.unwrap();
    let rings = rings.borrow();
    assert_eq!(rings.len(), WAITS.len(), "{rings:?}");
    for (&(port, at), wait) in rings.iter().zip(WAITS) {
        due += wait;
        assert_eq!(port, rings[0].0, "the connection that is gone has no timer");
        assert!(at >= due && at <= due + LATE, "due at {due:?}, came at {at:?}");
        due = at;
    }
    let client = client.app();
    assert!(client.asked > 100, "asked {} times", client.asked);
    assert_eq!(client.answered, client.asked, "all but what is under way was answered");
}

#[test]
fn beside_tcps_own_in_one_entry() {
    timers_come_when_they_were_set(false);
}

#[test]
fn in_an_entry_of_their_own() {
    timers_come_when_they_were_set(true);
}
