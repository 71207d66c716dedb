//! From a connection's bytes to answers: one command after the other.

use freeway_memcache::auth::Credentials;
use freeway_memcache::text::reply::Outcome;
use freeway_memcache::{Decoder, KEY_MAX, Refusal, Refused, Step, binary, meta, text};

use crate::answer::{ANSWER_MAX, COPY_MAX, Done, binary_request, meta_request, text_request};
use crate::cache::{StoreRequest, Value};
use crate::connection::CacheState;
use crate::out::Out;
use crate::peers::parts::Parts;
use crate::peers::{Gather, Peers, Routed};
use crate::server::Server;
use crate::tasks::{Asker, Dump, Receiving, Reply, Sending, Tasks, What};

/// Bytes of answers that there must be room for before a command is looked at.
pub(crate) const RESERVE: usize = ANSWER_MAX + COPY_MAX + 16;
/// A request of at most so many bytes is waited for whole; the value of a longer one is taken as it arrives.
pub(crate) const WAIT_MAX: usize = 4 * 1024;

/// Why no more commands were answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// The bytes are used up, or what is left of them is no whole command.
    More,
    /// There is no more room for answers, or a value comes next.
    Full,
    /// What comes next cannot be begun before something else has come from another core, or gone there.
    Wait,
    /// The connection ends behind the answers.
    Close,
    /// The connection watches from now on.
    Watch(text::Watch),
}

/// What became of a value that is announced.
enum Began {
    /// It was there and is dealt with.
    Whole(usize),
    /// It is short and not there yet.
    Wait,
    /// It is taken as it arrives, or skipped.
    Arriving,
}

/// A value that is announced.
struct Announced<'a> {
    key: &'a [u8],
    request: StoreRequest,
    reply: Reply,
    len: usize,
}

/// One core's server with what its connections have begun.
pub(crate) struct Engine {
    pub(crate) server: Server,
    pub(crate) out: Out,
    pub(crate) tasks: Tasks,
    /// The other cores; none where there are none, and while their questions are answered.
    pub(crate) peers: Option<Box<Peers>>,
    pub(crate) parts: Parts,
    pub(crate) gather: Gather,
    /// Whose commands are read.
    pub(crate) asker: Option<Asker>,
    /// How much of what was answered stands before what is awaited.
    pub(crate) direct: usize,
    /// What watchers of this core want to see.
    pub(crate) watched: text::Watch,
    /// This core's number, and how many there are.
    pub(crate) core: u32,
    pub(crate) cores: u32,
}

