//! Reports of packets too big that no router sent (RFC 5927, section 7): from off the path, where sequence numbers must be
//! guessed, and from on it.

use freeway_base::{Duration, Rng, Seed};
use freeway_tcp::Config;

use crate::lab::{CLIENT, DISCARD, Lab, SERVER, address, forge};

/// A report about a segment of the client's connection, with the sequence number changed.
fn lie(frame: &[u8], mtu: u16, seq: u32) -> Vec<u8> {
    let mut lie = frame.to_vec();
    let at = if lie[14] >> 4 == 4 { 14 + 20 + 4 } else { 14 + 40 + 4 };
    lie[at..at + 4].copy_from_slice(&seq.to_be_bytes());
    forge::too_big(&lie, mtu)
}

#[test]
fn reports_that_cannot_be_are_ignored_counted_and_change_nothing() {
    for ipv6 in [false, true] {
        let mut lab = Lab::new(Config::default(), |_, _| {});
        let id = lab.open(Config::default(), DISCARD, ipv6, 3_000_000);
        let mut rng = Rng::new(Seed(7));
        // Every segment of the client is answered by guesses, and by reports about itself that cannot be true.
        let told = std::rc::Rc::new(std::cell::Cell::new(0u64));
        let count = told.clone();
        let lies = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let into = lies.clone();
        lab.middle = Box::new(move |from, frame| {
            if from == CLIENT
                && let Some((_, repr, len @ 1..)) = forge::segment_of(frame)
            {
                let say = |mtu: u16, seq: u32| {
                    count.set(count.get() + 1);
                    into.borrow_mut().push(lie(frame, mtu, seq));
                };
                say(600, repr.seq.0.wrapping_add(0x4000_0000 + rng.below(0x4000_0000)));
                say(1_300, repr.seq.0.wrapping_sub(0x1000_0000));
                // In flight, but below what every link carries, or no narrower than what is known.
                say(if ipv6 { 1_279 } else { 551 }, repr.seq.0);
                say(68, repr.seq.0);
                say(1_500, repr.seq.0);
                say(u16::MAX, repr.seq.0);
                assert!(len <= 1_448);
            }
            crate::lab::Fate::Pass
        });
        while lab.hosts[SERVER].desk.discarded < 2_900_000 {
            lab.wait(Duration::from_millis(1));
            let batch: Vec<_> = lies.borrow_mut().drain(..).collect();
            for frame in batch {
                lab.hit_client(&frame);
            }
            if let Some(conn) = lab.hosts[CLIENT].stack.conn(id) {
                assert_eq!(conn.mss(), if ipv6 { 1_428 } else { 1_448 });
            }
            assert!(lab.now.as_millis() < 300_000, "{}", lab.hosts[SERVER].desk.discarded);
        }
        let client = lab.hosts[CLIENT].stack.counters();
        assert_eq!(client.net.ignored_too_big, client.net.errors_in);
        assert!(client.net.errors_in + 60 >= told.get() && told.get() > 10_000, "{}", told.get());
        assert_eq!((client.net.paths_narrowed, client.tcp.retransmitted), (0, 0));
        assert_eq!(lab.hosts[CLIENT].stack.net.path_mtu(lab.now, address(SERVER, ipv6)), Some(1_500));
    }
}

#[test]
fn what_an_eavesdropper_can_do_is_bounded_by_the_floor_and_by_time() {
    let mut lab = Lab::new(Config::default(), |_, _| {});
    let id = lab.open(Config::default(), DISCARD, false, 1 << 40);
    let lies = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let into = lies.clone();
    lab.middle = Box::new(move |from, frame| {
        if from == CLIENT
            && let Some((_, repr, 1..)) = forge::segment_of(frame)
        {
            into.borrow_mut().push(lie(frame, 552, repr.seq.0));
        }
        crate::lab::Fate::Pass
    });
    lab.wait(Duration::from_millis(5));
    let batch: Vec<_> = lies.borrow_mut().drain(..).collect();
    for frame in batch {
        lab.hit_client(&frame);
    }
    assert_eq!(lab.conn(CLIENT, id).mss(), 500);
    assert_eq!(lab.hosts[CLIENT].stack.counters().net.paths_narrowed, 1);
    lab.middle = Box::new(|_, _| crate::lab::Fate::Pass);
    let before = lab.hosts[SERVER].desk.discarded;
    lab.wait(Duration::from_secs(2));
    assert!(lab.hosts[SERVER].desk.discarded > before + 1_000_000, "it is served all the same");
    lab.conn(CLIENT, id).abort();
    // After ten minutes it is forgotten.
    lab.wait(Duration::from_secs(610));
    let id = lab.open(Config::default(), DISCARD, false, 100_000);
    lab.wait(Duration::from_millis(5));
    assert_eq!(lab.conn(CLIENT, id).mss(), 1_448);
}
