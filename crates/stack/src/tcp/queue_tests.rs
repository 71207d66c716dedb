//! Receive and send queues against plain vectors of bytes.

#![allow(clippy::unwrap_used)]

use alloc::rc::Rc;
use alloc::vec::Vec;

use freeway_base::HashKey;
use freeway_mem::{Arena, Packet, PacketPool, PoolConfig};
use proptest::prelude::*;

use super::NONE;
use super::gaps::Inserted;
use super::item::Store;
use crate::config::StackConfig;

/// The byte at a place of every stream in these tests.
const fn byte_at(place: u32) -> u8 {
    (place.wrapping_mul(0x9e37_79b9) >> 24) as u8
}

fn store() -> (Store, Arena) {
    let mut config = StackConfig::new(HashKey::new([1, 2]), HashKey::new([3, 4]));
    (config.max_connections, config.max_syn_received, config.max_time_wait) = (1, 1, 1);
    config.pool = PoolConfig { buffers: 512, ..PoolConfig::default() };
    config.large_pool.buffers = 1;
    config.max_items = 512;
    config.max_out_of_order = 64;
    let mut arena = Arena::heap(config.arena_layout::<()>().bytes()).unwrap();
    let pool = PacketPool::new(&mut arena, &config.pool).unwrap();
    let large = PacketPool::new(&mut arena, &config.large_pool).unwrap();
    (Store::new(&mut arena, &config, pool, large).unwrap(), arena)
}

fn packet(store: &Store, start: u32, len: u32) -> Packet {
    let mut packet = store.pool.alloc().unwrap();
    let bytes: Vec<u8> = (start..start + len).map(byte_at).collect();
    assert!(packet.copy_from_slice(&bytes));
    packet
}

/// A receiver as TCP drives it: `rcv_nxt` counts from `base`, so that sequence numbers wrap where the test likes.
struct Receiver {
    store: Store,
    _arena: Arena,
    list: u32,
    base: u32,
    rcv_nxt: u32,
    read: u32,
    finished: bool,
    /// Which bytes have come, in order or not.
    has: Vec<bool>,
}

impl Receiver {
    fn new(base: u32) -> Self {
        let (store, arena) = store();
        let has = alloc::vec![false; 4_096];
        Self { store, _arena: arena, list: NONE, base, rcv_nxt: 0, read: 0, finished: false, has }
    }

    /// What is held behind gaps is what has come, in runs as long as they are; some of them are reported.
    fn check_gaps(&mut self) {
        self.store.rx_check(self.list);
        if self.finished {
            assert!(self.store.rx_gaps(self.list).is_empty());
            return;
        }
        let mut runs = Vec::new();
        let has = |place: u32| self.has[place as usize];
        let mut place = self.rcv_nxt;
        while place < 4_096 {
            let end = (place..4_096).find(|&other| !has(other)).unwrap_or(4_096);
            if end > place {
                runs.push((place, end));
            }
            place = end + 1;
        }
        let gaps = self.store.rx_gaps(self.list);
        let reported: Vec<_> = gaps
            .iter()
            .map(|(from, to)| (from.0.wrapping_sub(self.base), to.0.wrapping_sub(self.base)))
            .collect();
        assert_eq!(reported.len(), runs.len().min(4), "{reported:?} of {runs:?}");
        assert!(reported.iter().all(|block| runs.contains(block)), "{reported:?} of {runs:?}");
    }

    /// A segment of `len` bytes from place `start` on, of a stream of `total` bytes that ends with a FIN.
    fn segment(&mut self, start: u32, len: u32, total: u32) {
        let end = (start + len).min(total);
        if self.finished || end < self.rcv_nxt || start > total {
            return;
        }
        // What lies left of `rcv_nxt` is cut off by TCP.
        let start = start.max(self.rcv_nxt).min(end);
        let seq = self.base.wrapping_add(start);
        self.has[start as usize..end as usize].fill(true);
        let packet = packet(&self.store, start, end - start);
        let fin = end == total;
        if start == self.rcv_nxt {
            self.finished |= fin;
            self.rcv_nxt = end;
            if end > start {
                assert!(self.store.rx_append(&mut self.list, seq, packet));
            }
            let (filled, finished) = self.store.rx_fill(&mut self.list, self.base.wrapping_add(self.rcv_nxt));
            self.rcv_nxt += filled;
            self.finished |= finished;
        } else {
            let inserted = self.store.rx_insert(&mut self.list, seq, packet, fin, 1 << 20);
            assert_ne!(inserted, Inserted::Full, "a gap's worth of segments is far below the bound");
        }
    }

