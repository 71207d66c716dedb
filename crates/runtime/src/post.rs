//! Letters between the parts of an application that run on different cores.
//!
//! An application that divides its work by something other than flows has messages for itself on other cores. A
//! [`Post`] is one core's ends of the rings that carry them: one ring for every ordered pair of cores, as for frames.
//! Letters to one core are put together into a bundle, which goes into the ring as one frame, so that the other core's
//! cache lines are written once for many letters; and the reader has a bundle before it whole, so that it can ask for
//! the memory of all letters before it reads the first in earnest.
//!
//! ```text
//!   put, put, put ─► bundle │len│letter│len│letter│… ─► send ─► ring of bundles ─► read ─► letters
//! ```
//!
//! Nothing is ever dropped: a letter that has no room is refused, and its writer tries again later. So two cores that
//! ask one another and wait need two posts, one for questions and one for answers: who cannot write an answer leaves
//! questions unread, but answers must always be read.

use std::sync::Arc;

use freeway_mem::ring::{self, FrameConsumer, FrameProducer};

use crate::bell::Bell;
use crate::mailbox::Mailboxes;

/// Bytes before each letter: its length.
const HEAD: usize = 2;

/// How much the rings of a [`Post`] hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PostConfig {
    /// Bundles in one ring, a power of two. Default 16.
    pub slots: usize,
    /// Bytes of a bundle, at most 65,536; a letter has two bytes less at most. Default 16,384. One ring takes
    /// `slots * slot_size` bytes, and there are `cores * (cores - 1)`.
    pub slot_size: usize,
}

impl Default for PostConfig {
    fn default() -> Self {
        Self { slots: 16, slot_size: 16 * 1024 }
    }
}

freeway_base::counters! {
    /// What passes between an application's cores.
    pub struct PostCounters {
        /// Letters written.
        letters,
        /// Bundles they went in.
        bundles,
        /// Bundles read.
        bundles_read,
        /// Letters that had to wait: no room in the ring.
        refused,
        /// Sleeping cores that were woken.
        rung,
    }
}

/// One core's ends of the rings to and from all others.
pub struct Post {
    core: u32,
    /// By receiving core; none at this core's own place.
    outgoing: Vec<Option<Outbox>>,
    /// By sending core.
    incoming: Vec<Option<FrameConsumer>>,
    counters: PostCounters,
}

struct Outbox {
    ring: FrameProducer,
    bell: Arc<Bell>,
    bundle: Box<[u8]>,
    len: usize,
    /// Bundles went into the ring since the bell was last rung.
    to_ring: bool,
}

