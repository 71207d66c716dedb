//! Names and passwords, which the text protocol carries in a `set` of any key (`-Y`).

use crate::error::Refusal;
use crate::number::unsigned_32;
use crate::token::Tokens;

/// A name and a password as a client gave them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// The name.
    pub user: &'a [u8],
    /// The password.
    pub password: &'a [u8],
}

impl core::fmt::Debug for Credentials<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // A password does not belong into any log.
        formatter.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A line and what follows it, as an attempt to log in.
pub(crate) enum Attempt<'a> {
    /// None; `used` bytes behind the line belong to it.
    Refused { refusal: Refusal, used: usize },
    /// One; `used` bytes behind the line belong to it.
    Credentials { credentials: Credentials<'a>, used: usize },
    /// `len` bytes have to follow the line.
    Unfinished { len: usize },
}

impl<'a> Attempt<'a> {
    /// `line` without its end: `set key flags exptime bytes`, only the name and the bytes of which matter.
    pub(crate) fn parse(line: &[u8], rest: &'a [u8]) -> Self {
        let mut tokens = Tokens::new(line);
        let name = tokens.next();
        let len = tokens.nth(3).and_then(unsigned_32).filter(|_| name == Some(b"set"));
        let Some(len) = len else {
            return Self::Refused { refusal: Refusal::Unauthenticated, used: 0 };
        };
        let used = (len as usize).saturating_add(2);
        let Some(value) = rest.get(..used) else {
            return Self::Unfinished { len: used };
        };
        let Some(value) = value.strip_suffix(b"\r\n") else {
            return Self::Refused { refusal: Refusal::BadAuthTermination, used };
        };
        let Some(blank) = memchr::memchr(b' ', value) else {
            return Self::Refused { refusal: Refusal::BadAuthFormat, used };
        };
        let (user, password) = (value.get(..blank), value.get(blank + 1..));
        let credentials =
            Credentials { user: user.unwrap_or_default(), password: password.unwrap_or_default() };
        Self::Credentials { credentials, used }
    }
}
