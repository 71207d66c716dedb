//! The answering side: what other cores ask, done as if it had come here.

use freeway::Letters;
use freeway_memcache::text::Watch;
use freeway_memcache::text::reply::END;
use freeway_memcache::{Decoder, Protocol, Refusal, Sink};

use super::letter::{AskFlags, LIST_HEAD};
use super::{AnswerFlags, AnswerHead, AskHead, Guest, Kind, LETTER_MAX, Peers, Sums};
use crate::answer::Done;
use crate::connection::CacheState;
use crate::engine::{Engine, RESERVE};
use crate::out::OUT_MAX;
use crate::tasks::{Dump, NONE};

/// Letters whose keys are looked for together.
const BATCH: usize = 32;
/// The longest letters that one question brings.
const ROOM: usize = 2 * AnswerHead::LEN + if RESERVE > LETTER_MAX { RESERVE } else { LETTER_MAX };

impl Engine {
    /// Answers what other cores have asked, all that has come unless there is no room for the answers. Returns how many
    /// letters that were.
    pub(crate) fn serve(&mut self) -> usize {
        // Without peers nothing goes further.
        let Some(mut peers) = self.peers.take() else { return 0 };
        let count = peers.others().map(|core| self.serve_core(&mut peers, core)).sum();
        self.peers = Some(peers);
        count
    }

    fn serve_core(&mut self, peers: &mut Peers, from: u32) -> usize {
        let Peers { asks, answers, guests, read, watches, watches_changed, .. } = peers;
        let place = from as usize;
        let (Some(guests), Some(read), Some(watch)) =
            (guests.get_mut(place), read.get_mut(place), watches.get_mut(place))
        else {
            return 0;
        };
        let mut count = 0;
        while let Some(letters) = asks.read(from) {
            let mut letters = letters.from(*read);
            loop {
                self.prefetch(letters);
                let mut any = false;
                for _ in 0..BATCH {
                    if !answers.has_room(from, ROOM) {
                        return count;
                    }
                    let Some(letter) = letters.next() else { break };
                    any = true;
                    count += 1;
                    *read = letters.position();
                    let Some((head, bytes)) = AskHead::parse(letter) else { continue };
                    if head.kind == Kind::Watch {
                        *watch = Watch::from_bits_truncate(head.number as u16);
                        *watches_changed = true;
                        continue;
                    }
                    let Some(guest) = guests.get_mut(usize::from(head.ticket)) else { continue };
                    self.out.begin(OUT_MAX);
                    let mut send = |flags, bytes: &[u8]| {
                        let head = AnswerHead { flags, ticket: head.ticket, number: 0 };
                        let sent = answers.put(from, &[&head.bytes(), bytes]);
                        debug_assert!(sent, "the room was asked for");
                    };
                    self.answer_letter(&head, bytes, guest, &mut send);
                }
                if !any {
                    break;
                }
            }
            *read = 0;
            asks.release(from);
        }
        count
    }

    /// Asks for the memory of the next letters' keys.
    fn prefetch(&self, letters: Letters<'_>) {
        let keyed = |letter| {
            let (head, _) = AskHead::parse(letter)?;
            matches!(head.kind, Kind::Fetch | Kind::Command).then_some(head.hash)
        };
        letters.take(BATCH).filter_map(keyed).for_each(|hash| self.server.cache.store.prefetch(hash));
        letters.take(BATCH).filter_map(keyed).for_each(|hash| self.server.cache.store.prefetch_item(hash));
    }

