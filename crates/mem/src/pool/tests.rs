//! The pool against a model, and its borders.

#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::ArenaLayout;

fn config(buffers: u32) -> PoolConfig {
    PoolConfig { buffers, buffer_size: 256, headroom: 32, ..PoolConfig::default() }
}

fn pool(config: &PoolConfig) -> PacketPool {
    let mut arena = Arena::heap(ArenaLayout::new().pool(config).bytes()).unwrap();
    PacketPool::new(&mut arena, config).unwrap()
}

fn packet(pool: &PacketPool, bytes: &[u8]) -> Packet {
    let mut packet = pool.alloc().unwrap();
    packet.append(bytes.len()).unwrap().copy_from_slice(bytes);
    packet
}

#[test]
fn the_headroom_is_written_without_moving_the_data() {
    let pool = pool(&config(1));
    let mut packet = pool.alloc().unwrap();
    packet.append(4).unwrap().copy_from_slice(b"data");
    let headroom = packet.headroom();
    packet.headroom_mut(6).unwrap().copy_from_slice(b"before");
    assert_eq!((packet.data(), packet.headroom()), (&b"data"[..], headroom));
    assert!(packet.headroom_mut(headroom + 1).is_none());
    assert_eq!(packet.headroom_mut(headroom).unwrap().len(), headroom);
    assert_eq!(packet.headroom_mut(0).unwrap().len(), 0);
    let packet = packet.share();
    let mut later = packet.try_clone().unwrap();
    later.trim_front(2);
    assert_eq!((packet.before(6), later.before(4)), (Some(&b"before"[..]), Some(&b"reda"[..])));
    assert_eq!(
        (packet.before(headroom).map(<[u8]>::len), packet.before(headroom + 1)),
        (Some(headroom), None)
    );
    drop(later);
    let mut packet = packet.try_unique().unwrap();
    assert_eq!(packet.prepend(6).unwrap(), b"before");
    assert_eq!(packet.data(), b"beforedata");
}

#[test]
fn a_copy_knows_nothing_of_what_stood_before_the_data() {
    let all = PacketFlags::all();
    assert_eq!(all.of_copy(), PacketFlags::CHECKSUM_GOOD | PacketFlags::CHECKSUM_NEEDED);
}

#[test]
fn a_fresh_packet_is_empty_at_the_headroom() {
    let pool = pool(&config(1));
    let packet = pool.alloc().unwrap();
    assert_eq!((packet.len(), packet.headroom(), packet.tailroom()), (0, 32, 224));
    assert_eq!((packet.data(), packet.flags()), (&[][..], PacketFlags::empty()));
    assert!(packet.is_empty());
}

#[test]
fn edges_move_and_stop_at_the_ends_of_the_buffer() {
    let pool = pool(&config(1));
    let mut packet = packet(&pool, b"middle");
    packet.prepend(4).unwrap().copy_from_slice(b"head");
    packet.append(4).unwrap().copy_from_slice(b"tail");
    assert_eq!(packet.data(), b"headmiddletail");
    assert!(packet.prepend(29).is_none());
    assert!(packet.append(packet.tailroom() + 1).is_none());
    assert!(packet.append(usize::MAX).is_none());
    assert!(packet.prepend(usize::MAX).is_none());
    assert_eq!(packet.data(), b"headmiddletail");
    packet.trim_front(4);
    packet.truncate(6);
    packet.truncate(7);
    assert_eq!(packet.data(), b"middle");
    packet.trim_front(usize::MAX);
    assert_eq!((packet.len(), packet.headroom()), (0, 38));
    assert_eq!(packet.append(packet.tailroom()).unwrap().len(), 218);
    assert_eq!(packet.prepend(38).unwrap().len(), 38);
    assert_eq!(packet.len(), 256);
    packet.reset();
    assert_eq!((packet.len(), packet.headroom()), (0, 32));
}

#[test]
fn copying_a_slice_replaces_the_data() {
    let pool = pool(&config(1));
    let mut packet = packet(&pool, b"something longer");
    packet.set_flags(PacketFlags::CHECKSUM_NEEDED);
    assert!(packet.copy_from_slice(b"short"));
    assert!(!packet.copy_from_slice(&[0; 225]));
    assert_eq!((packet.data(), packet.headroom()), (&b"short"[..], 32));
    assert_eq!(packet.flags(), PacketFlags::CHECKSUM_NEEDED);
}

