//! The asking side: a connection's commands on keys that belong elsewhere.

use freeway_base::FlowHash;
use freeway_memcache::text::reply::END;
use freeway_memcache::text::{self, Crawler, Get, Stats};
use freeway_memcache::{Decoder, KEY_MAX, Sink, Step, binary, meta};

use super::letter::AskFlags;
use super::parts::Is;
use super::{AskHead, Kind, LETTER_MAX, Sums};
use crate::answer::{ANSWER_MAX, Done};
use crate::connection::CacheState;
use crate::engine::{Engine, RESERVE, WAIT_MAX};
use crate::tasks::{Asker, NONE};

/// Keys of a multi-get whose memory is asked for together.
const BATCH: usize = 32;

/// What became of a command, if it was not for this core alone.
pub(crate) enum Routed {
    /// This core does it.
    Here,
    /// Another one was asked; so many bytes of the value went with the command.
    Asked(usize),
    /// There is no whole request.
    More,
    /// It cannot be begun now.
    Wait,
}

impl Engine {
    /// Whether another command can be begun behind those whose answers are awaited.
    #[inline]
    pub(crate) fn may_begin(&self, state: &CacheState) -> bool {
        if state.task == NONE {
            return true;
        }
        let queue = self.tasks.queue(state.task);
        queue.is_empty() || self.parts.has_room(queue)
    }

    /// How much of a value may be looked at that goes to another core: `None` when nothing can be sent there now, all of
    /// it when it stays here.
    #[inline]
    pub(crate) fn upload_room(&mut self, state: &CacheState) -> Option<usize> {
        if state.task == NONE {
            return Some(usize::MAX);
        }
        let upload = self.tasks.get(state.task).and_then(|task| task.upload);
        let Some(core) = upload.and_then(|ticket| self.parts.get(ticket)).map(|part| part.core) else {
            return Some(usize::MAX);
        };
        let peers = self.peers.as_mut()?;
        peers.asks.has_room(u32::from(core), AskHead::LEN + LETTER_MAX).then_some(LETTER_MAX)
    }

    /// Asks `core`; returns the ticket, or `None` when that cannot be now.
    fn ask(
        &mut self,
        state: &mut CacheState,
        core: u32,
        mut head: AskHead,
        bytes: [&[u8]; 2],
    ) -> Option<u16> {
        let asker = self.asker?;
        let len = AskHead::LEN + bytes[0].len() + bytes[1].len();
        if !self.peers.as_mut()?.asks.has_room(core, len) {
            return None;
        }
        let ticket = self.owe(state, asker, core, 1)?;
        head.ticket = ticket;
        self.peers.as_mut()?.asks.put(core, &[&head.bytes(), bytes[0], bytes[1]]);
        self.server.counters.asked += 1;
        Some(ticket)
    }

    /// A new part behind all that the connection is owed.
    fn owe(&mut self, state: &mut CacheState, asker: Asker, core: u32, answers: u16) -> Option<u16> {
        let task = self.tasks.open(&mut state.task)?;
        task.asker = Some(asker);
        let mut queue = task.queue;
        if matches!(asker, Asker::Datagram { .. }) {
            // Nothing of a datagram's answer can go before all of it is there.
            if queue.is_empty() {
                self.park(state, 0)?;
                queue = self.tasks.queue(state.task);
            } else if !self.parts.give_buffer(queue.first) {
                return None;
            }
        }
        let ticket = self.parts.push(&mut queue, state.task, core, answers);
        if ticket.is_some() && self.tasks.queue(state.task).is_empty() {
            self.direct = self.out.len();
        }
        if let Some(task) = self.tasks.get(state.task) {
            task.queue = queue;
        }
        self.tasks.close_if_over(&mut state.task);
        ticket
    }

    /// Puts the answers from `start` on behind what the connection is owed.
    pub(crate) fn park(&mut self, state: &mut CacheState, start: usize) -> Option<()> {
        let asker = self.asker;
        let bytes = self.out.data().get(start..).unwrap_or(&[]);
        if bytes.is_empty() {
            return Some(());
        }
        let task = self.tasks.open(&mut state.task)?;
        task.asker = asker;
        let mut queue = task.queue;
        let mut whole = !matches!(asker, Some(Asker::Datagram { .. }))
            || queue.is_empty()
            || self.parts.give_buffer(queue.first);
        for chunk in bytes.chunks(RESERVE) {
            whole = whole && self.parts.hold_behind(&mut queue, state.task, chunk);
        }
        task.queue = queue;
        self.out.truncate(start);
        whole.then_some(())
    }

