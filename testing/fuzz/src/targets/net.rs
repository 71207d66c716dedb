//! Whole frames at a whole host.

use std::net::SocketAddr;

use freeway_base::{Duration, Instant};
use freeway_stack::net::{InterfaceConfig, RxChecksum};
use freeway_stack::udp::Datagram;
use freeway_stack::{Application, Conn, ConnectConfig, ListenConfig, Stack};

use crate::conversation::HOST_MAC;
use crate::host::{Host, World};
use crate::script::Script;

/// Frames of one input; what follows is left out.
const FRAMES: u32 = 64;

/// Frames for a host with IPv4 and IPv6 addresses, an echo service on UDP and TCP port 7, and a connection that it
/// tries to open. The first byte is settings; then each frame has two bytes before it, the length in the low eleven
/// bits, and above them how long the host waits after it.
///
/// # Panics
///
/// When a packet buffer or a record is left at the end.
pub fn net(data: &[u8]) {
    let mut script = Script::new(data);
    let settings = script.u8();
    let mut host = host(settings);
    let mut world = Echo;
    for _ in 0..FRAMES {
        if script.is_empty() {
            break;
        }
        let head = script.u16();
        let frame = script.take(usize::from(head & 0x7ff));
        host.receive(&[frame]);
        host.settle(&mut world);
        let wait = head >> 11;
        if wait > 0 {
            host.wait(Duration::from_micros(100 << wait.min(20)), &mut world);
        }
    }
    host.finish(&mut world);
}

fn host(settings: u8) -> Host {
    let has = |bit: u8| settings & (1 << bit) != 0;
    let mut config = Host::config();
    config.net.autoconfigure = has(0);
    config.net.probe = has(1);
    config.net.announce = has(2);
    let interface = InterfaceConfig {
        addresses: ["198.18.0.2/24", "2001:db8::2/64", "fe80::2/64"]
            .map(|cidr| cidr.parse().expect("an address with its prefix"))
            .to_vec(),
        gateway_v4: has(3).then(|| "198.18.0.1".parse().expect("an address")),
        // Without sums to guess, inputs reach further.
        rx_checksum: if has(4) { RxChecksum::Verify } else { RxChecksum::Trust },
        vlan: has(5).then_some(5),
        ..InterfaceConfig::new("fuzz0", HOST_MAC)
    };
    let mut host = Host::new(&config, interface);
    host.stack.listen(&ListenConfig::new(7)).expect("the port is free");
    host.stack.udp_bind(None, 7, 0).expect("the port is free");
    let peer = if has(6) { "[2001:db8::1]:80" } else { "198.18.0.1:80" };
    let remote: SocketAddr = peer.parse().expect("an address with its port");
    // While a probe is under way there is no address to connect from.
    let _ = host.stack.connect(&ConnectConfig { local_port: Some(50_000), ..ConnectConfig::new(remote) });
    host
}

/// Sends everything back.
struct Echo;

impl Application for Echo {
    type Conn = u64;

    fn turn(&mut self, _: &mut Stack<u64>, _: Instant) {}

    fn readable(&mut self, mut conn: Conn<'_, u64>) {
        while let Some(packet) = conn.receive() {
            conn.send(packet);
        }
        if conn.at_end() {
            conn.close();
        }
    }

    fn datagram(&mut self, stack: &mut Stack<u64>, datagram: Datagram) {
        let Datagram { reply_to, packet, .. } = datagram;
        stack.udp_reply(reply_to, packet);
    }
}

impl World for Echo {
    fn sees(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