impl Engine {
    /// Answers the commands in `bytes` as far as there is room; returns how many bytes are done with. A command that is
    /// answered in part is not: it is read again, and goes on where it was.
    pub(crate) fn run(&mut self, bytes: &[u8], state: &mut CacheState) -> (usize, Next) {
        let mut consumed = 0;
        let several = self.peers.is_some();
        self.direct = 0;
        loop {
            if !self.out.has_room(RESERVE) {
                return (consumed, Next::Full);
            }
            let mut rest = bytes.get(consumed..).unwrap_or(&[]);
            if several {
                let Some(most) = self.upload_room(state).filter(|_| self.may_begin(state)) else {
                    return (consumed, Next::Wait);
                };
                rest = rest.get(..most).unwrap_or(rest);
            }
            let mut decoder = state.decoder;
            let (used, step) = decoder.next(rest, &self.server.config.limits);
            let behind = rest.get(used..).unwrap_or(&[]);
            let start = self.out.len();
            let mut buffer = [0; KEY_MAX];
            let mut after = consumed + used;
            let mut done = Done::Answered;
            if several && !matches!(step, Step::Text(text::Command::Get(_))) {
                let raw = rest.get(..used).unwrap_or(&[]);
                match self.route(&step, raw, behind, &mut decoder, state) {
                    Routed::Here => {}
                    Routed::Asked(value) => {
                        consumed = after + value;
                        state.decoder = decoder;
                        continue;
                    }
                    Routed::More => return (consumed, Next::More),
                    Routed::Wait => return (consumed, Next::Wait),
                }
            }
            match step {
                Step::More => {
                    state.decoder = decoder;
                    return (after, Next::More);
                }
                Step::Close => {
                    state.decoder = decoder;
                    return (after, Next::Close);
                }
                Step::Data(data) => self.take(state.task, data, &mut decoder),
                Step::DataEnd { whole } => self.finish(&mut state.task, whole),
                Step::Text(text::Command::Store(_))
                | Step::Meta(meta::Command::Set(_))
                | Step::Binary(binary::Request { command: binary::Command::Store(_), .. }) => {
                    let Some(announced) = announced(&step, &mut buffer) else { continue };
                    match self.begin(&announced, used, behind, &mut decoder, &mut state.task) {
                        Began::Whole(value) => after += value,
                        Began::Wait => return (consumed, Next::More),
                        Began::Arriving => {}
                    }
                }
                Step::Text(text::Command::Get(ref get)) if several => done = self.get_everywhere(get, state),
                Step::Text(ref command) => {
                    let mut keys = state.done_keys();
                    done = self.server.text(&mut self.out, command, &mut keys);
                    state.set_done_keys(keys);
                }
                Step::Meta(ref command) => {
                    self.server.cache.counters.cmd_meta += 1;
                    done = self.server.meta(&mut self.out, command);
                }
                Step::Binary(ref request) => done = self.server.binary(&mut self.out, request),
                Step::Auth(credentials) => self.log_in(credentials, &mut decoder),
                Step::Refused(Refused { refusal, quiet }) => {
                    if !quiet {
                        refusal.emit(&mut self.out);
                    }
                }
                Step::BinaryRefused { head, status, close } => {
                    binary::reply::status(&mut self.out, head, status, 0);
                    if close {
                        done = Done::Close;
                    }
                }
            }
            // A multi-get that is answered in part is read again.
            let whole = state.done_keys() == 0 && !matches!(done, Done::Full | Done::Wait);
            if several {
                if whole {
                    self.end_count(state);
                }
                self.hold_answers(state);
            }
            if whole {
                state.decoder = decoder;
                consumed = after;
            }
            match done {
                Done::Answered => {}
                Done::Full => return (consumed, Next::Full),
                Done::Wait => return (consumed, Next::Wait),
                Done::Close => return (consumed, Next::Close),
                Done::Watch(watch) => return (consumed, Next::Watch(watch)),
                Done::Value(long) => {
                    if self.send_later(&mut state.task, long.item, long.line) {
                        return (consumed, Next::Full);
                    }
                    self.out.truncate(start);
                    Refusal::OutOfMemoryGet.emit(&mut self.out);
                    self.hold_answers(state);
                }
                Done::Dump(dump) => {
                    if self.dump_later(&mut state.task, dump) {
                        return (consumed, Next::Full);
                    }
                }
            }
        }
    }

    // ---- values that arrive ----