    /// Puts what a command was answered behind what the connection is owed, if it is owed anything.
    #[inline]
    pub(crate) fn hold_answers(&mut self, state: &mut CacheState) {
        if state.task == NONE || self.out.len() <= self.direct {
            return;
        }
        if !self.tasks.queue(state.task).is_empty() {
            let held = self.park(state, self.direct);
            debug_assert!(held.is_some(), "a command begins when there is a buffer for its answer");
        }
    }

    // ---- single keys ----

    /// Asks the core that a command's key belongs to.
    pub(crate) fn route(
        &mut self,
        step: &Step<'_>,
        raw: &[u8],
        behind: &[u8],
        decoder: &mut Decoder,
        state: &mut CacheState,
    ) -> Routed {
        let mut buffer = [0; KEY_MAX];
        let Some(key) = key_of(step, &mut buffer) else {
            return match step {
                Step::Data(_) | Step::DataEnd { .. } => self.pass_on(step, raw, state),
                step => self.for_all(step, raw, state),
            };
        };
        let hash = self.server.hash(key);
        let Some(core) = self.peers.as_ref().and_then(|peers| peers.owner(hash)) else { return Routed::Here };
        let head = |kind| AskHead { hash, ..AskHead::new(kind, 0) };
        if !has_value(step) {
            return match self.ask(state, core, head(Kind::Command), [raw, b""]) {
                Some(_) => Routed::Asked(0),
                None => Routed::Wait,
            };
        }
        let mut whole = *decoder;
        let value = self.whole_value(&mut whole, behind).map(|(used, _)| used);
        match value.and_then(|used| behind.get(..used)).filter(|value| raw.len() + value.len() <= LETTER_MAX)
        {
            Some(value) => {
                if self.ask(state, core, head(Kind::Command), [raw, value]).is_none() {
                    return Routed::Wait;
                }
                *decoder = whole;
                Routed::Asked(value.len())
            }
            None if raw.len() + decoder.value_left() as usize + 2 <= WAIT_MAX => Routed::More,
            None => {
                let Some(ticket) = self.ask(state, core, head(Kind::Begin), [raw, b""]) else {
                    return Routed::Wait;
                };
                if let Some(part) = self.parts.get(ticket) {
                    part.is |= Is::SENDING;
                }
                if let Some(task) = self.tasks.get(state.task) {
                    task.upload = Some(ticket);
                }
                Routed::Asked(0)
            }
        }
    }

    /// Sends on a piece of a value that belongs elsewhere; the room for it was asked for before.
    fn pass_on(&mut self, step: &Step<'_>, raw: &[u8], state: &mut CacheState) -> Routed {
        let Some(task) = self.tasks.get(state.task) else { return Routed::Here };
        let Some(ticket) = task.upload else { return Routed::Here };
        let Some(part) = self.parts.get(ticket) else { return Routed::Here };
        if let Step::DataEnd { .. } = step {
            task.upload = None;
            part.is.remove(Is::SENDING);
        }
        let core = u32::from(part.core);
        if !raw.is_empty()
            && let Some(peers) = &mut self.peers
        {
            peers.asks.put(core, &[&AskHead::new(Kind::Piece, ticket).bytes(), raw]);
        }
        Routed::Asked(0)
    }

    // ---- many keys ----

    /// Answers a get from key number `done` on. Keys that belong elsewhere are asked for there, each on its own, since what
    /// is found must stand in the order in which it was asked for.
    pub(crate) fn get_everywhere(&mut self, get: &Get<'_>, state: &mut CacheState) -> Done {
        let mut keys = get.keys.skip(usize::from(state.done_keys())).peekable();
        let mut ended = false;
        while keys.peek().is_some() {
            let mut batch = arrayvec::ArrayVec::<(&[u8], FlowHash, Option<u32>), BATCH>::new();
            for key in keys.by_ref().take(BATCH) {
                let hash = self.server.hash(key);
                let owner = self.peers.as_ref().and_then(|peers| peers.owner(hash));
                if owner.is_none() {
                    self.server.cache.store.prefetch(hash);
                }
                batch.push((key, hash, owner));
            }
            if batch.len() > 1 {
                let own = batch.iter().filter(|(_, _, owner)| owner.is_none());
                own.for_each(|(_, hash, _)| self.server.cache.store.prefetch_item(*hash));
            }
            let last_batch = keys.peek().is_none();
            let count = batch.len();
            for (place, (key, hash, owner)) in batch.into_iter().enumerate() {
                let ends = last_batch && place + 1 == count && !get.more;
                if !self.out.has_room(RESERVE) {
                    return Done::Full;
                }
                let done = match owner {
                    Some(core) => self.fetch_from(core, get, key, hash, ends, state),
                    None if !self.may_begin(state) => Done::Wait,
                    None => {
                        let out = &mut self.out;
                        self.server.get_one(out, (get.cas, get.touch), key, hash)
                    }
                };
                match done {
                    Done::Answered | Done::Value(_) => state.add_done_key(),
                    done => return done,
                }
                if let Done::Value(_) = done {
                    return done;
                }
                self.hold_answers(state);
                ended = ends && owner.is_some();
            }
        }
        if !get.more && !ended {
            if !self.out.has_room(END.len()) {
                return Done::Full;
            }
            if !self.may_begin(state) {
                return Done::Wait;
            }
            self.out.put(END);
        }
        state.clear_done_keys();
        Done::Answered
    }