#[test]
fn the_largest_buffers_hold_a_whole_datagram() {
    let config = PoolConfig { buffers: 2, buffer_size: 128 << 10, headroom: 128, ..PoolConfig::default() };
    let pool = pool(&config);
    let mut packet = pool.alloc().unwrap();
    packet.append(65_535).unwrap().fill(7);
    assert!(packet.append(1).is_none() && packet.prepend(1).is_none());
    assert_eq!(packet.tailroom(), 131_071 - 128 - 65_535);
    packet.data_mut()[65_534] = 9;
    packet.trim_front(65_534);
    assert_eq!(packet.data(), [9]);
    packet.append(65_000).unwrap();
    packet.trim_front(usize::MAX);
    packet.append(packet.tailroom()).unwrap();
    packet.trim_front(usize::MAX);
    assert_eq!((packet.headroom(), packet.len(), packet.tailroom()), (131_071, 0, 0));
    assert_eq!(packet.flags(), PacketFlags::empty());
    packet.reset();
    assert_eq!(packet.headroom(), 128);
}

#[test]
fn the_pool_is_a_stack_and_counts() {
    let pool = pool(&config(3));
    let first = pool.alloc().unwrap();
    let index = first.buffer();
    drop(first);
    assert_eq!(pool.alloc().unwrap().buffer(), index);
    let all: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!((all.len(), pool.in_use(), pool.available()), (3, 3, 0));
    drop(all);
    assert_eq!(pool.stats(), PoolStats { capacity: 3, available: 3, low_water: 0, failures: 1 });
}

#[test]
fn shared_views_are_independent_and_flags_travel() {
    let pool = pool(&config(1));
    let mut packet = packet(&pool, b"abcdef");
    packet.set_flags(PacketFlags::CHECKSUM_GOOD);
    let mut one = packet.share();
    let mut two = one.try_clone().unwrap();
    one.trim_front(2);
    two.truncate(3);
    two.set_flags(PacketFlags::all());
    assert_eq!((one.data(), two.data()), (&b"cdef"[..], &b"abc"[..]));
    assert_eq!((one.flags(), two.flags()), (PacketFlags::CHECKSUM_GOOD, PacketFlags::all()));
    let one = one.try_unique().unwrap_err();
    drop(two);
    let mut packet = one.try_unique().unwrap();
    assert_eq!((packet.headroom(), packet.flags()), (34, PacketFlags::CHECKSUM_GOOD));
    packet.prepend(2).unwrap();
    assert_eq!(packet.data(), b"abcdef");
}

#[test]
fn holders_are_counted_to_255_and_no_further() {
    let pool = pool(&config(1));
    let mut all = vec![packet(&pool, b"x").share()];
    while let Some(another) = all[0].try_clone() {
        all.push(another);
    }
    assert_eq!(all.len(), 255);
    let parked: Vec<_> = all.drain(..).map(SharedPacket::park).collect();
    assert_eq!(pool.view(&parked[254]), Some(&b"x"[..]));
    all.extend(parked.into_iter().map(|parked| pool.unpark(parked).unwrap()));
    all.truncate(1);
    assert!(all[0].is_unique());
    drop(all);
    assert_eq!(pool.available(), 1);
}

#[test]
fn parcels_go_back_to_their_own_pool_only() {
    let (one, two) = (pool(&config(1)), pool(&config(1)));
    let parked = packet(&one, b"mine").share().park();
    assert_eq!((two.view(&parked), one.view(&parked)), (None, Some(&b"mine"[..])));
    assert_eq!((parked.len(), parked.is_empty()), (4, false));
    let parked = two.unpark(parked).unwrap_err();
    let shared = one.clone().unpark(parked).unwrap();
    assert!(shared.is_unique());
    assert_eq!(shared.data(), b"mine");
}

#[test]
fn a_parked_holder_keeps_the_others_from_writing() {
    let pool = pool(&config(1));
    let shared = packet(&pool, b"x").share();
    let parked = shared.try_clone().unwrap().park();
    let shared = shared.try_unique().unwrap_err();
    drop(pool.unpark(parked).unwrap());
    assert!(shared.try_unique().is_ok());
}

