//! What stands before the bytes of a letter.
//!
//! ```text
//!   ask      kind 1 │ flags 1 │ ticket 2 │ number 4 │ hash 8 │ bytes…
//!   answer   kind 1 │ flags 1 │ ticket 2 │ number 4 │ bytes…
//! ```
//!
//! Both ends are one process: the numbers are in the machine's order.

use bitflags::bitflags;
use freeway_base::FlowHash;

use crate::tasks::What;

/// Bytes before a piece of a list: segment and offset where it goes on, and how many items may be in it.
pub(crate) const LIST_HEAD: usize = 12;

/// What a core asks of another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The key's item, as one of a get.
    Fetch,
    /// A command whole, with its value.
    Command,
    /// The line of a command whose value follows in pieces.
    Begin,
    /// Some bytes of the value.
    Piece,
    /// So many more bytes of a value that is long.
    Pull,
    /// Nobody wants the rest.
    Abort,
    /// A command for all cores, without an answer to be shown.
    Tell,
    /// The counters.
    Count,
    /// A list of items, from a place on.
    Dump,
    /// What the watchers of the asking core want to see from now on; not answered.
    Watch,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Fetch,
        Self::Command,
        Self::Begin,
        Self::Piece,
        Self::Pull,
        Self::Abort,
        Self::Tell,
        Self::Count,
        Self::Dump,
        Self::Watch,
    ];
}

bitflags! {
    /// What is asked besides.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct AskFlags: u8 {
        /// With the CAS unique.
        const CAS = 1;
        /// The number is a time to live.
        const TOUCH = 1 << 1;
        /// It is the last of its get.
        const END = 1 << 2;
        /// What is listed, one of four.
        const LIST_LOW = 1 << 3;
        /// The same, the higher bit.
        const LIST_HIGH = 1 << 4;
    }
}

/// The head of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AskHead {
    pub(crate) kind: Kind,
    pub(crate) flags: AskFlags,
    pub(crate) ticket: u16,
    pub(crate) number: u32,
    pub(crate) hash: FlowHash,
}

impl AskFlags {
    pub(crate) const fn of_list(what: What) -> Self {
        Self::from_bits_truncate((what as u8) << 3)
    }

    pub(crate) const fn list(self) -> What {
        match (self.contains(Self::LIST_HIGH), self.contains(Self::LIST_LOW)) {
            (false, false) => What::Details,
            (false, true) => What::Commands,
            (true, false) => What::Cachedump,
            (true, true) => What::Sizes,
        }
    }
}

impl AskHead {
    pub(crate) const LEN: usize = 16;

    pub(crate) fn new(kind: Kind, ticket: u16) -> Self {
        Self { kind, flags: AskFlags::empty(), ticket, number: 0, hash: FlowHash::default() }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = self.kind as u8;
        bytes[1] = self.flags.bits();
        bytes[2..4].copy_from_slice(&self.ticket.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.number.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.hash.0.to_ne_bytes());
        bytes
    }

    #[inline]
    pub(crate) fn parse(letter: &[u8]) -> Option<(Self, &[u8])> {
        let (&[kind, flags, t0, t1, n0, n1, n2, n3, hash @ ..], rest) =
            letter.split_first_chunk::<{ Self::LEN }>()?;
        let head = Self {
            kind: *Kind::ALL.get(usize::from(kind))?,
            flags: AskFlags::from_bits_truncate(flags),
            ticket: u16::from_ne_bytes([t0, t1]),
            number: u32::from_ne_bytes([n0, n1, n2, n3]),
            hash: FlowHash(u64::from_ne_bytes(hash)),
        };
        Some((head, rest))
    }
}

bitflags! {
    /// What an answer is.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub(crate) struct AnswerFlags: u8 {
        /// The value goes on: the rest is to be pulled. Of a list: there are more items, from the numbers in its head on.
        const MORE = 1;
        /// A line for watchers, not an answer; the number says for which.
        const LINE = 1 << 1;
    }
}

/// The head of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AnswerHead {
    pub(crate) flags: AnswerFlags,
    pub(crate) ticket: u16,
    pub(crate) number: u32,
}

impl AnswerHead {
    pub(crate) const LEN: usize = 8;

    #[inline]
    pub(crate) fn bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = self.flags.bits();
        bytes[2..4].copy_from_slice(&self.ticket.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.number.to_ne_bytes());
        bytes
    }

    #[inline]
    pub(crate) fn parse(letter: &[u8]) -> Option<(Self, &[u8])> {
        let (&[flags, _, t0, t1, n0, n1, n2, n3], rest) = letter.split_first_chunk::<{ Self::LEN }>()?;
        let head = Self {
            flags: AnswerFlags::from_bits_truncate(flags),
            ticket: u16::from_ne_bytes([t0, t1]),
            number: u32::from_ne_bytes([n0, n1, n2, n3]),
        };
        Some((head, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_read_as_it_was_written() {
        for what in [What::Details, What::Commands, What::Cachedump, What::Sizes] {
            assert_eq!(AskFlags::of_list(what).list(), what);
        }
    }

    #[test]
    fn heads_are_read_as_they_were_written() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            let head = AskHead {
                kind,
                flags: AskFlags::CAS | AskFlags::END,
                ticket: 60_000,
                number: 4_000_000_000,
                hash: FlowHash(u64::MAX - 7),
            };
            let letter = [head.bytes().as_slice(), b"bytes"].concat();
            assert_eq!(AskHead::parse(&letter), Some((head, b"bytes".as_slice())));
        }
        assert_eq!(AskHead::parse(&[0; AskHead::LEN - 1]), None);
        assert_eq!(AskHead::parse(&[Kind::ALL.len() as u8; AskHead::LEN]), None);
        let head = AnswerHead { flags: AnswerFlags::MORE, ticket: 9, number: 70_000 };
        assert_eq!(AnswerHead::parse(&head.bytes()), Some((head, b"".as_slice())));
        assert_eq!(AnswerHead::parse(&[0; 7]), None);
    }
}
