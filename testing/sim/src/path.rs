//! Paths narrower than their links: routers that say so, and routers that do not.

use std::cell::Cell;
use std::rc::Rc;

use freeway_base::Duration;
use freeway_tcp::{Config, PathProbing};

use crate::lab::{CLIENT, DISCARD, Fate, Lab, SERVER, address, forge};

const MINUTE: Duration = Duration::from_secs(60);

/// A way that carries IP packets of `mtu` bytes; a router says so if it is honest.
fn narrow(lab: &mut Lab, mtu: u16, honest: bool) -> Rc<Cell<u32>> {
    let refused = Rc::new(Cell::new(0));
    let count = refused.clone();
    lab.middle = Box::new(move |_, frame| match forge::packet_of(frame) {
        Some(packet) if packet.len() > usize::from(mtu) => {
            count.set(count.get() + 1);
            if honest { Fate::Answer(forge::too_big(frame, mtu)) } else { Fate::Drop }
        }
        _ => Fate::Pass,
    });
    refused
}

fn sent_all(lab: &Lab, bytes: u64) -> bool {
    lab.hosts[SERVER].desk.discarded >= bytes
}

#[test]
fn routers_that_say_so_cost_one_flight_and_are_remembered() {
    for (ipv6, mtu) in [(false, 1_300), (true, 1_300), (false, 600), (true, 1_280)] {
        let mut lab = Lab::new(Config::default(), |_, _| {});
        let refused = narrow(&mut lab, mtu, true);
        lab.open(Config::default(), DISCARD, ipv6, 300_000);
        assert!(lab.run_until(Duration::from_secs(5), |lab| sent_all(lab, 300_000)), "{ipv6} {mtu}");
        // The initial window of ten, and perhaps what was sent before the report came.
        assert!((1..=20).contains(&refused.get()), "{}", refused.get());
        let client = lab.hosts[CLIENT].stack.counters();
        assert_eq!((client.net.paths_narrowed, client.tcp.black_holes), (1, 0));
        assert_eq!(lab.hosts[CLIENT].stack.net.path_mtu(lab.now, address(SERVER, ipv6)), Some(mtu));
        // The next connection knows.
        let before = refused.get();
        lab.open(Config::default(), DISCARD, ipv6, 100_000);
        assert!(lab.run_until(Duration::from_secs(5), |lab| sent_all(lab, 400_000)));
        assert_eq!(refused.get(), before);
    }
}

#[test]
fn a_path_that_is_wide_again_is_used_after_ten_minutes() {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    narrow(&mut lab, 1_000, true);
    let id = lab.open(Config::default(), DISCARD, false, 0);
    let send = |lab: &mut Lab| {
        assert_eq!(lab.conn(CLIENT, id).write(&[7; 5_000]), 5_000);
        lab.wait(Duration::from_secs(5));
        lab.conn(CLIENT, id).mss()
    };
    lab.wait(Duration::from_secs(1));
    assert_eq!(send(&mut lab), 1_000 - 52);
    lab.middle = Box::new(|_, _| Fate::Pass);
    lab.wait(Duration::from_secs(500));
    assert_eq!(send(&mut lab), 1_000 - 52);
    assert_eq!(lab.hosts[CLIENT].stack.occupancy().paths, 1);
    lab.wait(Duration::from_secs(100));
    assert_eq!(send(&mut lab), 1_500 - 52);
    assert_eq!(lab.hosts[CLIENT].stack.occupancy().paths, 0);
    assert_eq!(lab.hosts[SERVER].desk.discarded, 15_000);
}