impl Post {
    /// The rings between the cores that `mailboxes` belong to, one element for each, in their order.
    pub fn mesh<'a>(mailboxes: impl IntoIterator<Item = &'a Mailboxes>, config: &PostConfig) -> Vec<Self> {
        let bells: Vec<_> = mailboxes.into_iter().map(|mailboxes| Arc::clone(mailboxes.bell())).collect();
        let cores = bells.len();
        let slot_size = config.slot_size.min(usize::from(u16::MAX) + 1);
        let none = |_| Self {
            core: 0,
            outgoing: (0..cores).map(|_| None).collect(),
            incoming: (0..cores).map(|_| None).collect(),
            counters: PostCounters::default(),
        };
        let mut all: Vec<Self> = (0..cores).map(none).collect();
        for from in 0..cores {
            all[from].core = from as u32;
            for to in (0..cores).filter(|&to| to != from) {
                let (producer, consumer) = ring::frames(config.slots, slot_size);
                all[from].outgoing[to] = Some(Outbox {
                    ring: producer,
                    bell: Arc::clone(&bells[to]),
                    bundle: vec![0; slot_size].into_boxed_slice(),
                    len: 0,
                    to_ring: false,
                });
                all[to].incoming[from] = Some(consumer);
            }
        }
        all
    }

    /// This core's number.
    pub const fn core(&self) -> u32 {
        self.core
    }

    /// How many cores there are, this one included.
    pub fn cores(&self) -> u32 {
        self.outgoing.len() as u32
    }

    /// What passed since the start.
    pub const fn counters(&self) -> &PostCounters {
        &self.counters
    }

    /// Whether a letter of `len` bytes to core `to` can be put now.
    #[inline]
    pub fn has_room(&mut self, to: u32, len: usize) -> bool {
        let Some(Some(outbox)) = self.outgoing.get_mut(to as usize) else { return false };
        let room = outbox.has_room(len, &mut self.counters);
        self.counters.refused += u64::from(!room);
        room
    }

    /// Writes a letter to core `to`, its parts one behind the other. It is seen after the next [`Post::send`] at the
    /// latest. False, and nothing done, if it has no room.
    #[inline]
    pub fn put(&mut self, to: u32, parts: &[&[u8]]) -> bool {
        let len = parts.iter().map(|part| part.len()).sum();
        let Some(Some(outbox)) = self.outgoing.get_mut(to as usize) else { return false };
        if !outbox.has_room(len, &mut self.counters) {
            self.counters.refused += 1;
            return false;
        }
        outbox.put(len, parts);
        self.counters.letters += 1;
        true
    }

    /// Makes what was put visible as far as the rings have room, and wakes the cores that sleep.
    #[inline]
    pub fn send(&mut self) {
        for outbox in self.outgoing.iter_mut().flatten() {
            outbox.push(&mut self.counters);
            if core::mem::take(&mut outbox.to_ring) {
                self.counters.rung += u64::from(outbox.bell.ring());
            }
        }
    }

    /// The oldest bundle of core `from`, where it lies; it stays the oldest until [`Post::release`].
    #[inline]
    pub fn read(&mut self, from: u32) -> Option<Letters<'_>> {
        let (bundle, _) = self.incoming.get_mut(from as usize)?.as_mut()?.peek()?;
        Some(Letters { bundle, at: 0 })
    }

    /// Lets go of the oldest bundle of core `from`.
    #[inline]
    pub fn release(&mut self, from: u32) {
        if let Some(Some(ring)) = self.incoming.get_mut(from as usize) {
            ring.release();
            self.counters.bundles_read += 1;
        }
    }

    /// Whether there is something to read, or something put that has not gone yet.
    pub fn has_mail(&mut self) -> bool {
        self.outgoing.iter().flatten().any(|outbox| outbox.len > 0)
            || self.incoming.iter_mut().flatten().any(|ring| ring.peek().is_some())
    }
}

impl Outbox {
    #[inline]
    fn has_room(&mut self, len: usize, counters: &mut PostCounters) -> bool {
        let len = HEAD + len;
        if len > self.bundle.len() {
            return false;
        }
        self.len + len <= self.bundle.len() || self.push(counters)
    }

    /// There is room.
    #[inline]
    fn put(&mut self, len: usize, parts: &[&[u8]]) {
        let head = (len as u16).to_le_bytes();
        for part in core::iter::once(head.as_slice()).chain(parts.iter().copied()) {
            if let Some(place) = self.bundle.get_mut(self.len..self.len + part.len()) {
                place.copy_from_slice(part);
                self.len += part.len();
            }
        }
    }

    /// Gives the bundle to the ring; false when the ring is full.
    #[inline]
    fn push(&mut self, counters: &mut PostCounters) -> bool {
        if self.len == 0 {
            return true;
        }
        let bundle = self.bundle.get(..self.len).unwrap_or(&[]);
        if !self.ring.push(bundle, 0) {
            return false;
        }
        self.ring.commit();
        counters.bundles += 1;
        self.len = 0;
        self.to_ring = true;
        true
    }
}

/// The letters of a bundle, in the order in which they were put.
#[derive(Clone, Copy, Debug)]
pub struct Letters<'a> {
    bundle: &'a [u8],
    at: usize,
}

impl Letters<'_> {
    /// Where the next letter stands, for [`Letters::from`].
    pub const fn position(&self) -> usize {
        self.at
    }

    /// The letters from a position on.
    #[must_use]
    pub const fn from(self, position: usize) -> Self {
        Self { at: position, ..self }
    }
}