#[test]
fn packets_outlive_the_handles_and_the_arena() {
    let pool = pool(&config(3));
    let mapping = Rc::downgrade(pool.inner().mapping());
    let kept = packet(&pool, b"kept");
    let shared = packet(&pool, b"shared").share();
    let clone = shared.try_clone().unwrap();
    drop(pool.clone());
    drop(pool);
    drop(shared);
    assert_eq!((kept.data(), clone.data()), (&b"kept"[..], &b"shared"[..]));
    drop(kept);
    assert!(mapping.upgrade().is_some());
    drop(clone);
    assert!(mapping.upgrade().is_none());
}

#[test]
fn parcels_are_given_up_with_the_last_handle() {
    let pool = pool(&config(3));
    let mapping = Rc::downgrade(pool.inner().mapping());
    let lost = packet(&pool, b"lost").share().park();
    let shared = packet(&pool, b"shared").share();
    let half_lost = [shared.try_clone().unwrap().park(), shared.try_clone().unwrap().park()];
    drop(pool);
    assert_eq!(shared.data(), b"shared");
    assert!(shared.is_unique());
    assert!(mapping.upgrade().is_some());
    drop(shared);
    assert!(mapping.upgrade().is_none());
    let _ = (lost, half_lost);
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    let mut arena = Arena::heap(1 << 20).unwrap();
    let mut refuse =
        |config| assert!(matches!(PacketPool::new(&mut arena, &config), Err(ArenaError::BadPool(_))));
    refuse(config(0));
    refuse(config(INDEX_MAX + 2));
    refuse(PoolConfig { buffer_size: 2_000, ..config(1) });
    refuse(PoolConfig { buffer_size: 32, ..config(1) });
    refuse(PoolConfig { buffer_size: 256 << 10, ..config(1) });
    refuse(PoolConfig { headroom: 256, ..config(1) });
    let full = PacketPool::new(&mut arena, &config(1 << 20));
    assert!(matches!(full, Err(ArenaError::Full { .. })));
}

/// One handle, as the model sees it: what it is, and what its bytes must be.
enum Handle {
    Owned(Packet),
    Shared(SharedPacket),
    Parked(Parked),
}

impl Handle {
    fn buffer(&self) -> u32 {
        match self {
            Self::Owned(packet) => packet.buffer(),
            Self::Shared(packet) => packet.buffer(),
            Self::Parked(parked) => parked.place().index(),
        }
    }