#[test]
fn a_black_hole_is_found_out_and_searched_to_its_edge() {
    for (ipv6, mtu, header) in [(false, 1_400, 52), (true, 1_340, 72), (false, 1_100, 52)] {
        let mut lab = Lab::new(Config::default(), |_, _| {});
        let refused = narrow(&mut lab, mtu, false);
        let total = 4_000_000;
        let id = lab.open(Config::default(), DISCARD, ipv6, total);
        assert!(lab.run_until(MINUTE, |lab| sent_all(lab, 2_000_000)), "{ipv6} {mtu}");
        let found = lab.conn(CLIENT, id).info().expect("it lives");
        assert!(found.path_mtu.is_some_and(|found| found <= mtu && found + 8 >= mtu), "{mtu}: {found:?}");
        assert_eq!(usize::from(found.mss) + header, usize::from(found.path_mtu.unwrap_or(0)));
        let tcp = lab.hosts[CLIENT].stack.counters().tcp;
        assert_eq!((tcp.black_holes, tcp.stalled, lab.hosts[CLIENT].desk.stalled), (1, 1, 1));
        assert!(tcp.path_probes > tcp.path_probes_lost && tcp.path_probes_lost > 0, "{tcp:?}");
        // Once it is known the search is over: nothing is swallowed any more.
        let before = refused.get();
        assert!(lab.run_until(MINUTE, |lab| sent_all(lab, total)));
        assert_eq!(refused.get(), before);
        // And others that go this way begin where it was found.
        lab.open(Config::default(), DISCARD, ipv6, 100_000);
        assert!(lab.run_until(Duration::from_secs(5), |lab| sent_all(lab, total + 100_000)));
        assert_eq!(refused.get(), before);
    }
}

#[test]
fn an_outage_is_no_black_hole() {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    let id = lab.open(Config::default(), DISCARD, false, 6_000_000);
    assert!(lab.run_until(MINUTE, |lab| sent_all(lab, 500_000)));
    lab.middle = Box::new(|_, _| Fate::Drop);
    lab.wait(Duration::from_secs(4));
    assert!(lab.conn(CLIENT, id).mss() <= 1_024);
    lab.middle = Box::new(|_, _| Fate::Pass);
    assert!(lab.run_until(MINUTE, |lab| sent_all(lab, 3_000_000)));
    // The path had carried full segments: they are sent again without a question.
    assert_eq!(lab.conn(CLIENT, id).mss(), 1_448);
    let tcp = lab.hosts[CLIENT].stack.counters().tcp;
    assert_eq!((tcp.black_holes, tcp.path_probes), (0, 0));
}

#[test]
fn probing_from_the_beginning_starts_at_the_base() {
    let tcp = Config { path_probing: PathProbing::Always, ..Config::default() };
    let mut lab = Lab::new(tcp, |_, _| {});
    let refused = narrow(&mut lab, 1_300, false);
    let id = lab.open(tcp, DISCARD, false, 2_000_000);
    lab.wait(Duration::from_millis(5));
    assert_eq!(lab.conn(CLIENT, id).mss(), 1_024);
    assert!(lab.run_until(MINUTE, |lab| sent_all(lab, 1_500_000)));
    let mss = lab.conn(CLIENT, id).mss();
    assert!((1_240..=1_248).contains(&mss), "{mss}");
    let tcp = lab.hosts[CLIENT].stack.counters().tcp;
    assert_eq!((tcp.black_holes, u64::from(refused.get())), (0, tcp.path_probes_lost));
    // What was lost were probes, and no congestion was blamed.
    assert!(tcp.path_probes_lost > 0 && tcp.fast_recoveries == 0, "{tcp:?}");
}

#[test]
fn without_probing_a_black_hole_is_one() {
    let tcp =
        Config { path_probing: PathProbing::Off, user_timeout: Duration::from_secs(10), ..Config::default() };
    let mut lab = Lab::new(tcp, |_, _| {});
    narrow(&mut lab, 1_400, false);
    lab.open(tcp, DISCARD, false, 100_000);
    assert!(lab.run_until(MINUTE, |lab| lab.hosts[CLIENT].desk.broken == 1));
    assert_eq!(lab.hosts[SERVER].desk.discarded, 0);
}