impl<'a> Iterator for Letters<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (&[low, high], rest) = self.bundle.get(self.at..)?.split_first_chunk::<HEAD>()?;
        let letter = rest.get(..usize::from(u16::from_le_bytes([low, high])))?;
        self.at += HEAD + letter.len();
        Some(letter)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::mailbox::{MailConfig, mesh};

    const SMALL: PostConfig = PostConfig { slots: 2, slot_size: 64 };

    fn posts(cores: u32) -> (Vec<Mailboxes>, Vec<Post>) {
        let mail = mesh(cores, &MailConfig { slots: 2, slot_size: 64 }).unwrap();
        let posts = Post::mesh(&mail, &SMALL);
        (mail, posts)
    }

    fn read(post: &mut Post, from: u32) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(letters) = post.read(from) {
            all.extend(letters.map(<[u8]>::to_vec));
            post.release(from);
        }
        all
    }

    #[test]
    fn letters_arrive_in_order_once_they_are_sent() {
        let (_mail, mut posts) = posts(3);
        assert!(posts[0].put(2, &[b"first ", b"letter"]));
        assert!(posts[0].put(2, &[b""]));
        assert!(posts[0].put(1, &[b"to another"]));
        assert!(!posts[2].has_mail());
        posts[0].send();
        assert!(posts[2].has_mail() && posts[1].has_mail() && !posts[0].has_mail());
        assert_eq!(read(&mut posts[2], 0), [b"first letter".to_vec(), b"".to_vec()]);
        assert_eq!(read(&mut posts[2], 1), Vec::<Vec<u8>>::new());
        assert_eq!(read(&mut posts[1], 0), [b"to another".to_vec()]);
        assert_eq!(posts[0].counters().letters, 3);
    }

    #[test]
    fn what_has_no_room_is_refused_and_nothing_is_lost() {
        let (_mail, mut posts) = posts(2);
        let (mut written, mut heard) = (0_u32, Vec::new());
        let mut refused = 0_u64;
        while written < 1_000 {
            if posts[0].put(1, &[&written.to_le_bytes(), &[7; 13]]) {
                written += 1;
            } else {
                refused += 1;
                heard.extend(read(&mut posts[1], 0));
            }
        }
        posts[0].send();
        heard.extend(read(&mut posts[1], 0));
        while posts[0].has_mail() {
            posts[0].send();
            heard.extend(read(&mut posts[1], 0));
        }
        // Three letters of 19 bytes to a bundle, two bundles in the ring and one before it.
        assert!(refused >= 1_000 / 9);
        assert_eq!(refused, posts[0].counters().refused);
        let numbers: Vec<u32> =
            heard.iter().map(|letter| u32::from_le_bytes(letter[..4].try_into().unwrap())).collect();
        assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
        assert_eq!(posts[1].counters().bundles_read, posts[0].counters().bundles);
    }

    #[test]
    fn a_letter_longer_than_a_bundle_is_refused() {
        let (_mail, mut posts) = posts(2);
        assert!(!posts[0].put(1, &[&[0; 63]]));
        assert!(posts[0].put(1, &[&[0; 62]]));
        assert!(!posts[0].put(0, &[b"to oneself"]) && !posts[0].put(9, &[b"to nobody"]));
    }

    #[test]
    fn reading_goes_on_where_it_was() {
        let (_mail, mut posts) = posts(2);
        for letter in [b"a", b"b", b"c"] {
            posts[0].put(1, &[letter]);
        }
        posts[0].send();
        let letters = posts[1].read(0).unwrap();
        let mut first = letters;
        assert_eq!(first.by_ref().take(2).collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(letters.from(first.position()).collect::<Vec<_>>(), [b"c"]);
        assert_eq!(letters.from(100).count(), 0);
    }

    #[test]
    fn a_sleeper_is_rung_once() {
        let (mail, mut posts) = posts(2);
        posts[0].put(1, &[b"letter"]);
        posts[0].send();
        assert_eq!(posts[0].counters().rung, 0);
        mail[1].bell().arm();
        posts[0].put(1, &[b"letter"]);
        posts[0].send();
        posts[0].send();
        assert_eq!(posts[0].counters().rung, 1);
    }
}
