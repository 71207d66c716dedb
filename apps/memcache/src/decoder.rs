//! Where a connection is between its bytes: commands, values, what is skipped.

use memchr::memchr;

use crate::KEY_MAX;
use crate::auth::{Attempt, Credentials};
use crate::binary::{self, Found, MAGIC_REQUEST};
use crate::error::{Refusal, Refused};
use crate::meta;
use crate::text::{self, Failed, Get, Keys, Line};

/// Bounds of what a connection may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of a line at most, its end included; at least 2048. A longer multi-get is answered in parts, any other
    /// longer line ends the connection. A caller has to be able to show this many bytes at once. Default: 8192.
    pub line_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { line_max: 8192 }
    }
}

/// The least [`Limits::line_max`]: any command but a multi-get fits, and so does a binary request up to its value.
pub(crate) const LINE_MAX_LEAST: usize = 2048;

/// Which protocols a connection may speak (`-B`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Protocol {
    /// The first byte decides.
    #[default]
    Auto,
    /// Text and meta.
    Text,
    /// Binary.
    Binary,
}

/// What the next bytes are.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Step<'a> {
    /// They do not say yet: show them again when there are more.
    More,
    /// A command of the text protocol.
    Text(text::Command<'a>),
    /// A command of the meta protocol.
    Meta(meta::Command<'a>),
    /// A request of the binary protocol.
    Binary(binary::Request<'a>),
    /// The next bytes of the value of the last command. Never empty.
    Data(&'a [u8]),
    /// The value is over. If it is not `whole`, it did not end as it must ([`Refusal::BadChunk`]), and is not stored.
    DataEnd {
        /// Its end is where it must be.
        whole: bool,
    },
    /// A name and a password; [`Decoder::authenticated`] opens the connection.
    Auth(Credentials<'a>),
    /// Something that is answered with an error line.
    Refused(Refused),
    /// A binary request that is answered with an error; the connection is closed behind it if `close` says so.
    BinaryRefused {
        /// For the answer.
        head: binary::Head,
        /// The error.
        status: binary::Status,
        /// The connection is over.
        close: bool,
    },
    /// Nothing that could be answered: the connection is over.
    Close,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Phase {
    /// A connection's first byte.
    #[default]
    Fresh,
    /// The name and password come first.
    Locked,
    /// A line.
    Line,
    /// The rest of a multi-get's line.
    Keys { cas: bool, touch: bool },
    /// The rest of a line that was refused.
    SkipLine,
    /// A binary request.
    Header,
    /// A value of `count` bytes with its line end.
    TextValue,
    /// A value of `count` bytes.
    BinaryValue,
    /// `count` bytes that nobody wants, then lines.
    SkipText,
    /// `count` bytes that nobody wants, then binary requests.
    SkipBinary,
    /// Nothing more is read.
    Closed,
}

/// Reads a connection: 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Decoder {
    phase: Phase,
    /// Bytes of the value that are left, or a multi-get's time to live.
    count: u32,
}

const _: () = assert!(size_of::<Decoder>() <= 8);

/// The end of a value in text.
const END_LEN: u32 = 2;

impl Decoder {
    /// A connection that has sent nothing yet.
    pub const fn new(protocol: Protocol) -> Self {
        let phase = match protocol {
            Protocol::Auto => Phase::Fresh,
            Protocol::Text => Phase::Line,
            Protocol::Binary => Phase::Header,
        };
        Self { phase, count: 0 }
    }

    /// A connection that has to say a name and a password first (`-Y`), which only the text protocol can.
    pub const fn locked() -> Self {
        Self { phase: Phase::Locked, count: 0 }
    }

    /// Name and password of the last [`Step::Auth`] were right.
    pub const fn authenticated(&mut self) {
        if matches!(self.phase, Phase::Locked) {
            self.phase = Phase::Line;
        }
    }

    /// Skips the value of the last command, as far as it has not come.
    pub const fn skip_value(&mut self) {
        self.phase = match self.phase {
            Phase::TextValue => Phase::SkipText,
            Phase::BinaryValue => Phase::SkipBinary,
            other => other,
        };
    }

    /// Bytes of the value that are still to come, a text's end not counted.
    pub const fn value_left(&self) -> u32 {
        match self.phase {
            Phase::TextValue => self.count.saturating_sub(END_LEN),
            Phase::BinaryValue => self.count,
            _ => 0,
        }
    }

    /// Whether nothing has begun: the bytes so far were whole commands with their values.
    pub const fn is_between(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Locked | Phase::Line | Phase::Header)
    }

    /// Whether a line of text comes next.
    #[inline]
    pub const fn is_at_line(&self) -> bool {
        matches!(self.phase, Phase::Line)
    }

    /// Says what stands at the beginning of `input`, and how many of its bytes are done with: the caller drops these,
    /// whatever the step is, and shows what follows them (and what has come meanwhile) with the next call.
    pub fn next<'a>(&mut self, input: &'a [u8], limits: &Limits) -> (usize, Step<'a>) {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or(&[]);
            let (used, step) = match self.phase {
                Phase::Fresh => (0, self.begin(rest)),
                Phase::Line => self.line(rest, limits),
                Phase::Header => self.header(rest),
                Phase::TextValue => self.text_value(rest),
                Phase::BinaryValue => self.binary_value(rest),
                Phase::Keys { cas, touch } => self.keys(rest, limits, cas, touch),
                Phase::SkipText => self.skip(rest, Phase::Line),
                Phase::SkipBinary => self.skip(rest, Phase::Header),
                Phase::SkipLine => self.skip_line(rest),
                Phase::Locked => self.auth(rest, limits),
                Phase::Closed => (rest.len(), Some(Step::Close)),
            };
            consumed += used;
            if let Some(step) = step {
                return (consumed, step);
            }
        }
    }

    /// The protocol, by the first byte.
    const fn begin<'a>(&mut self, input: &'a [u8]) -> Option<Step<'a>> {
        self.phase = match input {
            [] => return Some(Step::More),
            [MAGIC_REQUEST, ..] => Phase::Header,
            _ => Phase::Line,
        };
        None
    }

    fn line<'a>(&mut self, input: &'a [u8], limits: &Limits) -> (usize, Option<Step<'a>>) {
        let (line, consumed) = match cut(input, limits) {
            Cut::Line(line, consumed) => (line, consumed),
            Cut::Nothing => return (0, Some(Step::More)),
            Cut::TooLong(part) => return self.long(part),
        };
        // memcached takes no command of one letter, nor one of two without the carriage return.
        if consumed < 4 {
            return (consumed, Some(refused(Refusal::BadFormat)));
        }
        let step = match text::parse(line) {
            Ok(Line::Text(command)) => {
                if let text::Command::Store(store) = &command {
                    self.value(store.len);
                }
                Step::Text(command)
            }
            Ok(Line::Meta(command)) => {
                if let meta::Command::Set(set) = &command {
                    self.value(set.len);
                }
                Step::Meta(command)
            }
            Err(Failed::Refused { refusal, quiet, value }) => {
                if let Some(len) = value {
                    self.value(len);
                    self.skip_value();
                }
                Step::Refused(Refused { refusal, quiet })
            }
            Err(Failed::Foreign) => self.close(),
        };
        (consumed, Some(step))
    }

    const fn close<'a>(&mut self) -> Step<'a> {
        self.phase = Phase::Closed;
        Step::Close
    }

    const fn value(&mut self, len: u32) {
        self.phase = Phase::TextValue;
        // A length in text has 31 bits, less its end.
        self.count = len.saturating_add(END_LEN);
    }

    /// A line over the limit: the first part of a multi-get, or the connection's end.
    fn long<'a>(&mut self, part: &'a [u8]) -> (usize, Option<Step<'a>>) {
        // Keys that are whole: up to the last blank.
        let end = memchr::memrchr(b' ', part).unwrap_or(0);
        let whole = part.get(..end).unwrap_or(&[]);
        match text::parse(whole) {
            Ok(Line::Text(text::Command::Get(_))) if cuts_a_long_key(part, end) => {
                self.phase = Phase::SkipLine;
                (end, Some(refused(Refusal::BadFormat)))
            }
            Ok(Line::Text(text::Command::Get(get))) => {
                self.phase = Phase::Keys { cas: get.cas, touch: get.touch.is_some() };
                // Back in `keys`.
                self.count = get.touch.unwrap_or(0).cast_unsigned();
                (end, Some(Step::Text(text::Command::Get(Get { more: true, ..get }))))
            }
            Err(Failed::Refused { refusal, .. }) if is_get(part) => {
                self.phase = Phase::SkipLine;
                (end, Some(refused(refusal)))
            }
            _ => (part.len(), Some(self.close())),
        }
    }

    /// More keys of a multi-get.
    fn keys<'a>(
        &mut self,
        input: &'a [u8],
        limits: &Limits,
        cas: bool,
        touch: bool,
    ) -> (usize, Option<Step<'a>>) {
        let (keys, consumed, more) = match cut(input, limits) {
            Cut::Nothing => return (0, Some(Step::More)),
            Cut::Line(line, consumed) => {
                self.phase = Phase::Line;
                (line, consumed, false)
            }
            Cut::TooLong(part) => match memchr::memrchr(b' ', part) {
                Some(end) if !cuts_a_long_key(part, end) => (part.get(..end).unwrap_or(&[]), end, true),
                _ => {
                    self.phase = Phase::SkipLine;
                    return (part.len(), Some(refused(Refusal::BadFormat)));
                }
            },
        };
        let touch = touch.then_some(self.count.cast_signed());
        match Keys::new(keys) {
            Some(keys) => (consumed, Some(Step::Text(text::Command::Get(Get { keys, cas, touch, more })))),
            None => {
                if more {
                    self.phase = Phase::SkipLine;
                }
                (consumed, Some(refused(Refusal::BadFormat)))
            }
        }
    }

    fn header<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Step<'a>>) {
        match binary::parse(input) {
            Found::Nothing => (0, Some(Step::More)),
            Found::Foreign => (input.len(), Some(self.close())),
            Found::Request { request, consumed, value } => {
                self.count = value;
                self.phase = match request.command {
                    binary::Command::Store(_) => Phase::BinaryValue,
                    _ => Phase::SkipBinary,
                };
                (consumed, Some(Step::Binary(request)))
            }
            Found::Refused { head, status, consumed, value, close } => {
                self.count = value;
                self.phase = if close { Phase::Closed } else { Phase::SkipBinary };
                (consumed, Some(Step::BinaryRefused { head, status, close }))
            }
        }
    }

    fn text_value<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Step<'a>>) {
        let (data, end) = input.split_at(input.len().min(self.value_left() as usize));
        if !data.is_empty() {
            self.count -= data.len() as u32;
            return (data.len(), Some(Step::Data(data)));
        }
        // Both bytes of the end at once, so that nothing of it need be kept.
        let Some((end, _)) = end.split_first_chunk::<{ END_LEN as usize }>() else {
            return (0, Some(Step::More));
        };
        if self.count > END_LEN {
            return (0, Some(Step::More));
        }
        self.phase = Phase::Line;
        (end.len(), Some(Step::DataEnd { whole: end == b"\r\n" }))
    }

    fn binary_value<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Step<'a>>) {
        if self.count == 0 {
            self.phase = Phase::Header;
            return (0, Some(Step::DataEnd { whole: true }));
        }
        let (data, _) = input.split_at(input.len().min(self.count as usize));
        if data.is_empty() {
            return (0, Some(Step::More));
        }
        self.count -= data.len() as u32;
        (data.len(), Some(Step::Data(data)))
    }

    fn skip<'a>(&mut self, input: &'a [u8], then: Phase) -> (usize, Option<Step<'a>>) {
        let skipped = input.len().min(self.count as usize);
        self.count -= skipped as u32;
        if self.count == 0 {
            self.phase = then;
            return (skipped, None);
        }
        (skipped, Some(Step::More))
    }

    fn skip_line<'a>(&mut self, input: &'a [u8]) -> (usize, Option<Step<'a>>) {
        match memchr(b'\n', input) {
            Some(end) => {
                self.phase = Phase::Line;
                (end + 1, None)
            }
            None => (input.len(), Some(Step::More)),
        }
    }

    fn auth<'a>(&mut self, input: &'a [u8], limits: &Limits) -> (usize, Option<Step<'a>>) {
        let (line, consumed) = match cut(input, limits) {
            Cut::Line(line, consumed) => (line, consumed),
            Cut::Nothing => return (0, Some(Step::More)),
            Cut::TooLong(part) => return (part.len(), Some(self.close())),
        };
        let rest = input.get(consumed..).unwrap_or(&[]);
        match Attempt::parse(line, rest) {
            Attempt::Refused { refusal, used } => (consumed + used, Some(refused(refusal))),
            Attempt::Credentials { credentials, used } => (consumed + used, Some(Step::Auth(credentials))),
            Attempt::Unfinished { len } if consumed.saturating_add(len) <= limits.line_max => {
                (0, Some(Step::More))
            }
            Attempt::Unfinished { .. } => (input.len(), Some(self.close())),
        }
    }
}