    fn begin(
        &mut self,
        announced: &Announced<'_>,
        head: usize,
        behind: &[u8],
        decoder: &mut Decoder,
        task: &mut u16,
    ) -> Began {
        let Announced { key, request, reply, len } = announced;
        let hash = self.server.hash(key);
        if self.server.cache.is_too_large(key.len(), *len) {
            decoder.skip_value();
            let stored = self.server.cache.too_large(hash, key, request.mode);
            self.server.answer_stored(&mut self.out, key, reply, request, *len, stored);
            return Began::Arriving;
        }
        let mut whole = *decoder;
        if let Some((used, value)) = self.whole_value(&mut whole, behind) {
            *decoder = whole;
            match value {
                Some(value) => {
                    let stored = self.server.cache.store(hash, key, request, Value::Bytes(value));
                    self.server.answer_stored(&mut self.out, key, reply, request, *len, stored);
                }
                None => self.bad_chunk(reply),
            }
            return Began::Whole(used);
        }
        if head + len + 2 <= WAIT_MAX {
            return Began::Wait;
        }
        let receiving = self.server.cache.begin(*len).ok().and_then(|writer| {
            let mut kept = [0; KEY_MAX];
            kept.get_mut(..key.len())?.copy_from_slice(key);
            Some(Receiving { key: kept, key_len: key.len() as u8, request: *request, reply: *reply, writer })
        });
        match (receiving, self.tasks.open(task)) {
            (Some(receiving), Some(task)) => task.receiving = Some(receiving),
            (receiving, _) => {
                self.server.counters.refused_no_task += u64::from(receiving.is_some());
                if let Some(receiving) = receiving {
                    self.server.cache.store.abort(receiving.writer);
                }
                self.tasks.close_if_over(task);
                decoder.skip_value();
                let stored = self.server.cache.refuse(hash, key, request.mode);
                self.server.answer_stored(&mut self.out, key, reply, request, *len, stored);
            }
        }
        Began::Arriving
    }

    /// The value at the beginning of `bytes` if it is there with its end: how many bytes that is, and the value unless it
    /// does not end as it must.
    pub(crate) fn whole_value<'a>(
        &self,
        decoder: &mut Decoder,
        bytes: &'a [u8],
    ) -> Option<(usize, Option<&'a [u8]>)> {
        if bytes.len() < decoder.value_left() as usize {
            return None;
        }
        let (mut used, mut value) = (0, &[][..]);
        loop {
            let (count, step) = decoder.next(bytes.get(used..)?, &self.server.config.limits);
            used += count;
            match step {
                Step::Data(data) => value = data,
                Step::DataEnd { whole } => return Some((used, whole.then_some(value))),
                _ => return None,
            }
        }
    }

    fn bad_chunk(&mut self, reply: &Reply) {
        match reply {
            Reply::Text { noreply: true } | Reply::Binary { .. } => {}
            Reply::Text { .. } | Reply::Meta { .. } => Refusal::BadChunk.emit(&mut self.out),
        }
    }

    /// Takes the next bytes of a value.
    fn take(&mut self, task: u16, data: &[u8], decoder: &mut Decoder) {
        let Some(task) = self.tasks.get(task) else { return };
        let Some(receiving) = &mut task.receiving else { return };
        let now = self.server.cache.clock.now();
        if self.server.cache.store.append_bytes(&mut receiving.writer, data, now).is_ok() {
            return;
        }
        decoder.skip_value();
        let Some(receiving) = task.receiving.take() else { return };
        let (hash, len) = (self.server.hash(receiving.key()), receiving.writer.written());
        let stored = self.server.cache.refuse(hash, receiving.key(), receiving.request.mode);
        self.server.answer_stored(
            &mut self.out,
            receiving.key(),
            &receiving.reply,
            &receiving.request,
            len,
            stored,
        );
        self.server.cache.store.abort(receiving.writer);
    }

    /// Stores a value that has arrived.
    fn finish(&mut self, number: &mut u16, whole: bool) {
        let receiving = self.tasks.get(*number).and_then(|task| task.receiving.take());
        self.tasks.close_if_over(number);
        let Some(receiving) = receiving else { return };
        let Receiving { key, key_len, request, reply, writer } = receiving;
        let key = key.get(..usize::from(key_len)).unwrap_or(&[]);
        if !whole {
            self.server.cache.store.abort(writer);
            self.bad_chunk(&reply);
            return;
        }
        let (hash, len) = (self.server.hash(key), writer.written());
        let stored = self.server.cache.store(hash, key, &request, Value::Written(writer));
        self.server.answer_stored(&mut self.out, key, &reply, &request, len, stored);
    }

    // ---- what follows the answers ----

    pub(crate) fn send_later(&mut self, number: &mut u16, item: crate::store::Item, line: bool) -> bool {
        let len = self.server.cache.store.value_len(item) as u32;
        let held_out = self.server.cache.store.pinned_out();
        let Some(task) = self.tasks.open(number).filter(|_| !held_out) else {
            self.server.counters.refused_no_task += 1;
            self.tasks.close_if_over(number);
            return false;
        };
        task.sending = Some(Sending { item: item.number(), offset: 0, len, line });
        self.server.cache.store.pin(item);
        true
    }

    fn dump_later(&mut self, number: &mut u16, dump: Dump) -> bool {
        let refusal = match dump.what {
            What::Details => Some(Refusal::MetadumpNotAllowed),
            What::Commands => Some(Refusal::MgdumpNotAllowed),
            What::Cachedump | What::Sizes | What::Connections => None,
        };
        if let Some(refusal) = refusal.filter(|_| !self.server.config.dump) {
            refusal.emit(&mut self.out);
            return false;
        }
        if dump.what == What::Sizes && !self.server.sizes.begin() {
            Refusal::CrawlerBusy.emit(&mut self.out);
            return false;
        }
        let Some(task) = self.tasks.open(number) else {
            Refusal::CrawlerBusy.emit(&mut self.out);
            return false;
        };
        task.dump = Some(dump);
        true
    }

    /// Gives up the values that a connection has begun to send or to fetch.
    pub(crate) fn drop_begun(&mut self, state: &mut CacheState) {
        if let Some(task) = self.tasks.get(state.task) {
            let store = &mut self.server.cache.store;
            if let Some(receiving) = task.receiving.take() {
                store.abort(receiving.writer);
            }
            if let Some(sending) = task.sending.take() {
                store.unpin(store.pinned_item(sending.item));
            }
            if task.dump.take().is_some_and(|dump| dump.what == What::Sizes) {
                self.server.sizes.is_taken = false;
            }
            task.counts = false;
        }
        self.tasks.close_if_over(&mut state.task);
    }

    fn log_in(&mut self, credentials: Credentials<'_>, decoder: &mut Decoder) {
        self.server.counters.auth_commands += 1;
        let matches = |user: &String| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            // Both are looked at to the end: what time it takes tells nothing of them.
            same(name.as_bytes(), credentials.user) & same(password.as_bytes(), credentials.password)
        };
        if self.server.config.users.iter().fold(false, |found, user| found | matches(user)) {
            decoder.authenticated();
            Outcome::Stored.emit(&mut self.out);
        } else {
            self.server.counters.auth_errors += 1;
            Refusal::AuthFailure.emit(&mut self.out);
        }
    }
}

