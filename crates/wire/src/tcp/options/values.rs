//! Options with values of their own: timestamps, Fast Open cookies, user timeouts.

use super::{TIMESTAMPS_ALIGNED_LEN, WORD, kind, len, with_head};
use crate::bytes::{self, U32};

/// Timestamps, RFC 7323 section 3.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timestamps {
    /// The sender's clock (TSval).
    pub value: u32,
    /// The clock that the other side last showed (TSecr); means nothing on a segment without ACK.
    pub echo: u32,
}

impl Timestamps {
    const HEAD: [u8; WORD] = [kind::NOP, kind::NOP, kind::TIMESTAMPS, len::TIMESTAMPS];
    /// The word before an aligned option's values.
    pub(in crate::tcp) const ALIGNED_LEAD: u32 = u32::from_be_bytes(Self::HEAD);

    /// Reads an option's data; `None` unless it is eight bytes.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let data: &[u8; 8] = data.try_into().ok()?;
        Some(Self { value: U32(0).get(data), echo: U32(4).get(data) })
    }

    /// Reads NOP, NOP, timestamps; `None` if these bytes are something else.
    #[inline]
    pub(super) fn from_aligned(bytes: &[u8; TIMESTAMPS_ALIGNED_LEN]) -> Option<Self> {
        (U32(0).get(bytes) == Self::ALIGNED_LEAD)
            .then(|| Self { value: U32(4).get(bytes), echo: U32(8).get(bytes) })
    }

    /// Two bytes of something else, timestamps.
    #[inline]
    pub(super) fn aligned_behind(self, lead: [u8; 2]) -> [u8; TIMESTAMPS_ALIGNED_LEN] {
        let mut bytes = [0; TIMESTAMPS_ALIGNED_LEN];
        let [_, _, kind, len] = Self::HEAD;
        U32(0).set(&mut bytes, u32::from_be_bytes([lead[0], lead[1], kind, len]));
        U32(4).set(&mut bytes, self.value);
        U32(8).set(&mut bytes, self.echo);
        bytes
    }
}

/// A Fast Open cookie, RFC 7413 section 2: 4 to 16 bytes, an even number; or none, which asks for one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FastOpenCookie {
    /// Zeros behind `len`, so that derived equality is right.
    bytes: [u8; Self::LEN_MAX],
    len: u8,
}

impl FastOpenCookie {
    /// Bytes of the longest cookie.
    pub const LEN_MAX: usize = 16;

    /// Bytes of the shortest cookie.
    pub const LEN_MIN: usize = 4;

    /// A request for a cookie.
    pub const REQUEST: Self = Self { bytes: [0; Self::LEN_MAX], len: 0 };

    /// A cookie, or a request if there are no bytes; `None` for a length that cookies do not have.
    pub fn new(cookie: &[u8]) -> Option<Self> {
        let len = cookie.len();
        let allowed = len == 0 || len.is_multiple_of(2) && (Self::LEN_MIN..=Self::LEN_MAX).contains(&len);
        if !allowed {
            return None;
        }
        let mut bytes = [0; Self::LEN_MAX];
        bytes::put(&mut bytes, cookie);
        Some(Self { bytes, len: len as u8 })
    }

    /// The cookie's bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        bytes::range(&self.bytes, 0, usize::from(self.len))
    }

    /// Whether this asks for a cookie.
    #[inline]
    pub const fn is_request(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the option with the NOPs that make it whole words.
    pub(super) const fn aligned_len(&self) -> usize {
        (self.len as usize + 2).next_multiple_of(WORD)
    }

    /// Writes the option, and NOPs behind it.
    pub(super) fn emit(&self, bytes: &mut [u8]) {
        bytes.fill(kind::NOP);
        bytes::put(bytes, &[kind::FAST_OPEN, with_head(usize::from(self.len))]);
        bytes::put(bytes::rest_mut(bytes, 2), self.as_bytes());
    }
}

impl core::fmt::Debug for FastOpenCookie {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.is_request() {
            return f.write_str("request");
        }
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A user timeout, RFC 5482 section 3: fifteen bits of seconds or minutes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserTimeout(u16);

impl UserTimeout {
    const MINUTES: u16 = 0x8000;
    const SECONDS_A_MINUTE: u32 = 60;

    /// The option's data as it stands.
    #[inline]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The option's data.
    #[inline]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The timeout nearest to `seconds` that is not shorter, at most 32,767 minutes.
    pub const fn from_seconds(seconds: u32) -> Self {
        if seconds < Self::MINUTES as u32 {
            return Self(seconds as u16);
        }
        let minutes = seconds.div_ceil(Self::SECONDS_A_MINUTE);
        let most = Self::MINUTES as u32 - 1;
        Self(Self::MINUTES | if minutes > most { most } else { minutes } as u16)
    }

    /// How many seconds it is; zero is reserved and to be ignored.
    pub const fn seconds(self) -> u32 {
        let number = (self.0 & !Self::MINUTES) as u32;
        if self.0 & Self::MINUTES == 0 { number } else { number * Self::SECONDS_A_MINUTE }
    }
}
