//! Two hosts whose ports want a request before each frame whose sum they fill in, on a cable that loses frames: whatever is
//! sent, and sent again, asks for its own sum.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use freeway_base::{Duration, HashKey, Instant, Seed};
use freeway_mem::{Arena, PacketFlags, PacketPool, PoolConfig, RxBurst, SharedPacket, TxBurst};
use freeway_stack::net::{Cidr, IfaceId, InterfaceConfig, TxChecksum};
use freeway_stack::{Application, Conn, ConnectConfig, ListenConfig, Stack, StackConfig};
use freeway_wire::MacAddr;
use freeway_wire::offload::{ChecksumRequest, REQUEST_LEN};

const IFACE: IfaceId = IfaceId(0);
const LEN: usize = 300_000;

fn host(last: u8, vlan: Option<u16>, now: Instant) -> Stack<u64> {
    let mut config = StackConfig::new(HashKey::new([1, 2]), HashKey::new([3, 4]));
    (config.max_connections, config.max_syn_received, config.max_time_wait) = (64, 16, 16);
    config.pool = PoolConfig { buffers: 2_048, ..PoolConfig::default() };
    config.max_items = 2_048;
    config.large_pool.buffers = 2;
    config.net.announce = false;
    let mut arena = Arena::heap(config.arena_layout::<u64>().bytes()).unwrap();
    let pool = PacketPool::new(&mut arena, &config.pool).unwrap();
    let mut stack = Stack::new(&config, &mut arena, pool, Seed(u64::from(last)), now).unwrap();
    let cidr = |text: String, len| Cidr::new(text.parse().unwrap(), len);
    stack
        .net
        .add_interface(InterfaceConfig {
            addresses: vec![cidr(format!("198.18.0.{last}"), 24), cidr(format!("2001:db8::{last}"), 64)],
            tx_checksum: TxChecksum::Requested,
            vlan,
            ..InterfaceConfig::new("test0", MacAddr([2, 0, 0, 0, 0, last]))
        })
        .unwrap();
    stack
}

/// What a connection at `at` bytes says next.
fn byte(at: u64) -> u8 {
    (at % 251) as u8
}

/// Pours into what it opened, and checks what it hears.
#[derive(Default)]
struct App {
    heard: u64,
    ended: bool,
}

impl App {
    fn pour(conn: &mut Conn<'_, u64>) {
        while *conn.state() < LEN as u64 {
            let at = *conn.state();
            let bytes: Vec<u8> = (at..(at + 10_000).min(LEN as u64)).map(byte).collect();
            let taken = conn.write(&bytes);
            *conn.state() += taken as u64;
            if taken < bytes.len() {
                return;
            }
        }
        conn.shutdown();
    }
}

impl Application for App {
    type Conn = u64;

    fn connected(&mut self, mut conn: Conn<'_, u64>) {
        Self::pour(&mut conn);
    }

    fn writable(&mut self, mut conn: Conn<'_, u64>) {
        Self::pour(&mut conn);
    }

    fn readable(&mut self, mut conn: Conn<'_, u64>) {
        while !conn.peek().is_empty() {
            let bytes = conn.peek();
            let len = bytes.len();
            assert!(
                bytes.iter().zip(self.heard..).all(|(&heard, at)| heard == byte(at)),
                "at {}",
                self.heard
            );
            self.heard += len as u64;
            conn.consume(len);
        }
        if conn.at_end() {
            self.ended = true;
            conn.close();
        }
    }
}

/// What a port does: looks at the request, and fills in the sum in what goes over the cable.
fn send(frame: &SharedPacket) -> (Vec<u8>, bool) {
    let mut bytes = frame.data().to_vec();
    let asks = frame.flags().contains(PacketFlags::CHECKSUM_REQUESTED);
    if asks {
        let request = ChecksumRequest::parse(frame.before(REQUEST_LEN).unwrap());
        assert_eq!(request, ChecksumRequest::of_frame(&bytes), "it is this frame's own");
        assert!(request.unwrap().fill(&mut bytes));
    } else {
        assert!(!frame.flags().contains(PacketFlags::CHECKSUM_NEEDED));
    }
    (bytes, asks)
}

#[test]
fn what_is_sent_again_asks_again() {
    for (vlan, addr) in [(None, IpAddr::from([198, 18, 0, 2])), (Some(7), "2001:db8::2".parse().unwrap())] {
        let mut now = Instant::from_secs(1);
        let mut hosts = [host(1, vlan, now), host(2, vlan, now)];
        let mut apps = [App::default(), App::default()];
        hosts[1].listen(&ListenConfig::new(80)).unwrap();
        hosts[0].connect(&ConnectConfig::new(SocketAddr::new(addr, 80))).unwrap();
        // Frames on their way, and frames that the port holds still, as one that sends by itself does.
        let mut cable: VecDeque<(usize, Vec<u8>)> = VecDeque::new();
        let mut held: VecDeque<SharedPacket> = VecDeque::new();
        let (mut number, mut asked) = (0_u32, 0);
        for _ in 0..200_000 {
            if apps[1].ended {
                break;
            }
            for (at, (stack, app)) in hosts.iter_mut().zip(&mut apps).enumerate() {
                stack.expire(now, 256);
                stack.dispatch(now, app);
                stack.output(now);
                let mut burst = TxBurst::new();
                stack.tx_burst(IFACE, &mut burst);
                for frame in burst.drain(..) {
                    let (bytes, asks) = send(&frame);
                    asked += u64::from(asks);
                    held.push_back(frame);
                    number += 1;
                    // Of those with text one in nine is lost.
                    if bytes.len() < 1_000 || number % 9 != 0 {
                        cable.push_back((1 - at, bytes));
                    }
                }
            }
            held.drain(..held.len().saturating_sub(20));
            match cable.pop_front() {
                Some((to, bytes)) => {
                    let mut packet = hosts[to].pool().alloc().unwrap();
                    assert!(packet.copy_from_slice(&bytes));
                    hosts[to].input(now, IFACE, &mut RxBurst::from_iter([packet]));
                    now += Duration::from_micros(20);
                }
                None => now += Duration::from_millis(5),
            }
        }
        assert_eq!(apps[1].heard, LEN as u64, "{addr}");
        let counters = hosts[0].counters();
        assert!(counters.tcp.retransmitted > 10, "{counters:?}");
        assert!(asked > LEN as u64 / 1_460, "{asked}");
        assert_eq!(hosts[1].counters().tcp.dropped_checksum, 0);
    }
}
