//! A port, its peer, and what has passed between them.

use std::time::{Duration, Instant};

use freeway_mem::{
    Arena, ArenaLayout, BURST, Packet, PacketPool, PoolConfig, RxBurst, SharedPacket, TxBurst,
};

use super::Peer;
use crate::info::PortInfo;
use crate::queue::Port;

/// How long the other end may take for something that it will certainly do.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long to look whether something happens that should not.
pub(super) const LULL: Duration = Duration::from_millis(5);

/// An Ethernet header, in bytes.
const HEADER_LEN: usize = 14;
/// IEEE 802 Local Experimental EtherType 1.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const SOURCE: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
/// The shortest frame of the suite.
pub(super) const SHORTEST: usize = 60;

/// One check's cable.
pub(super) struct Bench<P, Q> {
    pub(super) port: P,
    pub(super) peer: Q,
    pub(super) pool: PacketPool,
}

impl<P: Port, Q: Peer> Bench<P, Q> {
    pub(super) fn new(mut port: P, peer: Q) -> Self {
        let pool = pool_for(port.info(), 2_048);
        port.attach(&pool).expect("the port takes the pool");
        Self { port, peer, pool }
    }

    /// The longest untagged frame.
    pub(super) fn longest(&self) -> usize {
        usize::from(self.port.info().mtu) + HEADER_LEN
    }

    /// A packet that holds the frame `number`, of `len` bytes.
    pub(super) fn packet(&self, number: u32, len: usize) -> SharedPacket {
        let mut packet = self.pool.alloc().expect("the pool is larger than what any check sends");
        assert!(packet.copy_from_slice(&frame(number, len)), "the pool's buffers are longer than any frame");
        packet.share()
    }

    /// The peer sends the frames of `numbers`; there must be room.
    pub(super) fn peer_sends(&mut self, numbers: impl IntoIterator<Item = u32>, len: usize) {
        for number in numbers {
            let sent = patiently(|| self.peer.send(&frame(number, len)).then_some(()));
            assert!(sent.is_some(), "the peer found no room for frame {number}");
        }
    }

    /// Receives frames of the suite into `pool`'s buffers until there are `count`.
    pub(super) fn port_receives_into(&mut self, pool: &PacketPool, count: usize) -> Vec<Packet> {
        let mut received = Vec::new();
        patiently(|| {
            let mut burst = RxBurst::new();
            self.port.rx_burst(pool, &mut burst);
            received.extend(burst.into_iter().filter(|packet| is_ours(packet.data())));
            (received.len() >= count).then_some(())
        });
        assert_eq!(received.len(), count, "frames received");
        received
    }

    /// Receives `count` frames and checks that they are the right ones, whole and in order.
    pub(super) fn port_receives(&mut self, numbers: std::ops::Range<u32>, len: usize) {
        let pool = self.pool.clone();
        let received = self.port_receives_into(&pool, numbers.len());
        for (packet, number) in received.iter().zip(numbers) {
            assert_same(packet.data(), number, len);
        }
    }

    /// Sends frames; there must be room sooner or later.
    pub(super) fn port_sends(&mut self, numbers: impl IntoIterator<Item = u32>, len: usize) {
        let mut numbers = numbers.into_iter().peekable();
        while numbers.peek().is_some() {
            let mut burst: TxBurst =
                numbers.by_ref().take(BURST).map(|number| self.packet(number, len)).collect();
            let sent = patiently(|| {
                self.port.tx_burst(&mut burst);
                burst.is_empty().then_some(())
            });
            assert!(sent.is_some(), "{} frames found no room", burst.len());
        }
    }

    /// The peer's next frame of the suite. Meanwhile the port is called now and then, as by a core that polls.
    pub(super) fn peer_next(&mut self) -> Option<Vec<u8>> {
        patiently(|| {
            let next = self.peer.receive().filter(|bytes| is_ours(bytes));
            if next.is_none() {
                self.port.tx_burst(&mut TxBurst::new());
            }
            next
        })
    }

    /// The peer receives these frames, whole and in order.
    pub(super) fn peer_receives(&mut self, numbers: impl IntoIterator<Item = u32>, len: usize) {
        for number in numbers {
            let bytes = self.peer_next().unwrap_or_else(|| panic!("frame {number} did not reach the peer"));
            assert_same(&bytes, number, len);
        }
    }

    /// The peer has nothing of the suite, and gets nothing for a moment.
    pub(super) fn peer_receives_no_more(&mut self) {
        let over = Instant::now() + LULL;
        while Instant::now() < over {
            if let Some(bytes) = self.peer.receive().filter(|bytes| is_ours(bytes)) {
                panic!("the peer received frame {} besides", number_of(&bytes));
            }
        }
    }
}

/// A pool of so many buffers, all longer than the longest frame of a port, in ordinary memory.
pub fn pool_for(info: &PortInfo, buffers: u32) -> PacketPool {
    let headroom = PoolConfig::default().headroom;
    let longest = info.frame_max() + usize::from(headroom) + 1;
    pool(&PoolConfig {
        buffers,
        buffer_size: longest.next_power_of_two() as u32,
        headroom,
        spread: !info.capabilities.packed_buffers,
        ..PoolConfig::default()
    })
}

pub(super) fn pool(config: &PoolConfig) -> PacketPool {
    let mut arena = Arena::heap(ArenaLayout::new().pool(config).bytes()).expect("memory for a pool");
    PacketPool::new(&mut arena, config).expect("the arena was laid out for it")
}

/// Tries until it gives something, or patience ends.
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let over = Instant::now() + PATIENCE;
    loop {
        let got = attempt();
        if got.is_some() || Instant::now() > over {
            return got;
        }
        std::thread::yield_now();
    }
}

/// Frame `number` of the suite, `len` bytes long:
///
/// ```text
///   0         6        12          14       18
///   │ ff × 6  │ source │ 88 b5     │ number │ number + 0, number + 1, … (modulo 256)
/// ```
pub(super) fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&[0xff; 6]);
    bytes.extend_from_slice(&SOURCE);
    bytes.extend_from_slice(&ETHERTYPE);
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend((0..len.saturating_sub(bytes.len())).map(|at| (number as u8).wrapping_add(at as u8)));
    bytes
}

pub(super) fn is_ours(bytes: &[u8]) -> bool {
    bytes.get(12..14) == Some(&ETHERTYPE) && bytes.len() >= SHORTEST
}

pub(super) fn number_of(bytes: &[u8]) -> u32 {
    bytes[14..18].iter().fold(0, |number, &byte| (number << 8) | u32::from(byte))
}

pub(super) fn assert_same(bytes: &[u8], number: u32, len: usize) {
    assert_eq!(number_of(bytes), number, "the frames' order");
    assert_eq!(bytes.len(), len, "the length of frame {number}");
    assert!(bytes == frame(number, len), "the bytes of frame {number}");
}
