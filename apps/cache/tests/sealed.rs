//! After start the server allocates nothing, whatever arrives: requests run under a sealed heap.
#![allow(clippy::unwrap_used)]

mod lab;

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use freeway::Duration;
use lab::{Lab, config};

#[global_allocator]
static HEAP: AllocDisabler = AllocDisabler;

/// Says something and lets the server answer, sealed.
fn ask(lab: &mut Lab, request: &[u8], turns: u32) -> usize {
    lab.line(0).to_say.extend(request);
    for _ in 0..turns {
        lab.client.poll(lab.now);
        assert_no_alloc(|| {
            lab.server.poll(lab.now);
            lab.others.iter_mut().for_each(|core| {
                core.poll(lab.now);
            });
        });
        lab.now += Duration::from_micros(20);
    }
    std::mem::take(&mut lab.line(0).heard).len()
}

#[test]
fn nothing_is_allocated_after_start() {
    let lab = serves_everything(Lab::new(config(4 << 20), 1));
    assert!(lab.server.app().cache.store_counters().evictions > 0);
}

#[test]
fn nor_between_cores() {
    let lab = serves_everything(Lab::with_cores(&config(4 << 20), 1, 2));
    assert!(lab.others[0].app().cache.counters().served > 6_000);
}

fn serves_everything(mut lab: Lab) -> Lab {
    // The first connection of a kind takes a profile, which is a start, too.
    lab.ask(0, b"get a\r\n");
    let long = "x".repeat(300_000);
    let (mut heard, mut stored) = (0, 0);
    for round in 0..60 {
        let mut request = String::new();
        for key in 0..100 {
            let (len, ttl) = (round * key % 2_000, key % 3 * 100);
            request += &format!("set {round}.{key} {key} {ttl} {len}\r\n{}\r\n", &long[..len]);
            request += &format!("get {}.{key} a b c\r\n", round / 2);
            stored += 1;
        }
        request +=
            &format!("set long 0 0 {}\r\n{long}\r\nget long\r\nappend long 0 0 1\r\nx\r\n", long.len());
        request += "set n 0 0 1\r\n1\r\nincr n 5\r\ntouch n 50\r\ndelete n\r\nmg n v N30\r\nma m N0\r\nmg n v c t\r\n";
        request += "stats\r\nstats items\r\nnonsense\r\n";
        if round % 20 == 19 {
            request += "flush_all\r\nlru_crawler metadump all\r\n";
        }
        heard += ask(&mut lab, request.as_bytes(), 400);
    }
    assert!(stored == 6_000 && heard > 60 * 300_000, "{heard} bytes of answers");
    lab
}