    /// Reads at most `count` bytes and compares them.
    fn read(&mut self, count: u32) {
        let bytes = self.store.rx_peek(self.list);
        let count = bytes.len().min(count as usize);
        for (&byte, place) in bytes[..count].iter().zip(self.read..) {
            assert_eq!(byte, byte_at(place), "at {place}");
        }
        assert_eq!(self.store.rx_consume(self.list, count as u32), count as u32);
        self.read += count as u32;
    }

    /// Takes a piece out, and puts what is behind its first `keep` bytes back.
    fn take_and_put_back(&mut self, keep: u32) {
        let Some(mut piece) = self.store.rx_take(self.list) else { return };
        let keep = keep.min(piece.data().len() as u32);
        for (&byte, place) in piece.data()[..keep as usize].iter().zip(self.read..) {
            assert_eq!(byte, byte_at(place), "at {place}");
        }
        piece.trim_front(keep as usize);
        self.read += keep;
        self.store.rx_put_back(&mut self.list, piece, self.base.wrapping_add(self.rcv_nxt));
    }
}

#[test]
fn lent_memory_goes_back_with_its_last_item_and_its_place_is_used_again() {
    let (mut store, _arena) = store();
    let bytes: Rc<Vec<u8>> = Rc::new(alloc::vec![1; 100]);
    let mut list = NONE;
    let first = store.lend(bytes.clone()).unwrap();
    let second = store.lend(bytes.clone()).unwrap();
    assert_ne!(first.index, second.index);
    assert!(store.tx_push_lent(&mut list, first.index, 0, 100));
    store.take_back(first);
    assert!(!store.tx_push_lent(&mut list, first.index, 0, 100), "what was taken back is lent no more");
    assert_eq!(Rc::strong_count(&bytes), 3, "bytes in flight are still needed");
    store.tx_acked(list, 100);
    store.close_if_empty(&mut list);
    assert_eq!((Rc::strong_count(&bytes), list), (2, NONE));
    store.take_back(first);
    assert_eq!(store.lend(bytes.clone()).unwrap().index, first.index);
    assert_eq!(store.lend(bytes).unwrap().index, 2);
}

/// Inserts a segment of `len` bytes at `at`, the window being `window`.
fn insert(store: &mut Store, list: &mut u32, (at, len): (u32, u32), window: u32) -> Inserted {
    let packet = packet(store, at, len);
    store.rx_insert(list, at, packet, false, window)
}

#[test]
fn runs_are_bounded_by_their_number_and_segments_by_the_window() {
    let (mut store, _arena) = store();
    let mut list = NONE;
    for run in 0..64 {
        assert_eq!(insert(&mut store, &mut list, (100 + run * 100, 10), 1 << 20), Inserted::Stored);
    }
    assert_eq!(insert(&mut store, &mut list, (50, 10), 1 << 20), Inserted::Full, "one run more");
    assert_eq!(insert(&mut store, &mut list, (110, 10), 1 << 20), Inserted::Stored, "a run that grows");
    assert_eq!(insert(&mut store, &mut list, (120, 80), 1 << 20), Inserted::Stored, "two that become one");
    assert_eq!(insert(&mut store, &mut list, (50, 10), 1 << 20), Inserted::Stored);
    store.rx_check(list);
    store.clear(&mut list);
    // One run of as many segments as a window of 32 KiB has room for, and 64.
    let stored = |store: &mut Store, list: &mut u32| {
        (0..200).take_while(|&at| insert(store, list, (100 + at, 1), 32 << 10) == Inserted::Stored).count()
    };
    assert_eq!(stored(&mut store, &mut list), 32 + 64);
    store.clear(&mut list);
    assert_eq!(store.pool.in_use(), 0);
}

#[derive(Clone, Copy, Debug)]
enum Receive {
    Segment(u32, u32),
    Read(u32),
    Take(u32),
}

