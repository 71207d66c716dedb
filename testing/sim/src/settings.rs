//! Settings of single connections, seen on the wire.

use std::cell::RefCell;
use std::rc::Rc;

use freeway_base::Duration;
use freeway_stack::{CloseReason, ConfigureError, ConnId};
use freeway_tcp::Config;
use freeway_wire::{ipv4, ipv6};

use crate::lab::{CLIENT, DISCARD, Fate, Lab, SERVER, forge};

/// The DSCP, hop limit and payload of each segment that the client sends.
type Seen = Rc<RefCell<Vec<(u8, u8, usize)>>>;

fn watch(lab: &mut Lab) -> Seen {
    let seen = Seen::default();
    let into = seen.clone();
    lab.middle = Box::new(move |from, frame| {
        if from == CLIENT
            && let Some((_, _, len)) = forge::segment_of(frame)
            && let Some(packet) = forge::packet_of(frame)
        {
            let marks = if packet[0] >> 4 == 4 {
                let view = ipv4::Packet::new_checked(packet).expect("a packet");
                (view.dscp(), view.ttl())
            } else {
                let view = ipv6::Packet::new_checked(packet).expect("a packet");
                (view.dscp(), view.hop_limit())
            };
            into.borrow_mut().push((marks.0, marks.1, len));
        }
        Fate::Pass
    });
    seen
}

#[test]
fn marks_and_sizes_change_while_the_connection_lives_and_for_it_alone() {
    for ipv6 in [false, true] {
        let mut lab = Lab::new(Config::default(), |_, _| {});
        let seen = watch(&mut lab);
        let tcp = Config { dscp: 46, ..Config::default() };
        let [first, second] = [(); 2].map(|()| lab.open(tcp, DISCARD, ipv6, 0));
        lab.wait(Duration::from_secs(1));
        assert!(seen.borrow().iter().all(|&(dscp, hops, _)| (dscp, hops) == (46, 64)), "SYNs too");
        lab.conn(CLIENT, first)
            .configure(|config| (config.dscp, config.hop_limit, config.mss) = (10, Some(3), 500))
            .expect("there is room for a class");
        assert_eq!(lab.hosts[CLIENT].stack.occupancy().classes, 1);
        let mut send = |id, len: usize| {
            seen.borrow_mut().clear();
            assert_eq!(lab.conn(CLIENT, id).write(&vec![1; len]), len);
            lab.wait(Duration::from_secs(1));
            seen.borrow().clone()
        };
        assert_eq!(send(first, 976), [(10, 3, 488), (10, 3, 488)]);
        assert_eq!(send(second, 976), [(46, 64, 976)]);
        assert_eq!(lab.hosts[SERVER].desk.discarded, 2 * 976);
    }
}

#[test]
fn corks_and_nagle_hold_short_segments_until_they_are_taken_out() {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    let seen = watch(&mut lab);
    let id = lab.open(Config::default(), DISCARD, false, 0);
    lab.wait(Duration::from_secs(1));
    let lens = |lab: &mut Lab, wait_ms| {
        seen.borrow_mut().clear();
        lab.wait(Duration::from_millis(wait_ms));
        seen.borrow().iter().map(|&(_, _, len)| len).filter(|&len| len > 0).collect::<Vec<_>>()
    };
    lab.conn(CLIENT, id).configure(|config| config.cork = true).expect("room");
    lab.conn(CLIENT, id).write(&[1; 2_000]);
    assert_eq!(lens(&mut lab, 100), [1_448]);
    lab.conn(CLIENT, id).configure(|config| config.cork = false).expect("room");
    assert_eq!(lens(&mut lab, 100), [552]);
    assert_eq!(lab.hosts[CLIENT].stack.occupancy().classes, 0, "as it was");
    lab.conn(CLIENT, id).configure(|config| config.cork = true).expect("room");
    lab.conn(CLIENT, id).write(&[1; 10]);
    assert!(lens(&mut lab, 150).is_empty());
    assert_eq!(lens(&mut lab, 150), [10], "the cork does not hold for ever");
}

#[test]
fn classes_are_bounded_shared_and_given_back() {
    let mut lab = Lab::new(Config::default(), |_, config| config.max_classes = 2);
    let ids: Vec<_> = (0..4).map(|_| lab.open(Config::default(), DISCARD, false, 0)).collect();
    lab.wait(Duration::from_secs(1));
    let set = |lab: &mut Lab, which: usize, dscp| {
        lab.conn(CLIENT, ids[which]).configure(|config| config.dscp = dscp)
    };
    assert_eq!([set(&mut lab, 0, 1), set(&mut lab, 1, 2), set(&mut lab, 2, 2)], [Ok(()); 3]);
    assert_eq!(set(&mut lab, 3, 3), Err(ConfigureError::Full(2)));
    assert_eq!(lab.conn(CLIENT, ids[3]).config().expect("it lives").dscp, 0);
    lab.conn(CLIENT, ids[0]).abort();
    lab.wait(Duration::from_secs(1));
    assert_eq!(lab.hosts[CLIENT].stack.occupancy().classes, 1);
    assert_eq!(set(&mut lab, 3, 3), Ok(()));
    for &id in &ids[1..] {
        lab.conn(CLIENT, id).close();
    }
    lab.wait(Duration::from_secs(120));
    let left = lab.hosts[CLIENT].stack.occupancy();
    assert_eq!((left.classes, left.connections.0, left.time_wait), (0, 0, 0));
}

