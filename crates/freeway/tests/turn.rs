//! One turn of one core, seen from its port.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use freeway::port::{Armed, Port, PortCounters, PortInfo, RxQueue, TxQueue};
use freeway::{
    Application, Core, HostConfig, Instant, Interface, Mailboxes, Memory, PacketPool, RxBurst, Secrets, Seed,
    Stack, Stage, TxBurst,
};

/// What happened, in order.
type Log = Rc<RefCell<Vec<&'static str>>>;

/// A device made of two lists, that takes at most `room` frames at a time.
#[derive(Clone)]
struct Desk {
    incoming: Rc<RefCell<VecDeque<Vec<u8>>>>,
    outgoing: Rc<RefCell<Vec<Vec<u8>>>>,
    room: usize,
    info: PortInfo,
    log: Log,
}

impl RxQueue for Desk {
    fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize {
        self.log.borrow_mut().push("rx");
        let mut taken = 0;
        while !into.is_full()
            && let Some(frame) = self.incoming.borrow_mut().pop_front()
        {
            let mut packet = pool.alloc().unwrap();
            packet.append(frame.len()).unwrap().copy_from_slice(&frame);
            into.push(packet);
            taken += 1;
        }
        taken
    }

    fn arm(&mut self) -> Armed<'_> {
        Armed::Never
    }

    fn disarm(&mut self) {}
}

impl TxQueue for Desk {
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
        self.log.borrow_mut().push("tx");
        let taken = self.room.min(from.len());
        self.outgoing.borrow_mut().extend(from.drain(..taken).map(|frame| frame.data().to_vec()));
        taken
    }
}

impl Port for Desk {
    fn info(&self) -> &PortInfo {
        &self.info
    }

    fn counters(&self) -> PortCounters {
        PortCounters::default()
    }
}

struct Watcher(Log);

impl Application for Watcher {
    type Conn = ();

    fn start(&mut self, _stack: &mut Stack<()>, _now: Instant) {
        self.0.borrow_mut().push("start");
    }

    fn turn(&mut self, _stack: &mut Stack<()>, _now: Instant) {
        self.0.borrow_mut().push("app");
    }
}

/// An ARP request (RFC 826) from the host 198.18.0.`host` for 198.18.0.2.
fn who_has(host: u8) -> Vec<u8> {
    let mac = [2, 0, 0, 0, 0, host];
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend([198, 18, 0, host]);
    frame.extend([0; 6]);
    frame.extend([198, 18, 0, 2]);
    frame
}

/// A core at 198.18.0.2 on a device that takes `room` frames at a time.
fn core(room: usize) -> (Core<Watcher>, Desk) {
    let log = Log::default();
    let desk = Desk {
        incoming: Rc::default(),
        outgoing: Rc::default(),
        room,
        info: PortInfo::new("desk0"),
        log: Rc::clone(&log),
    };
    let config =
        HostConfig::new(Secrets::from_seed(Seed(1))).max_connections(16).buffers(256).memory(Memory::Heap);
    let interface = Interface::new(desk.clone()).address("198.18.0.2/24".parse().unwrap());
    let mail = Mailboxes::single().unwrap();
    let mut core = config.build(mail, Instant::ZERO, Watcher(log), [interface]).unwrap();
    // What the host says of itself at first is not what these tests are about.
    for millis in 0..100 {
        core.poll(Instant::from_millis(millis * 100));
    }
    desk.outgoing.borrow_mut().clear();
    desk.log.borrow_mut().clear();
    (core, desk)
}

const NOW: Instant = Instant::from_secs(11);

#[test]
fn the_application_starts_before_the_first_frame() {
    let log = Log::default();
    let config =
        HostConfig::new(Secrets::from_seed(Seed(1))).max_connections(16).buffers(256).memory(Memory::Heap);
    let mut core =
        config.build(Mailboxes::single().unwrap(), Instant::ZERO, Watcher(Rc::clone(&log)), []).unwrap();
    core.poll(Instant::ZERO);
    core.poll(Instant::ZERO);
    assert_eq!(*log.borrow(), ["start", "app", "app"]);
}

#[test]
fn what_arrives_is_answered_in_the_same_turn() {
    let (mut core, desk) = core(64);
    desk.incoming.borrow_mut().push_back(who_has(3));
    let turn = core.poll(NOW);
    assert_eq!(*desk.log.borrow(), ["rx", "app", "tx"]);
    assert_eq!((turn.received, turn.sent), (1, 1));
    assert!(turn.is_busy());
    let outgoing = desk.outgoing.borrow();
    assert_eq!(outgoing[0][..6], [2, 0, 0, 0, 0, 3], "the answer goes to who asked");
    assert!(!core.is_blocked());
}

#[test]
fn an_empty_turn_is_idle() {
    let (mut core, desk) = core(64);
    let (busy, idle) = (core.stages().total(), core.stages().idle);
    assert!(!core.poll(NOW).is_busy());
    assert_eq!(*desk.log.borrow(), ["rx", "app"]);
    assert_eq!(core.stages().total(), busy);
    assert!(core.stages().idle > idle);
}

#[test]
fn what_a_full_port_leaves_goes_first_next_time() {
    let (mut core, desk) = core(1);
    desk.incoming.borrow_mut().extend([3, 4, 5].map(who_has));
    for left in [2, 1, 0] {
        assert_eq!(core.poll(NOW).sent, 1);
        assert_eq!(core.is_blocked(), left > 0);
    }
    let order: Vec<u8> = desk.outgoing.borrow().iter().map(|frame| frame[5]).collect();
    assert_eq!(order, [3, 4, 5]);
    assert!(!core.poll(NOW).is_busy());
}

#[test]
fn bursts_and_stages_are_counted() {
    let (mut core, desk) = core(64);
    let before = *core.bursts();
    desk.incoming.borrow_mut().extend((0..70).map(|host| who_has(host + 3)));
    core.poll(NOW);
    core.poll(NOW);
    core.poll(NOW);
    let count = |frames: usize| core.bursts().counts[frames] - before.counts[frames];
    assert_eq!((count(64), count(6), count(0)), (1, 1, 0));
    assert!(Stage::ALL.into_iter().all(|stage| core.stages().of(stage) > 0));
    let stats = core.stats(NOW);
    assert_eq!(stats.get("turns", "rx_frames"), Some(70));
    assert_eq!(stats.bursts, *core.bursts());
}