    fn answer_letter(
        &mut self,
        head: &AskHead,
        bytes: &[u8],
        guest: &mut Guest,
        send: &mut dyn FnMut(AnswerFlags, &[u8]),
    ) {
        self.server.counters.served +=
            u64::from(matches!(head.kind, Kind::Fetch | Kind::Command | Kind::Begin));
        match head.kind {
            Kind::Fetch => {
                let more = self.fetch_for(head, bytes, guest);
                send(if more { AnswerFlags::MORE } else { AnswerFlags::empty() }, self.out.data());
            }
            Kind::Command => {
                *guest = Guest { state: fresh(), open: false, answered: true };
                self.run(bytes, &mut guest.state);
                guest.open = guest.state.task != NONE;
                send(if guest.open { AnswerFlags::MORE } else { AnswerFlags::empty() }, self.out.data());
            }
            Kind::Begin | Kind::Piece => {
                if head.kind == Kind::Begin {
                    *guest = Guest { state: fresh(), open: true, answered: false };
                }
                self.run(bytes, &mut guest.state);
                guest.open = !guest.state.decoder.is_between();
                // What is refused is answered at once, though more of it comes.
                if !guest.answered && (!guest.open || self.out.len() > 0) {
                    guest.answered = true;
                    send(AnswerFlags::empty(), self.out.data());
                }
            }
            Kind::Pull => {
                let more = self.pull(head.number as usize, guest);
                send(if more { AnswerFlags::MORE } else { AnswerFlags::empty() }, self.out.data());
            }
            Kind::Abort => {
                self.drop_begun(&mut guest.state);
                if guest.open && !guest.answered {
                    send(AnswerFlags::empty(), b"");
                }
                *guest = Guest::default();
                send(AnswerFlags::empty(), b"");
            }
            Kind::Tell => {
                self.run(bytes, &mut fresh());
                send(AnswerFlags::empty(), b"");
            }
            Kind::Count => {
                Sums::of(&self.server).emit(&mut self.out);
                send(AnswerFlags::empty(), self.out.data());
            }
            Kind::Dump => self.list(head, send),
            Kind::Watch => {}
        }
    }

    /// Fetches for another core; whether its value is long and follows.
    fn fetch_for(&mut self, head: &AskHead, key: &[u8], guest: &mut Guest) -> bool {
        let touch = head.flags.contains(AskFlags::TOUCH).then_some(head.number.cast_signed());
        let cas = head.flags.contains(AskFlags::CAS);
        if let Done::Value(long) = self.server.get_one(&mut self.out, (cas, touch), key, head.hash) {
            *guest = Guest { state: fresh(), open: true, answered: true };
            if self.send_later(&mut guest.state.task, long.item, long.line) {
                return true;
            }
            guest.open = false;
            self.out.truncate(0);
            Refusal::OutOfMemoryGet.emit(&mut self.out);
        }
        if head.flags.contains(AskFlags::END) {
            self.out.put(END);
        }
        false
    }

    /// The next bytes of a long value; whether there are more behind them.
    fn pull(&mut self, count: usize, guest: &mut Guest) -> bool {
        let Self { tasks, server, out, .. } = self;
        let Some(task) = tasks.get(guest.state.task) else { return false };
        let Some(sending) = &mut task.sending else { return false };
        let store = &mut server.cache.store;
        let item = store.pinned_item(sending.item);
        let mut left = count.min(LETTER_MAX);
        let mut over = false;
        while left > 0 && !over {
            let piece = sending.piece(store, item);
            over = piece.is_empty();
            let piece = piece.get(..left).unwrap_or(piece);
            out.put(piece);
            left -= piece.len();
            sending.offset += piece.len() as u32;
        }
        if !over && !sending.piece(store, item).is_empty() {
            return true;
        }
        task.sending = None;
        store.unpin(item);
        tasks.close_if_over(&mut guest.state.task);
        guest.open = false;
        false
    }

    fn list(&mut self, head: &AskHead, send: &mut dyn FnMut(AnswerFlags, &[u8])) {
        let (offset, left) = (head.hash.0 as u32, (head.hash.0 >> 32) as u32);
        let mut dump = Dump { what: head.flags.list(), core: 0, segment: head.number, offset, left };
        self.out.begin(LETTER_MAX);
        // Where the list goes on, written last.
        self.out.put(&[0; LIST_HEAD]);
        let more = self.server.list_for(&mut self.out, &mut dump);
        let Dump { segment, offset, left, .. } = dump;
        let mut at = [0; LIST_HEAD];
        at.as_chunks_mut::<4>().0.iter_mut().zip([segment, offset, left]).for_each(|(place, number)| {
            *place = number.to_ne_bytes();
        });
        self.out.overwrite(&at);
        send(if more { AnswerFlags::MORE } else { AnswerFlags::empty() }, self.out.data());
    }
}

const fn fresh() -> CacheState {
    CacheState { decoder: Decoder::new(Protocol::Auto), task: NONE, done: 0 }
}
