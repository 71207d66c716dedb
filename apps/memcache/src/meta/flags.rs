//! The flags behind a meta command's key, each read by its letter.

use crate::error::Refusal;
use crate::number::{signed_32, unsigned, unsigned_32};
use crate::token::Tokens;

/// Words of a line at most, with command and key.
const WORDS_MAX: usize = 20;

/// Bytes of an opaque at most, with its letter.
pub const OPAQUE_MAX: usize = 32;

/// What an answer tells because its request asked for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Return {
    /// k: the key.
    Key,
    /// O: the request's opaque.
    Opaque,
    /// c: the CAS unique.
    Cas,
    /// f: the client's flags.
    ClientFlags,
    /// s: the value's size.
    Size,
    /// t: seconds left to live, -1 for ever.
    Ttl,
    /// l: seconds since the last access.
    LastAccess,
    /// h: whether it had been fetched before.
    Hit,
}

impl Return {
    const COUNT: usize = 8;
}

/// What an answer tells, in order, with the opaque's bytes: small enough to keep while a value arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Returns {
    order: [Return; Return::COUNT],
    count: u8,
    opaque: [u8; OPAQUE_MAX],
    opaque_len: u8,
}

impl Default for Returns {
    fn default() -> Self {
        Self { order: [Return::Key; Return::COUNT], count: 0, opaque: [0; OPAQUE_MAX], opaque_len: 0 }
    }
}

impl Returns {
    /// What to tell, in the request's order.
    pub fn iter(&self) -> impl Iterator<Item = Return> + '_ {
        self.order.iter().copied().take(usize::from(self.count))
    }

    /// The opaque with its letter.
    pub fn opaque(&self) -> &[u8] {
        self.opaque.get(..usize::from(self.opaque_len)).unwrap_or(&[])
    }

    /// Each flag stands once in a request, so there is room for all.
    fn push(&mut self, what: Return) {
        if let Some(place) = self.order.get_mut(usize::from(self.count)) {
            *place = what;
            self.count += 1;
        }
    }
}

/// All flags of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) base64_key: bool,
    pub(super) value: bool,
    pub(super) no_bump: bool,
    pub(super) quiet: bool,
    pub(super) remove_value: bool,
    pub(super) invalidate: bool,
    pub(super) vivify: Option<i32>,
    pub(super) exptime: Option<i32>,
    /// t stands before T.
    pub(super) ttl_first: bool,
    pub(super) recache: Option<i32>,
    pub(super) client_flags: u32,
    pub(super) compare: Option<u64>,
    pub(super) new_cas: Option<u64>,
    /// The letter behind M; a blank when there is none.
    pub(super) mode: Option<u8>,
    pub(super) initial: u64,
    pub(super) delta: Option<u64>,
    pub(super) returns: Returns,
}

impl Flags {
    /// Reads the flags in `tokens`, which stand behind `before` other words.
    ///
    /// A number that is none does not end the reading: an unknown flag behind it is the error that is told.
    pub(super) fn parse(tokens: Tokens<'_>, before: usize) -> Result<Self, Refusal> {
        if tokens.count() + before > WORDS_MAX {
            return Err(Refusal::TooManyFlags);
        }
        let mut flags = Self::default();
        let mut seen = 0_u128;
        let mut wrong = None;
        for token in tokens {
            let Some((&letter, rest)) = token.split_first() else { continue };
            let bit = 1_u128.checked_shl(u32::from(letter)).filter(|_| letter < 127);
            let Some(bit) = bit.filter(|bit| seen & bit == 0) else {
                return Err(Refusal::DuplicateFlag);
            };
            seen |= bit;
            match flags.one(letter, rest, token) {
                Ok(()) => {}
                Err(Refusal::InvalidFlag) => return Err(Refusal::InvalidFlag),
                Err(refusal) => wrong = Some(refusal),
            }
        }
        match wrong {
            Some(refusal) => Err(refusal),
            None => Ok(flags),
        }
    }

    fn one(&mut self, letter: u8, rest: &[u8], token: &[u8]) -> Result<(), Refusal> {
        let time = || signed_32(rest).map(Some).ok_or(Refusal::BadToken);
        let unique = || unsigned(rest).map(Some).ok_or(Refusal::BadToken);
        match letter {
            b'b' => self.base64_key = true,
            b'v' => self.value = true,
            b'u' => self.no_bump = true,
            b'q' => self.quiet = true,
            b'x' => self.remove_value = true,
            b'I' => self.invalidate = true,
            b'N' => self.vivify = time()?,
            b'T' => {
                self.ttl_first = self.returns.iter().any(|what| what == Return::Ttl);
                self.exptime = time()?;
            }
            b'R' => self.recache = time()?,
            b'F' => self.client_flags = unsigned_32(rest).ok_or(Refusal::BadFormat)?,
            b'C' => self.compare = unique()?,
            b'E' => self.new_cas = unique()?,
            b'M' => self.mode = Some(rest.first().copied().unwrap_or(b' ')),
            b'J' => self.initial = unsigned(rest).ok_or(Refusal::BadInitial)?,
            b'D' => self.delta = Some(unsigned(rest).ok_or(Refusal::BadDeltaFlag)?),
            b'O' => {
                let opaque = self.returns.opaque.get_mut(..token.len()).ok_or(Refusal::OpaqueTooLong)?;
                opaque.copy_from_slice(token);
                // At most OPAQUE_MAX.
                self.returns.opaque_len = token.len() as u8;
                self.returns.push(Return::Opaque);
            }
            b'k' => self.returns.push(Return::Key),
            b'c' => self.returns.push(Return::Cas),
            b'f' => self.returns.push(Return::ClientFlags),
            b's' => self.returns.push(Return::Size),
            b't' => self.returns.push(Return::Ttl),
            b'l' => self.returns.push(Return::LastAccess),
            b'h' => self.returns.push(Return::Hit),
            // Hints for proxies.
            b'P' | b'L' => {}
            _ => return Err(Refusal::InvalidFlag),
        }
        Ok(())
    }
}
