//! After start the data path allocates nothing: handshakes, requests, timers and closes run under a sealed heap.

use std::net::SocketAddr;

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use freeway::host::Memory;
use freeway::port::{PipeConfig, pipe};
use freeway::tcp::Config;
use freeway::{Cidr, Core, Duration, HostConfig, Instant, Interface, Mailboxes, Secrets, Seed};
use freeway_bench::EchoServer;
use freeway_loadgen::{EchoLoad, EchoLoadConfig, Gauge, Pick};

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
    let server = EchoServer { port: 7, tcp: Config::default() };
    let interface = Interface::new(left).address(cidr("198.18.0.2/24"));
    let mut server =
        config.build(Mailboxes::single().expect("a mailbox"), now, server, [interface]).expect("a host");
    let gauge = Gauge::default();
    let load = EchoLoadConfig {
        server: "198.18.0.2:7".parse::<SocketAddr>().expect("an address"),
        sources: Vec::new(),
        connections: 400,
        opening: 50,
        in_flight: 64,
        size: 64,
        pick: Pick::Random,
        tcp: Config::default(),
    };
    let load = EchoLoad::new(load, gauge.clone(), Seed(2));
    let interface = Interface::new(right).address(cidr("198.18.0.3/24"));
    let mut client =
        config.build(Mailboxes::single().expect("a mailbox"), now, load, [interface]).expect("a host");
    // Applications may allocate when they start: they listen, lend, connect.
    client.start(now);
    server.start(now);
    gauge.set_running(true);
    // The first connection of a kind takes a profile, which is a start, too.
    turns(&mut client, &mut server, &mut now, 3);

    assert_no_alloc(|| turns(&mut client, &mut server, &mut now, 20_000));

    let reading = gauge.read();
    assert_eq!((reading.open, reading.failed), (400, 0));
    assert!(reading.answered > 10_000, "only {} requests were answered", reading.answered);
}

fn turns(client: &mut Core<EchoLoad>, server: &mut Core<EchoServer>, now: &mut Instant, count: u32) {
    for _ in 0..count {
        client.poll(*now);
        server.poll(*now);
        *now += Duration::from_micros(20);
    }
}
