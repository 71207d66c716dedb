//! Receive windows: they grow with what is read, stop when memory is short, and keep what they promised.

use freeway_base::Duration;
use freeway_tcp::Config;

use crate::lab::{CLIENT, DISCARD, Fate, Lab, SERVER, forge};

/// How many bytes arrive in a second over a way of 100 ms, after some seconds to grow.
fn bytes_a_second(tcp: Config) -> (u64, u64) {
    let mut lab = Lab::new(tcp, |_, config| config.send_buffer = 16 << 20);
    lab.delay = Duration::from_millis(50);
    lab.open(Config { receive_window: 65_535, ..tcp }, DISCARD, false, u64::from(u32::MAX));
    lab.wait(Duration::from_secs(4));
    let before = lab.hosts[SERVER].desk.discarded;
    lab.wait(Duration::from_secs(1));
    let widened = lab.hosts[SERVER].stack.counters().tcp.windows_widened;
    (lab.hosts[SERVER].desk.discarded - before, widened)
}

#[test]
fn a_window_that_holds_the_peer_back_grows_with_and_without_timestamps() {
    for timestamps in [true, false] {
        let fixed = Config { timestamps, receive_window_max: 0, ..Config::default() };
        let (slow, widened) = bytes_a_second(fixed);
        assert_eq!(widened, 0);
        assert!(slow < 700_000, "a window of 64 KiB in 100 ms: {slow}");
        let (fast, widened) = bytes_a_second(Config { timestamps, ..Config::default() });
        assert!(widened > 3 && fast > 5 * slow, "{slow} {fast} {widened}");
    }
}

#[test]
fn a_window_that_does_not_hold_the_peer_back_stays() {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    let id = lab.open(Config::default(), DISCARD, false, 0);
    lab.delay = Duration::from_millis(20);
    lab.wait(Duration::from_secs(1));
    for _ in 0..200 {
        lab.conn(CLIENT, id).write(&[1; 3_000]);
        lab.wait(Duration::from_millis(50));
    }
    let server = lab.only(SERVER);
    let info = lab.conn(SERVER, server).info().expect("it lives");
    assert!(info.rcv_space < 100_000, "{info:?}");
    assert_eq!(lab.hosts[SERVER].desk.discarded, 600_000);
}

#[test]
fn an_application_that_does_not_read_gets_no_larger_window() {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    lab.hosts[SERVER].desk.paused = true;
    lab.open(Config::default(), DISCARD, true, 1 << 20);
    lab.wait(Duration::from_secs(5));
    let server = lab.only(SERVER);
    let info = lab.conn(SERVER, server).info().expect("it lives");
    assert!((60_000..=66_000).contains(&info.unread) && info.rcv_wnd < 1_448, "{info:?}");
    assert_eq!(lab.hosts[SERVER].stack.counters().tcp.windows_widened, 0);
    // It reads at last, and all that was sent is there.
    lab.hosts[SERVER].desk.paused = false;
    let bytes = lab.conn(SERVER, server).readable_bytes();
    lab.conn(SERVER, server).consume(bytes);
    lab.hosts[SERVER].desk.discarded += bytes as u64;
    let opened = lab.run_until(Duration::from_secs(30), |lab| lab.hosts[SERVER].desk.discarded >= 1 << 20);
    assert!(opened, "{}", lab.hosts[SERVER].desk.discarded);
}

#[test]
fn edges_never_move_back_while_memory_is_short() {
    // Few buffers, several fast streams, and an application that stops reading now and then.
    let mut lab = Lab::new(Config::default(), |number, config| {
        config.send_buffer = 4 << 20;
        if number == SERVER {
            config.receive_budget = Some(400);
        }
    });
    lab.delay = Duration::from_millis(5);
    let mut edges = std::collections::BTreeMap::new();
    let retracted = std::rc::Rc::new(std::cell::Cell::new(0u32));
    let count = retracted.clone();
    lab.middle = Box::new(move |from, frame| {
        if from == SERVER
            && let Some((to, repr, _)) = forge::segment_of(frame)
            && !repr.flags.contains(freeway_wire::tcp::Flags::SYN)
        {
            // The shift of a limit of 6 MiB.
            let edge = repr.ack + (u32::from(repr.window) << 7);
            let before = *edges.entry(to).or_insert(edge);
            let back = if edge.is_before(before) { before.distance_from(edge) } else { 0 };
            count.set(count.get().max(back));
            if back == 0 {
                edges.insert(to, edge);
            }
        }
        Fate::Pass
    });
    for _ in 0..8 {
        lab.open(Config::default(), DISCARD, false, 8 << 20);
    }
    for round in 0..400 {
        lab.hosts[SERVER].desk.paused = round % 3 == 1;
        if round % 3 == 2 {
            let ids: Vec<_> = lab.hosts[SERVER].stack.connections().map(|(id, _)| id).collect();
            for id in ids {
                let mut conn = lab.conn(SERVER, id);
                let bytes = conn.readable_bytes();
                conn.consume(bytes);
                lab.hosts[SERVER].desk.discarded += bytes as u64;
            }
        }
        lab.wait(Duration::from_millis(30));
    }
    lab.hosts[SERVER].desk.paused = false;
    let done =
        lab.run_until(Duration::from_secs(120), |lab| lab.hosts[SERVER].desk.discarded >= 8 * (8 << 20));
    let tcp = lab.hosts[SERVER].stack.counters().tcp;
    assert!(done, "{} {:?} {tcp:?}", lab.hosts[SERVER].desk.discarded, lab.hosts[SERVER].stack.occupancy());
    // RFC 7323, section 2.4: by less than one unit of the scaled window, and what was promised is taken still.
    assert!(retracted.get() < 128, "{}", retracted.get());
    assert!(tcp.windows_widened > 0);
}