    fn fetch_from(
        &mut self,
        core: u32,
        get: &Get<'_>,
        key: &[u8],
        hash: FlowHash,
        ends: bool,
        state: &mut CacheState,
    ) -> Done {
        let mut head = AskHead { hash, ..AskHead::new(Kind::Fetch, 0) };
        head.flags.set(AskFlags::CAS, get.cas);
        head.flags.set(AskFlags::END, ends);
        if let Some(exptime) = get.touch {
            head.flags |= AskFlags::TOUCH;
            head.number = exptime.cast_unsigned();
        }
        let Some(ticket) = self.ask(state, core, head, [key, b""]) else { return Done::Wait };
        if ends && let Some(part) = self.parts.get(ticket) {
            part.is |= Is::END;
        }
        Done::Answered
    }

    // ---- all keys ----

    /// Tells all cores of a command that concerns them all.
    fn for_all(&mut self, step: &Step<'_>, raw: &[u8], state: &mut CacheState) -> Routed {
        let (tells, counts) = match step {
            Step::Text(text::Command::FlushAll { .. })
            | Step::Binary(binary::Request { command: binary::Command::Flush { .. }, .. }) => {
                (self.server.config.flush, false)
            }
            Step::Text(
                text::Command::CacheMemlimit { .. }
                | text::Command::Stats(Stats::Reset | Stats::SizesEnable | Stats::SizesDisable),
            )
            | Step::Binary(binary::Request { command: binary::Command::Stat { name: b"reset" }, .. }) => {
                (true, false)
            }
            Step::Text(
                text::Command::Stats(Stats::Sizes | Stats::Conns | Stats::Cachedump { .. })
                | text::Command::Watch(_)
                | text::Command::Shutdown { .. }
                | text::Command::Crawler(Crawler::Metadump(_) | Crawler::Mgdump(_)),
            ) => (false, false),
            Step::Text(text::Command::Stats(_))
            | Step::Binary(binary::Request { command: binary::Command::Stat { .. }, .. }) => (false, true),
            _ => return Routed::Here,
        };
        if !self.tasks.queue(state.task).is_empty() {
            return Routed::Wait;
        }
        match (tells, counts) {
            (true, _) => self.tell_all(raw, state),
            (false, true) => self.count_all(state),
            (false, false) => Routed::Here,
        }
    }

    fn tell_all(&mut self, raw: &[u8], state: &mut CacheState) -> Routed {
        match self.ask_all(Kind::Tell, Is::empty(), raw, state) {
            Some(()) if self.may_begin(state) => Routed::Here,
            // There is no buffer for the answer: the part is for nothing, and it is told again. That does no harm.
            _ => Routed::Wait,
        }
    }

    /// Asks for the counters of the other cores, unless they are there.
    fn count_all(&mut self, state: &mut CacheState) -> Routed {
        if !matches!(self.asker, Some(Asker::Conn(_))) {
            // Nothing of a datagram is read twice: it is told of this core.
            return Routed::Here;
        }
        if state.task != NONE && self.gather.task == state.task {
            if !self.gather.is_whole {
                return Routed::Wait;
            }
            self.server.others = self.gather.sums;
            return Routed::Here;
        }
        if self.gather.is_free()
            && self.ask_all(Kind::Count, Is::COUNTS, b"", state).is_some()
            && let Some(task) = self.tasks.get(state.task)
        {
            task.counts = true;
            self.gather.task = state.task;
        }
        Routed::Wait
    }