/// Whether two texts are the same, in a time that depends on the second one's length alone.
fn same(known: &[u8], given: &[u8]) -> bool {
    let differences = given
        .iter()
        .enumerate()
        .fold(0, |differences, (place, byte)| differences | (byte ^ known.get(place).copied().unwrap_or(0)));
    differences == 0 && known.len() == given.len()
}

/// The value that a step announces.
fn announced<'a>(step: &Step<'a>, buffer: &'a mut meta::KeyBuffer) -> Option<Announced<'a>> {
    Some(match step {
        Step::Text(text::Command::Store(store)) => Announced {
            key: store.key,
            request: text_request(store),
            reply: Reply::Text { noreply: store.noreply },
            len: store.len as usize,
        },
        Step::Meta(meta::Command::Set(set)) => Announced {
            request: meta_request(set),
            reply: Reply::Meta { quiet: set.quiet, base64: set.key.is_base64(), returns: set.returns },
            len: set.len as usize,
            key: set.key.bytes(buffer),
        },
        Step::Binary(binary::Request { head, quiet, command: binary::Command::Store(store) }) => Announced {
            key: store.key,
            request: binary_request(store),
            reply: Reply::Binary { head: *head, quiet: *quiet },
            len: store.len as usize,
        },
        _ => return None,
    })
}
