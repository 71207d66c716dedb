//! Ten thousand peers that ask for pages and shut their windows (RFC 6429): what they asked for must not keep others from
//! being served.

use freeway_base::Duration;
use freeway_tcp::Config;
use freeway_wire::tcp::{Flags, Options};

use super::puppets::Puppets;
use crate::lab::{CLIENT, Lab, SERVER, SOURCE};

const PEERS: u32 = 10_000;

#[test]
fn shut_windows_hold_no_more_than_their_share_and_give_way_to_who_reads() {
    let mut lab = Lab::new(Config::default(), |number, config| {
        if number == SERVER {
            config.max_connections = 12_000;
            config.max_syn_received = 256;
            config.net.neighbors = 256;
        }
    });
    let puppets = Puppets::take_over(&mut lab, true);
    let mut peak = (0, 0);
    for number in 0..PEERS {
        puppets.open(&mut lab, number, SOURCE, 0, Options { mss: Some(1_460), ..Options::default() });
        if number % 64 == 63 {
            lab.wait(Duration::from_millis(5));
        }
    }
    lab.wait(Duration::from_millis(50));
    assert_eq!(lab.hosts[SERVER].stack.occupancy().connections.0, PEERS);
    // All of them ask for a page.
    let all: Vec<_> = puppets.0.borrow().keys().copied().collect();
    for (number, &own) in all.iter().enumerate() {
        lab.hit(&puppets.get(own).segment(Flags::ACK | Flags::PSH, 0, b"page"));
        puppets.change(own, |puppet| puppet.next += 4);
        if number % 64 == 63 {
            lab.wait(Duration::from_micros(500));
        }
        let occupancy = lab.hosts[SERVER].stack.occupancy();
        peak = (peak.0.max(occupancy.buffers.0), peak.1.max(occupancy.items.0));
    }
    // What is queued is half of all buffers at most, the last eighth by who has little: the rest came short, and is counted.
    assert!(peak.1 <= 4 * 4_096 / 8 + 64 && peak.0 < 2_700, "{peak:?}");
    let starved = lab.hosts[SERVER].stack.counters().tcp.starved_writes;
    assert!(starved > 5_000, "{starved}");
    // An honest client that asks for a page gets it, though no buffer was free for it when the attack was at its height.
    let id = lab.open(Config::default(), SOURCE, false, 0);
    lab.wait(Duration::from_secs(1));
    let mut rounds = 0;
    while lab.hosts[CLIENT].desk.discarded < 5_000 {
        lab.conn(CLIENT, id).write(b"page");
        lab.wait(Duration::from_secs(1));
        rounds += 1;
        assert!(rounds < 120, "{:?}", lab.hosts[SERVER].stack.counters().tcp);
    }
    let tcp = lab.hosts[SERVER].stack.counters().tcp;
    assert!(tcp.shed_shut_out > 0, "{tcp:?}");
    assert_eq!(puppets.reset() as u64, tcp.shed_shut_out);
    // When it is over nothing is left.
    let all: Vec<_> = puppets.0.borrow().keys().copied().collect();
    for own in all {
        lab.hit(&puppets.get(own).segment(Flags::RST, 0, &[]));
    }
    lab.conn(CLIENT, id).abort();
    lab.wait(Duration::from_secs(5));
    let left = lab.hosts[SERVER].stack.occupancy();
    assert_eq!((left.connections.0, left.items.0, left.buffers.0), (0, 0, 0));
}