const fn refused<'a>(refusal: Refusal) -> Step<'a> {
    Step::Refused(Refused { refusal, quiet: false })
}

/// The beginning of some bytes as a line.
enum Cut<'a> {
    /// A line without its end, and its bytes with it.
    Line(&'a [u8], usize),
    /// No end yet.
    Nothing,
    /// As much as a line may have, without an end.
    TooLong(&'a [u8]),
}

fn cut<'a>(input: &'a [u8], limits: &Limits) -> Cut<'a> {
    let line_max = limits.line_max.max(LINE_MAX_LEAST);
    // Only what a line may have is looked at, so that it is the same however much has come.
    let part = input.get(..line_max).unwrap_or(input);
    match memchr(b'\n', part) {
        Some(end) => {
            let line = part.get(..end).unwrap_or(part);
            Cut::Line(line.strip_suffix(b"\r").unwrap_or(line), end + 1)
        }
        None if part.len() < line_max => Cut::Nothing,
        None => Cut::TooLong(part),
    }
}

/// Whether what stands behind the last blank is more than a key can be, without its end in sight.
const fn cuts_a_long_key(part: &[u8], blank: usize) -> bool {
    part.len() - blank > KEY_MAX + 1
}

fn is_get(line: &[u8]) -> bool {
    let name = line.split(|&byte| byte == b' ').next();
    matches!(name, Some(b"get" | b"gets" | b"gat" | b"gats"))
}
