//! Keys that belong to other cores.
//!
//! A key belongs to the core that its hash names. A request that arrives on another one is not served there: the core
//! that has the connection writes the owner a letter, the owner does what is asked as if it had come to itself, and writes
//! back the bytes of the answer. Values cross by copy, so that each store's memory stays with its core: a short one with
//! the answer, a long one piece by piece, as the connection's TCP takes it (or as it comes, on its way in).
//!
//! ```text
//!   connection's core                                    key's core
//!   command ─► part of the queue ── letter ──► asks  ──► engine (a guest's) ─► store
//!   TCP ◄── first part of the queue ◄────── answers ◄──── bytes
//! ```
//!
//! **Order.** What a connection is owed is a queue of [parts](parts), in the order of its commands: answers that are
//! awaited, and bytes that are there but stand behind one. The next commands are begun meanwhile, unless they concern all
//! keys. Two commands on one key reach its core in their order, since all letters between two cores do. Two on keys of
//! different cores may be done in either order until the first is answered, but not after: letters are written out
//! before the answers of a turn, and read after its frames and before its events.
//!
//! **Bounds.** A letter is refused when the ring is full: then its connection waits, with its requests unread. An answer
//! always has a place: the first of a queue goes to TCP, any other has a buffer from the start. So whoever waits is
//! waiting for something that comes.

mod answers;
mod ask;
mod gather;
mod letter;
pub(crate) mod parts;
mod serve;

use freeway::Post;
use freeway_base::FlowHash;
use freeway_memcache::text::Watch;

use crate::connection::CacheState;
use crate::events::EventLog;
pub(crate) use answers::Owed;
pub(crate) use ask::Routed;
pub(crate) use gather::{Gather, Levels, Sums};
pub(crate) use letter::{AnswerFlags, AnswerHead, AskHead, Kind};

/// Bytes of a request that goes in one letter, at most; longer ones go in pieces.
pub(crate) const LETTER_MAX: usize = 8 * 1024;

/// One core's way to the others, and what it does for them.
pub struct Peers {
    /// This core's number.
    pub(crate) core: u32,
    pub(crate) cores: u32,
    pub(crate) asks: Post,
    pub(crate) answers: Post,
    /// By asking core and ticket: what another core's connection has begun here.
    guests: Vec<Box<[Guest]>>,
    /// By asking core: where in its oldest bundle reading goes on.
    read: Vec<usize>,
    /// By answering core, the same for answers.
    answers_read: Vec<usize>,
    /// By asking core: what its watchers want to see.
    pub(crate) watches: Vec<Watch>,
    /// Another core's watchers want to see something else.
    pub(crate) watches_changed: bool,
    /// By core: it does not know yet what watchers here want to see.
    pub(crate) untold: Vec<bool>,
}

/// What another core's connection has begun here.
#[derive(Clone, Copy, Default)]
struct Guest {
    state: CacheState,
    /// Its value arrives, or leaves.
    open: bool,
    /// It has been answered.
    answered: bool,
}

impl Peers {
    /// `asks` and `answers` are this core's ends of two meshes; `tickets` is how many letters of one core may be unanswered.
    pub(crate) fn new(asks: Post, answers: Post, tickets: u16) -> Self {
        let cores = asks.cores();
        let guests =
            (0..cores).map(|_| vec![Guest::default(); usize::from(tickets)].into_boxed_slice()).collect();
        Self {
            core: asks.core(),
            cores,
            asks,
            answers,
            guests,
            read: vec![0; cores as usize],
            answers_read: vec![0; cores as usize],
            watches: vec![Watch::empty(); cores as usize],
            watches_changed: false,
            untold: vec![false; cores as usize],
        }
    }

    /// The core that a key belongs to, if that is another one.
    #[inline]
    pub(crate) fn owner(&self, hash: FlowHash) -> Option<u32> {
        Some(hash.core(self.cores)).filter(|&core| core != self.core)
    }

    /// All cores but this one.
    pub(crate) fn others(&self) -> impl Iterator<Item = u32> + Clone + use<> {
        let own = self.core;
        (0..self.cores).filter(move |&core| core != own)
    }

    /// Sends other cores' watchers the lines that they want to see, as far as there is room.
    pub(crate) fn tell_watchers(&mut self, log: &EventLog) {
        for core in self.others() {
            let Some(&watch) = self.watches.get(core as usize) else { continue };
            for (what, line) in log.lines().filter(|(what, _)| watch.intersects(*what)) {
                let number = u32::from(what.bits());
                let head = AnswerHead { flags: AnswerFlags::LINE, ticket: 0, number };
                self.answers.put(core, &[&head.bytes(), line]);
            }
        }
    }

    pub(crate) fn send(&mut self) {
        self.asks.send();
        self.answers.send();
    }

    pub(crate) fn has_mail(&mut self) -> bool {
        self.asks.has_mail() || self.answers.has_mail()
    }
}