#[test]
fn lingering_ends_in_a_reset_at_once_or_in_time_or_not_at_all() {
    let cases = [(Some(0), 0, 1), (Some(3_000), 3_000, 1), (None, 0, 0)];
    for (linger_ms, takes_ms, broken) in cases {
        let tcp = Config { linger: linger_ms.map(Duration::from_millis), ..Config::default() };
        let mut lab = Lab::new(Config::default(), |_, _| {});
        let id = lab.open(tcp, DISCARD, false, 0);
        lab.wait(Duration::from_secs(1));
        lab.conn(CLIENT, id).write(&[1; 100]);
        lab.middle = Box::new(|from, _| if from == CLIENT { Fate::Drop } else { Fate::Pass });
        lab.settle();
        lab.conn(CLIENT, id).close();
        let begun = lab.now;
        let ended = lab.run_until(Duration::from_secs(20), |lab| lab.hosts[CLIENT].desk.broken == 1);
        assert_eq!(ended, broken == 1, "{linger_ms:?}");
        if ended {
            let took = (lab.now - begun).as_millis();
            assert!((takes_ms..takes_ms + 5).contains(&took), "{took}");
            assert_eq!(lab.hosts[CLIENT].desk.broken_by, Some(CloseReason::Aborted));
        }
        let lingered = lab.hosts[CLIENT].stack.counters().tcp.lingered_out;
        assert_eq!(lingered, u64::from(linger_ms == Some(3_000)));
    }
}

#[test]
fn what_is_not_sent_yet_is_bounded_and_room_is_told_when_it_is_sent() {
    let tcp = Config { not_sent_low_water: 16_000, ..Config::default() };
    let mut lab = Lab::new(Config::default(), |_, _| {});
    lab.delay = Duration::from_millis(10);
    let id = lab.open(tcp, DISCARD, false, 3_000_000);
    for _ in 0..100 {
        lab.wait(Duration::from_millis(3));
        let Some(conn) = lab.hosts[CLIENT].stack.conn(id) else { break };
        let info = conn.info().expect("it lives");
        assert!(info.not_sent <= 16_000, "{info:?}");
    }
    assert!(lab.run_until(Duration::from_secs(60), |lab| lab.hosts[SERVER].desk.discarded == 3_000_000));
    assert!(lab.hosts[CLIENT].desk.writable > 20);
}

#[test]
fn a_send_buffer_of_its_own_bounds_what_is_queued() {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    let id = lab.open(Config::default(), DISCARD, false, 0);
    lab.wait(Duration::from_secs(1));
    assert_eq!(lab.conn(CLIENT, id).send_room(), 1 << 20);
    lab.conn(CLIENT, id).configure(|config| config.send_buffer = Some(5_000)).expect("room");
    assert_eq!(lab.conn(CLIENT, id).write(&[1; 9_000]), 5_000);
    lab.wait(Duration::from_secs(1));
    // Never more than the stack allows.
    lab.conn(CLIENT, id).configure(|config| config.send_buffer = Some(u32::MAX)).expect("room");
    assert_eq!(lab.conn(CLIENT, id).send_room(), 1 << 20);
}

#[test]
fn a_send_buffer_grows_with_the_window_and_no_further_than_it_may() {
    for (most, room) in [(1 << 18, 1 << 18), (1 << 19, 1 << 19), (16 << 20, 2 << 20)] {
        let mut lab = Lab::new(Config::default(), move |_, config| {
            config.send_buffer = 1 << 18;
            config.send_buffer_max = most;
        });
        lab.delay = Duration::from_millis(20);
        let id = lab.open(Config::default(), DISCARD, false, 1 << 30);
        lab.wait(Duration::from_millis(100));
        assert!(queued_at_most(&mut lab, id, 1) <= 1 << 18, "a young connection");
        let queued = queued_at_most(&mut lab, id, 3_000);
        assert!(queued <= most && queued >= room * 3 / 4, "{queued} of {most}");
    }
}

/// The most that lies queued in so many milliseconds.
fn queued_at_most(lab: &mut Lab, id: ConnId, millis: u32) -> u32 {
    let mut most = 0;
    for _ in 0..millis {
        lab.wait(Duration::from_millis(1));
        let Some(info) = lab.conn(CLIENT, id).info() else { break };
        most = most.max(info.queued);
    }
    most
}

#[test]
fn a_stall_is_told_and_the_next_hop_doubted() {
    let tcp = Config { stall_retries: 2, ..Config::default() };
    let mut lab = Lab::new(Config::default(), |_, _| {});
    let id = lab.open(tcp, DISCARD, false, 0);
    lab.wait(Duration::from_secs(1));
    let asked = lab.hosts[CLIENT].stack.counters().net.solicitations_out;
    lab.middle = Box::new(|from, frame| match forge::segment_of(frame) {
        Some(_) if from == CLIENT => Fate::Drop,
        _ => Fate::Pass,
    });
    lab.conn(CLIENT, id).write(&[1; 10]);
    lab.wait(Duration::from_secs(3));
    assert_eq!(lab.hosts[CLIENT].desk.stalled, 1);
    assert_eq!(lab.hosts[CLIENT].stack.counters().tcp.stalled, 1);
    assert!(lab.hosts[CLIENT].stack.counters().net.solicitations_out > asked);
    lab.middle = Box::new(|_, _| Fate::Pass);
    lab.wait(Duration::from_secs(10));
    assert_eq!(lab.hosts[SERVER].desk.discarded, 10);
}
