//! After start the data path allocates nothing: handshakes, requests, timers and closes run under a sealed heap.

use std::net::SocketAddr;

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use freeway::host::Memory;
use freeway::port::{PipeConfig, pipe};
use freeway::{Cidr, Core, Duration, HostConfig, Instant, Interface, Mailboxes, Secrets, Seed, Tables};
use freeway_bench::EchoServer;
use freeway_loadgen::{Arrivals, Cause, Echo, Gauge, Load, LoadConfig, Rate, Requests, Work};

#[global_allocator]
static HEAP: AllocDisabler = AllocDisabler;

fn cidr(text: &str) -> Cidr {
    text.parse().expect("an address with a prefix")
}

#[test]
fn nothing_is_allocated_after_start() {
    let (left, right) = pipe(&PipeConfig::default()).expect("a pipe");
    let config =
        HostConfig::new(Secrets::from_seed(Seed(1))).max_connections(512).buffers(2_048).memory(Memory::Heap);
    let mut now = Instant::from_secs(1);
    let server = EchoServer::new(7);
    let interface = Interface::new(left).address(cidr("198.18.0.2/24"));
    let mut server =
        config.build(Mailboxes::single().expect("a mailbox"), now, server, [interface]).expect("a host");
    let gauge = Gauge::default();
    let server_address = "198.18.0.2:7".parse::<SocketAddr>().expect("an address");
    let load = LoadConfig { opening: 50, seed: Seed(2), ..LoadConfig::new(server_address, 400) };
    let load = Load::new(&load, Echo::new(64), gauge.clone());
    let interface = Interface::new(right).address(cidr("198.18.0.3/24"));
    let mut client =
        config.build(Mailboxes::single().expect("a mailbox"), now, load, [interface]).expect("a host");
    // Applications may allocate when they start: they listen, lend, connect.
    client.start(now);
    server.start(now);
    gauge.hold(400);
    // The first connection of a kind takes a profile, which is a start, too.
    turns(&mut client, &mut server, &mut now, 3);

    // Whoever looks brings the memory; the core fills it.
    let observer = server.observer();
    let wanted =
        |filter: &str| observer.frames(0, filter.parse().expect("a filter"), 96, 1_024).expect("a place");
    let (echoes, mut nothing) = (wanted("tcp port 7"), wanted("udp port 53 or (arp and vlan)"));

    let random = Work::Requests(Requests { among: 400, cause: Cause::AnyAnswered(64) });
    let newcomers = Rate { per_second: 200_000.0, arrivals: Arrivals::Poisson };
    let rate = Some(newcomers);
    for work in [
        random,
        Work::Requests(Requests { among: 400, cause: Cause::SameAnswered }),
        Work::Sweep { in_flight: 64 },
        Work::Churn { under_way: 32, rate },
        Work::Mixed { among: 200, under_way: 32, rate: newcomers },
        Work::Datagrams { in_flight: 64, rate: None },
        random,
    ] {
        let before = gauge.read();
        gauge.order(work);
        let mut rows = observer.rows(0, Tables::all(), true).expect("a place");
        assert_no_alloc(|| turns(&mut client, &mut server, &mut now, 5_000));
        let listed = std::iter::from_fn(|| rows.next_row().expect("an answer")).count();
        // Those that open while the table is walked are shown or not.
        assert!(listed as u64 > before.open, "{work:?}: only {listed} sockets were shown");
        let done = gauge.read().since(before);
        let least = match work {
            Work::Sweep { .. } => 400,
            Work::Churn { .. } => 4_000,
            _ => 10_000,
        };
        assert!(done.answered >= least, "{work:?}: only {} requests were answered", done.answered);
        assert_eq!((done.wrong, done.failed, done.timeouts), (0, 0, 0), "{work:?}");
    }

    let (taken, dropped) = echoes.counts();
    assert!(taken > 50_000 && dropped > 0 && dropped < taken, "{taken} frames, {dropped} dropped");
    assert!(nothing.counts() == (0, 0) && nothing.peek().is_none());

    let reading = gauge.read();
    assert_eq!((reading.open, reading.failed), (400, 0));
}

fn turns(client: &mut Core<Load<Echo>>, server: &mut Core<EchoServer>, now: &mut Instant, count: u32) {
    for _ in 0..count {
        client.poll(*now);
        server.poll(*now);
        *now += Duration::from_micros(20);
    }
}