fn receive() -> impl Strategy<Value = Receive> {
    prop_oneof![
        4 => (0..3_000u32, 0..900u32).prop_map(|(start, len)| Receive::Segment(start, len)),
        8 => (1_000..3_000u32, 0..60u32).prop_map(|(start, len)| Receive::Segment(start, len)),
        1 => (0..2_000u32).prop_map(Receive::Read),
        1 => (0..600u32).prop_map(Receive::Take),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Send {
    Write(u32),
    Lend(u32),
    Transmit(u32, u32),
    Acknowledge(u32),
}

fn send() -> impl Strategy<Value = Send> {
    prop_oneof![
        3 => (1..3_000u32).prop_map(Send::Write),
        1 => (1..5_000u32).prop_map(Send::Lend),
        4 => (any::<u32>(), 1..1_460u32).prop_map(|(offset, len)| Send::Transmit(offset, len)),
        2 => any::<u32>().prop_map(Send::Acknowledge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_read_is_the_stream_whatever_the_order(
        base in prop_oneof![Just(0u32), Just(u32::MAX - 1_000), any::<u32>()],
        steps in proptest::collection::vec(receive(), 0..100),
    ) {
        const TOTAL: u32 = 3_000;
        let mut receiver = Receiver::new(base);
        for step in steps {
            match step {
                Receive::Segment(start, len) => receiver.segment(start, len, TOTAL),
                Receive::Read(count) => receiver.read(count),
                Receive::Take(keep) => receiver.take_and_put_back(keep),
            }
            receiver.check_gaps();
            let unread = receiver.rcv_nxt - receiver.read;
            prop_assert_eq!(receiver.store.rx_bytes(receiver.list), unread);
        }
        // Whatever is missing comes in order, and everything is read.
        while !receiver.finished {
            let next = receiver.rcv_nxt;
            receiver.segment(next, 700, TOTAL);
        }
        while receiver.read < TOTAL {
            receiver.read(u32::MAX);
        }
        receiver.store.close_if_empty(&mut receiver.list);
        prop_assert_eq!(receiver.list, NONE);
        prop_assert_eq!(receiver.store.pool.in_use(), 0);
        prop_assert_eq!(receiver.store.items.len(), 0);
    }

    #[test]
    fn what_is_sent_is_what_was_written_until_it_is_acknowledged(
        steps in proptest::collection::vec(send(), 0..80),
    ) {
        let (mut store, _arena) = store();
        let lent: Rc<Vec<u8>> = Rc::new((0..5_000).map(byte_at).collect());
        let lent_handle = store.lend(lent).unwrap();
        let mut list = NONE;
        // The bytes from the oldest unacknowledged one on.
        let mut model: Vec<u8> = Vec::new();
        // Frames that a driver still holds, so that their buffers are not free to be written.
        let mut in_flight = Vec::new();
        for step in steps {
            match step {
                Send::Write(count) => {
                    let bytes: Vec<u8> = (0..count).map(|place| byte_at(place ^ 0x5555)).collect();
                    let written = store.tx_write(&mut list, &bytes, 1_460);
                    model.extend(&bytes[..written]);
                }
                Send::Lend(count) => {
                    if store.has_room_to_send() && store.tx_push_lent(&mut list, lent_handle.index, 0, count) {
                        model.extend((0..count).map(byte_at));
                    }
                }
                Send::Transmit(offset, len) => {
                    let queued = model.len() as u32;
                    if queued == 0 {
                        continue;
                    }
                    let offset = offset % queued;
                    let len = len.min(queued - offset);
                    let Some(payload) = store.tx_payload(list, offset, len) else { continue };
                    prop_assert_eq!(payload.packet.data(), &model[offset as usize..(offset + len) as usize]);
                    if let Some(item) = payload.owner {
                        // As the host does: headers in front, one handle for the driver, one for the queue.
                        let mut packet = payload.packet;
                        packet.prepend(66).unwrap().fill(0xaa);
                        let mut frame = packet.share();
                        in_flight.extend(frame.try_clone());
                        frame.trim_front(66);
                        store.tx_restore(item, frame);
                    }
                    if in_flight.len() > 8 {
                        in_flight.clear();
                    }
                }
                Send::Acknowledge(count) => {
                    let count = count % (model.len() as u32 + 1);
                    store.tx_acked(list, count);
                    model.drain(..count as usize);
                }
            }
            prop_assert_eq!(store.tx_bytes(list) as usize, model.len());
        }
        store.tx_acked(list, model.len() as u32);
        in_flight.clear();
        store.close_if_empty(&mut list);
        prop_assert_eq!(list, NONE);
        prop_assert_eq!(store.pool.in_use(), 0);
        prop_assert_eq!(store.items.len(), 0);
    }
}