    /// What was gathered has been shown.
    pub(crate) fn end_count(&mut self, state: &mut CacheState) {
        self.server.others = Sums::default();
        if state.task != NONE && self.gather.task == state.task {
            self.gather.end(state.task);
            if let Some(task) = self.tasks.get(state.task) {
                task.counts = false;
            }
            self.tasks.close_if_over(&mut state.task);
        }
    }

    fn ask_all(&mut self, kind: Kind, is: Is, raw: &[u8], state: &mut CacheState) -> Option<()> {
        let asker = self.asker?;
        let peers = self.peers.as_mut()?;
        let others = peers.others();
        let len = AskHead::LEN + raw.len();
        if !others.clone().all(|core| peers.asks.has_room(core, len)) {
            return None;
        }
        let answers = peers.cores as u16 - 1;
        let ticket = self.owe(state, asker, 0, answers)?;
        if let Some(part) = self.parts.get(ticket) {
            part.is |= is;
        }
        let head = AskHead::new(kind, ticket).bytes();
        let peers = self.peers.as_mut()?;
        others.for_each(|core| {
            peers.asks.put(core, &[&head, raw]);
        });
        Some(())
    }

    /// Asks `core` for items from a place on, as a list that goes on with what the connection is sent.
    pub(crate) fn ask_list(&mut self, state: &mut CacheState, conn: freeway::ConnId) -> bool {
        let Some(dump) = self.tasks.get(state.task).and_then(|task| task.dump) else { return false };
        self.asker = Some(Asker::Conn(conn));
        let mut head = AskHead::new(Kind::Dump, 0);
        head.flags = AskFlags::of_list(dump.what);
        let rest = u64::from(dump.offset) | u64::from(dump.left) << 32;
        (head.number, head.hash) = (dump.segment, FlowHash(rest));
        let Some(ticket) = self.ask(state, dump.core, head, [b"", b""]) else { return false };
        if let Some(part) = self.parts.get(ticket) {
            part.is |= Is::LIST;
        }
        true
    }

    /// Tells the other cores of values that nobody wants any more, and of what watchers want to see.
    pub(crate) fn tell_cores(&mut self) {
        let Some(peers) = &mut self.peers else { return };
        while let Some((ticket, core)) = self.parts.to_abort() {
            if !peers.asks.put(core, &[&AskHead::new(Kind::Abort, ticket).bytes()]) {
                break;
            }
            self.parts.told();
        }
        for core in peers.others() {
            let Some(untold) = peers.untold.get_mut(core as usize).filter(|untold| **untold) else {
                continue;
            };
            let number = u32::from(self.watched.bits());
            let head = AskHead { number, ..AskHead::new(Kind::Watch, 0) };
            *untold = !peers.asks.put(core, &[&head.bytes()]);
        }
    }
}

/// The key of a command that has one, but for gets of the text protocol.
fn key_of<'a>(step: &Step<'a>, buffer: &'a mut meta::KeyBuffer) -> Option<&'a [u8]> {
    use binary::Command as B;
    use meta::Command as M;
    use text::Command as T;
    Some(match step {
        Step::Text(T::Store(store)) => store.key,
        Step::Text(T::Arithmetic(arithmetic)) => arithmetic.key,
        Step::Text(T::Delete { key, .. } | T::Touch { key, .. }) => key,
        Step::Meta(command) => match command {
            M::Get(get) => get.key.bytes(buffer),
            M::Set(set) => set.key.bytes(buffer),
            M::Delete(delete) => delete.key.bytes(buffer),
            M::Arithmetic(arithmetic) => arithmetic.key.bytes(buffer),
            M::Debug { key } => key.bytes(buffer),
            M::Noop => return None,
        },
        Step::Binary(request) => match &request.command {
            B::Store(store) => store.key,
            B::Get { key, .. } | B::Touch { key, .. } | B::Delete { key, .. } | B::Arithmetic { key, .. } => {
                key
            }
            B::Flush { .. } | B::Noop | B::Version | B::Stat { .. } | B::Quit => return None,
        },
        _ => return None,
    })
}

const fn has_value(step: &Step<'_>) -> bool {
    matches!(
        step,
        Step::Text(text::Command::Store(_))
            | Step::Meta(meta::Command::Set(_))
            | Step::Binary(binary::Request { command: binary::Command::Store(_), .. })
    )
}

const _: () = assert!(ANSWER_MAX >= END.len());