    fn data<'a>(&'a self, pool: &'a PacketPool) -> &'a [u8] {
        match self {
            Self::Owned(packet) => packet.data(),
            Self::Shared(packet) => packet.data(),
            Self::Parked(parked) => pool.view(parked).unwrap(),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Alloc(u8),
    Drop(usize),
    Share(usize),
    Clone(usize),
    Park(usize),
    Unpark(usize),
    Unique(usize),
    Prepend(usize, u8),
    Append(usize, u8),
    Trim(usize, u8),
    Truncate(usize, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..16_usize;
    let step = prop_oneof![
        3 => (0..=255_u8).prop_map(Step::Alloc),
        2 => which.clone().prop_map(Step::Drop),
        2 => which.clone().prop_map(Step::Share),
        3 => which.clone().prop_map(Step::Clone),
        3 => which.clone().prop_map(Step::Park),
        2 => which.clone().prop_map(Step::Unpark),
        2 => which.clone().prop_map(Step::Unique),
        1 => (which.clone(), 0..=255_u8).prop_map(|(which, count)| Step::Prepend(which, count)),
        1 => (which.clone(), 0..=255_u8).prop_map(|(which, count)| Step::Append(which, count)),
        1 => (which.clone(), 0..=64_u8).prop_map(|(which, count)| Step::Trim(which, count)),
        1 => (which, 0..=255_u8).prop_map(|(which, count)| Step::Truncate(which, count)),
    ];
    prop::collection::vec(step, 0..if cfg!(miri) { 40 } else { 200 })
}

/// Handles and the bytes that each must show.
#[derive(Default)]
struct Model {
    handles: Vec<(Handle, Vec<u8>)>,
    stamp: u8,
}

impl Model {
    fn apply(&mut self, pool: &PacketPool, step: &Step) {
        self.stamp = self.stamp.wrapping_add(1);
        match *step {
            Step::Alloc(len) => self.alloc(pool, len.into()),
            Step::Drop(which) => drop(self.take(pool, which)),
            Step::Share(which) => self.change(pool, which, |handle, _| match handle {
                Handle::Owned(packet) => Handle::Shared(packet.share()),
                other => other,
            }),
            Step::Clone(which) => self.clone(which),
            Step::Park(which) => self.change(pool, which, |handle, _| match handle {
                Handle::Owned(packet) => Handle::Parked(packet.share().park()),
                Handle::Shared(packet) => Handle::Parked(packet.park()),
                parked @ Handle::Parked(_) => parked,
            }),
            Step::Unpark(which) => self.change(pool, which, |handle, _| match handle {
                Handle::Parked(parked) => Handle::Shared(pool.unpark(parked).unwrap()),
                other => other,
            }),
            Step::Unique(which) => {
                let holders = self.holders();
                self.change(pool, which, |handle, _| match handle {
                    Handle::Shared(packet) => {
                        let alone = holders[&packet.buffer()] == 1;
                        assert_eq!(packet.is_unique(), alone);
                        match packet.try_unique() {
                            Ok(packet) if alone => Handle::Owned(packet),
                            Err(packet) if !alone => Handle::Shared(packet),
                            other => panic!("{other:?}, although alone is {alone}"),
                        }
                    }
                    other => other,
                });
            }
            Step::Prepend(which, count) => self.grow(pool, which, count, true),
            Step::Append(which, count) => self.grow(pool, which, count, false),
            Step::Trim(which, count) => self.change(pool, which, |mut handle, bytes| {
                let count = usize::from(count);
                match &mut handle {
                    Handle::Owned(packet) => packet.trim_front(count),
                    Handle::Shared(packet) => packet.trim_front(count),
                    Handle::Parked(_) => return handle,
                }
                bytes.drain(..count.min(bytes.len()));
                handle
            }),
            Step::Truncate(which, len) => self.change(pool, which, |mut handle, bytes| {
                match &mut handle {
                    Handle::Owned(packet) => packet.truncate(len.into()),
                    Handle::Shared(packet) => packet.truncate(len.into()),
                    Handle::Parked(_) => return handle,
                }
                bytes.truncate(len.into());
                handle
            }),
        }
    }

    fn alloc(&mut self, pool: &PacketPool, len: usize) {
        let used: HashSet<_> = self.handles.iter().map(|(handle, _)| handle.buffer()).collect();
        let Some(mut packet) = pool.alloc() else {
            assert_eq!(used.len(), pool.capacity() as usize);
            return;
        };
        assert!(!used.contains(&packet.buffer()), "a buffer was given out twice");
        let len = len.min(packet.tailroom());
        packet.append(len).unwrap().fill(self.stamp);
        self.handles.push((Handle::Owned(packet), vec![self.stamp; len]));
    }

    fn clone(&mut self, which: usize) {
        if let Some((Handle::Shared(packet), bytes)) = self.handles.get(which) {
            let another = (Handle::Shared(packet.try_clone().unwrap()), bytes.clone());
            self.handles.push(another);
        }
    }

    fn grow(&mut self, pool: &PacketPool, which: usize, count: u8, front: bool) {
        let stamp = self.stamp;
        self.change(pool, which, |mut handle, bytes| {
            let Handle::Owned(packet) = &mut handle else { return handle };
            let count = usize::from(count);
            let room = if front { packet.headroom() } else { packet.tailroom() };
            let space = if front { packet.prepend(count) } else { packet.append(count) };
            assert_eq!(space.is_some(), count <= room);
            if let Some(space) = space {
                space.fill(stamp);
                let at = if front { 0 } else { bytes.len() };
                bytes.splice(at..at, vec![stamp; count]);
            }
            handle
        });
    }

    /// The handle, unless there is none of that number, or it would be lost with a parcel in it.
    fn take(&mut self, pool: &PacketPool, which: usize) -> Option<Handle> {
        let (handle, _) = (which < self.handles.len()).then(|| self.handles.swap_remove(which))?;
        Some(match handle {
            Handle::Parked(parked) => Handle::Shared(pool.unpark(parked).unwrap()),
            other => other,
        })
    }

    fn change(&mut self, _: &PacketPool, which: usize, change: impl FnOnce(Handle, &mut Vec<u8>) -> Handle) {
        if which < self.handles.len() {
            let (handle, mut bytes) = self.handles.swap_remove(which);
            let handle = change(handle, &mut bytes);
            self.handles.push((handle, bytes));
        }
    }

    fn holders(&self) -> HashMap<u32, usize> {
        let mut holders = HashMap::new();
        for (handle, _) in &self.handles {
            *holders.entry(handle.buffer()).or_default() += 1;
        }
        holders
    }

    fn check(&self, pool: &PacketPool) {
        assert_eq!(pool.in_use() as usize, self.holders().len());
        for (handle, bytes) in &self.handles {
            assert_eq!(handle.data(pool), bytes);
        }
    }
}

fn cases() -> ProptestConfig {
    let failure_persistence = None;
    ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, failure_persistence, ..Default::default() }
}

proptest! {
    #![proptest_config(cases())]

    /// No buffer has two owners, none is lost, and no holder's bytes change behind its back.
    #[test]
    fn any_sequence_keeps_buffers_and_bytes_apart(steps in steps(), handle_goes_first: bool) {
        let pool = pool(&config(6));
        let mapping = Rc::downgrade(pool.inner().mapping());
        let mut model = Model::default();
        for step in &steps {
            model.apply(&pool, step);
            model.check(&pool);
        }
        if handle_goes_first {
            drop(pool);
            for (handle, bytes) in model.handles {
                match handle {
                    Handle::Owned(packet) => assert_eq!(packet.data(), bytes),
                    Handle::Shared(packet) => assert_eq!(packet.data(), bytes),
                    Handle::Parked(_) => {}
                }
            }
        } else {
            while model.take(&pool, 0).is_some() {}
            prop_assert_eq!(pool.available(), 6);
            drop(pool);
        }
        prop_assert!(mapping.upgrade().is_none(), "the pool outlived its last packet");
    }
}

#[test]
#[cfg_attr(miri, ignore = "Miri knows no files without a name")]
fn shared_buffers_lie_in_a_file_of_their_own() {
    let config = PoolConfig { shared: true, ..config(16) };
    assert!(ArenaLayout::new().pool(&config).bytes() < ArenaLayout::new().pool(&self::config(16)).bytes());
    let pool = pool(&config);
    let mut packets: Vec<_> = (0..16_u8).map(|number| packet(&pool, &[number; 9])).collect();
    // SAFETY: needed to see the file as another process would. Nobody writes to it.
    let shared = unsafe { pool.memory().file() }.unwrap();
    assert!(pool.memory().is_shared() && pool.memory().bytes == 16 * 320 && shared.bytes >= 16 * 320);
    for (number, packet) in (0..).zip(&mut packets) {
        packet.trim_front(1);
        assert_eq!(packet.region_offset(), packet.buffer() as usize * 320 + 32 + 1);
        let mut bytes = [0; 8];
        rustix::io::pread(shared.file, &mut bytes, packet.region_offset() as u64).unwrap();
        assert_eq!(bytes, [number; 8]);
    }
    let last = packets.remove(15).share();
    assert_eq!(last.region_offset(), last.buffer() as usize * 320 + 33);
    assert!(pool.owns(&last) && !self::pool(&config).owns(&last));
    // Nobody who has the file can take the memory away.
    assert_eq!(rustix::fs::ftruncate(shared.file, 0), Err(rustix::io::Errno::PERM));
    drop(packets);
    drop(pool);
    assert_eq!(last.data(), [15; 8]);
}

#[test]
fn buffers_lie_side_by_side_or_a_line_apart() {
    for (spread, stride) in [(false, 256), (true, 320)] {
        let pool = pool(&PoolConfig { spread, ..config(3) });
        assert_eq!((pool.buffer_size(), pool.stride()), (256, stride));
        let packets: Vec<_> = (0..3).map(|_| packet(&pool, &[7; 224])).collect();
        for (number, packet) in packets.iter().enumerate() {
            assert_eq!(packet.region_offset(), number * stride as usize + 32);
            assert_eq!((packet.tailroom(), packet.data()), (0, &[7; 224][..]));
        }
        assert_eq!(pool.memory().bytes, 3 * stride as usize);
    }
}

#[test]
fn buffers_in_the_arena_are_shared_with_nobody() {
    let pool = pool(&config(2));
    // SAFETY: needed to ask; there is no file to misuse.
    assert!(!pool.memory().is_shared() && unsafe { pool.memory().file() }.is_none());
}
