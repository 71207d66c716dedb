//! A connection to the model: the codec's steps, carried out.

use freeway_memcache::text::reply::Outcome;
use freeway_memcache::{Decoder, Limits, Protocol, Refusal, Refused, Step, binary};

use crate::item::Item;
use crate::model::{Model, StoreRules, Stored};
use freeway_memcache::text::Verb;

/// A value that is on its way, and how it is answered.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) verb: Verb,
    pub(crate) key: Vec<u8>,
    pub(crate) item: Item,
    pub(crate) rules: StoreRules,
    pub(crate) answer: Answer,
}

/// How the outcome of a stored value is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Text { noreply: bool },
    Meta { returns: freeway_memcache::meta::Returns, quiet: bool },
    Binary { head: binary::Head, quiet: bool },
}

/// A connection.
#[derive(Clone, Debug)]
pub struct Session {
    decoder: Decoder,
    limits: Limits,
    pending: Option<Pending>,
    /// Name and password, if one has to be said.
    credentials: Option<(Vec<u8>, Vec<u8>)>,
    closed: bool,
}

impl Session {
    /// A connection without a password.
    pub fn new(protocol: Protocol, limits: Limits) -> Self {
        Self { decoder: Decoder::new(protocol), limits, pending: None, credentials: None, closed: false }
    }

    /// A connection with one.
    pub fn locked(user: &str, password: &str) -> Self {
        Self {
            decoder: Decoder::locked(),
            limits: Limits::default(),
            pending: None,
            credentials: Some((user.into(), password.into())),
            closed: false,
        }
    }

    /// Whether the server has closed the connection.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes as much of `input` as it can, appends answers to `out`, and says how many bytes it took.
    pub fn feed(&mut self, model: &mut Model, input: &[u8], out: &mut Vec<u8>) -> usize {
        let mut consumed = 0;
        while !self.closed {
            let (used, step) = self.decoder.next(&input[consumed..], &self.limits);
            consumed += used;
            match step {
                Step::More => break,
                Step::Text(command) => match crate::text::command(model, &command, out) {
                    crate::text::Next::Go => {}
                    crate::text::Next::Value(pending) => self.pending = Some(pending),
                    crate::text::Next::Skip => self.decoder.skip_value(),
                    crate::text::Next::Close => self.closed = true,
                },
                Step::Meta(command) => match crate::meta::command(model, &command, out) {
                    crate::text::Next::Value(pending) => self.pending = Some(pending),
                    crate::text::Next::Skip => self.decoder.skip_value(),
                    _ => {}
                },
                Step::Binary(request) => match crate::binary::request(model, &request, out) {
                    crate::text::Next::Go => {}
                    crate::text::Next::Value(pending) => self.pending = Some(pending),
                    crate::text::Next::Skip => self.decoder.skip_value(),
                    crate::text::Next::Close => self.closed = true,
                },
                Step::Data(data) => {
                    if let Some(pending) = &mut self.pending {
                        pending.item.value.extend_from_slice(data);
                    }
                }
                Step::DataEnd { whole } => {
                    if let Some(pending) = self.pending.take() {
                        finish(model, pending, whole, out);
                    }
                }
                Step::Auth(given) => {
                    let right = self
                        .credentials
                        .as_ref()
                        .is_some_and(|(user, password)| given.user == user && given.password == password);
                    if right {
                        self.decoder.authenticated();
                        Outcome::Stored.emit(out);
                    } else {
                        Refusal::AuthFailure.emit(out);
                    }
                }
                Step::Refused(Refused { refusal, quiet }) => {
                    if !quiet {
                        refusal.emit(out);
                    }
                }
                Step::BinaryRefused { head, status, close } => {
                    binary::reply::status(out, head, status, 0);
                    self.closed = close;
                }
                Step::Close => self.closed = true,
            }
        }
        consumed
    }
}

/// A value has come in whole, or not.
fn finish(model: &mut Model, pending: Pending, whole: bool, out: &mut Vec<u8>) {
    let Pending { verb, key, item, rules, answer } = pending;
    if !whole {
        if !matches!(answer, Answer::Text { noreply: true }) {
            Refusal::BadChunk.emit(out);
        }
        return;
    }
    let (base64_key, len) = (item.base64_key, item.value.len() as u32);
    let stored = model.store(verb, &key, item, rules);
    match answer {
        Answer::Text { noreply } => crate::text::stored(stored, noreply, out),
        Answer::Meta { returns, quiet } => {
            crate::meta::stored(stored, &returns, quiet, &key, base64_key, len, out);
        }
        Answer::Binary { head, quiet } => crate::binary::stored(verb, stored, head, quiet, out),
    }
}

/// The reply to [`Stored`] in text.
pub(crate) const fn outcome(stored: Stored) -> Outcome {
    match stored {
        Stored::Done(..) => Outcome::Stored,
        Stored::NotStored => Outcome::NotStored,
        Stored::Exists => Outcome::Exists,
        Stored::NotFound => Outcome::NotFound,
    }
}
