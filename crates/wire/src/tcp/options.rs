//! TCP's options, RFC 9293 section 3.1: `kind` alone (END, NOP), or `kind, length, data` with a length that counts all
//! three.
//!
//! They are written in the order that Linux uses, which is what middleboxes are used to: maximum segment size,
//! SACK-permitted, timestamps, NOP, window scale on a SYN; NOP, NOP, timestamps, NOP, NOP, SACK afterwards. Every group
//! is padded to whole words by itself:
//!
//! ```text
//! MSS                    4   02 04 vv vv
//! SACK-permitted         4   04 02 (with timestamps behind it: no padding) or 01 01 04 02
//! timestamps            12   01 01 08 0a vv vv vv vv ee ee ee ee, or 10 behind SACK-permitted
//! window scale           4   01 03 03 ss
//! SACK, n blocks   4 + 8 n   01 01 05 ll (ll ll ll ll rr rr rr rr)*
//! user timeout           4   1c 04 tt tt
//! Fast Open cookie     2 + n 22 ll cc*, then NOPs
//! ```

mod sack;
mod values;

use crate::bytes;

pub use sack::SackBlocks;
pub use values::{FastOpenCookie, Timestamps, UserTimeout};

/// Bytes that options can take.
pub const OPTIONS_LEN_MAX: usize = 40;

/// Bytes of NOP, NOP, timestamps.
pub(super) const TIMESTAMPS_ALIGNED_LEN: usize = 12;

/// Bytes of MSS, timestamps, window scale: what opens a connection.
pub(super) const OPENING_LEN: usize = 2 * WORD + TIMESTAMPS_ALIGNED_LEN;

const WORD: usize = 4;

mod kind {
    pub const END: u8 = 0;
    pub const NOP: u8 = 1;
    pub const MSS: u8 = 2;
    pub const WINDOW_SCALE: u8 = 3;
    pub const SACK_PERMITTED: u8 = 4;
    pub const SACK: u8 = 5;
    pub const TIMESTAMPS: u8 = 8;
    pub const USER_TIMEOUT: u8 = 28;
    pub const FAST_OPEN: u8 = 34;
}

/// Lengths with kind and length included.
mod len {
    pub const MSS: u8 = 4;
    pub const WINDOW_SCALE: u8 = 3;
    pub const SACK_PERMITTED: u8 = 2;
    pub const TIMESTAMPS: u8 = 10;
    pub const USER_TIMEOUT: u8 = 4;
}

/// The options of a header: those that are known. Which of them may stand on which segment is not judged here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Maximum segment size: payload bytes that the sender can receive in one segment. On a SYN only.
    pub mss: Option<u16>,
    /// Window scale: by how many bits the sender's windows are to be shifted. On a SYN only. Receivers treat more
    /// than 14 as 14 (RFC 7323 section 2.3).
    pub window_scale: Option<u8>,
    /// The sender understands SACK. On a SYN only.
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// Blocks received out of order.
    pub sack: SackBlocks,
    /// Fast Open: a request for a cookie (empty) or a cookie.
    pub fast_open: Option<FastOpenCookie>,
    /// User timeout: how long the sender waits for acknowledgements.
    pub user_timeout: Option<UserTimeout>,
}

impl Options {
    /// No option.
    pub const NONE: Self = Self {
        mss: None,
        window_scale: None,
        sack_permitted: false,
        timestamps: None,
        sack: SackBlocks::NONE,
        fast_open: None,
        user_timeout: None,
    };

    /// Timestamps and nothing else.
    #[inline]
    pub const fn with_timestamps(timestamps: Timestamps) -> Self {
        Self { timestamps: Some(timestamps), ..Self::NONE }
    }

    /// Reads the options of a header.
    ///
    /// Nothing here is an error: unknown kinds are skipped by their length, known ones of a wrong length likewise, and
    /// a length that cannot be (0, 1, beyond the header) ends the options, of which those before it count. Of an option
    /// that stands twice, the later counts.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Self {
        let mut options = Self::NONE;
        options.read(bytes);
        options
    }

    /// Adds the options in `bytes`. Into a place instead of out of a function: it spares the hot path a copy.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // What an established connection sends, aligned as RFC 7323 appendix A recommends.
        if let Ok(aligned) = bytes.try_into()
            && let Some(timestamps) = Timestamps::from_aligned(aligned)
        {
            self.timestamps = Some(timestamps);
            return;
        }
        self.read_any(bytes);
    }

    fn read_any(&mut self, mut bytes: &[u8]) {
        while let [kind, after @ ..] = bytes {
            bytes = match *kind {
                kind::END => break,
                kind::NOP => after,
                kind => {
                    let [len, ..] = after else { break };
                    let Some((option, rest)) = bytes.split_at_checked(usize::from(*len)) else { break };
                    let [_, _, data @ ..] = option else { break };
                    self.take(kind, data);
                    rest
                }
            };
        }
    }

    /// Remembers one option, unless it is unknown or its data has the wrong length.
    #[inline]
    fn take(&mut self, kind: u8, data: &[u8]) {
        match (kind, data) {
            (kind::MSS, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (kind::WINDOW_SCALE, &[shift]) => self.window_scale = Some(shift),
            (kind::SACK_PERMITTED, []) => self.sack_permitted = true,
            (kind::SACK, data) => self.sack = SackBlocks::parse(data).unwrap_or(self.sack),
            (kind::TIMESTAMPS, data) => self.timestamps = Timestamps::parse(data).or(self.timestamps),
            (kind::FAST_OPEN, data) => self.fast_open = FastOpenCookie::new(data).or(self.fast_open),
            (kind::USER_TIMEOUT, &[high, low]) => {
                self.user_timeout = Some(UserTimeout::from_bits(u16::from_be_bytes([high, low])));
            }
            _ => {}
        }
    }

    /// The timestamps, if there are some and nothing else.
    #[inline]
    pub(super) fn only_timestamps(&self) -> Option<Timestamps> {
        let Self { mss, window_scale, sack_permitted, timestamps, sack, fast_open, user_timeout } = self;
        // No short-circuits: seven flags into one branch.
        let others = mss.is_some()
            | window_scale.is_some()
            | sack_permitted
            | !sack.is_empty()
            | fast_open.is_some()
            | user_timeout.is_some();
        if others { None } else { *timestamps }
    }

    /// MSS, timestamps and window scale, with SACK-permitted or without, as they stand in a header, if these are there
    /// and nothing else: what most SYNs say.
    #[inline]
    pub(super) const fn opening(&self) -> Option<[u32; OPENING_LEN / WORD]> {
        let &Self {
            mss: Some(mss),
            window_scale: Some(shift),
            sack_permitted,
            timestamps: Some(Timestamps { value, echo }),
            ref sack,
            fast_open: None,
            user_timeout: None,
        } = self
        else {
            return None;
        };
        if !sack.is_empty() {
            return None;
        }
        let mss = u32::from_be_bytes([kind::MSS, len::MSS, 0, 0]) | mss as u32;
        let [a, b] = Self::lead(sack_permitted);
        let stamps = u32::from_be_bytes([a, b, kind::TIMESTAMPS, len::TIMESTAMPS]);
        let shift = u32::from_be_bytes([kind::NOP, kind::WINDOW_SCALE, len::WINDOW_SCALE, shift]);
        Some([mss, stamps, value, echo, shift])
    }

    /// Two bytes that stand where the timestamps' alignment has its NOPs.
    const fn lead(sack_permitted: bool) -> [u8; 2] {
        if sack_permitted { [kind::SACK_PERMITTED, len::SACK_PERMITTED] } else { [kind::NOP; 2] }
    }

    /// Bytes that the options take in a header, padding included: a multiple of four, at most 40.
    #[inline]
    pub fn len(&self) -> usize {
        match self.only_timestamps() {
            Some(_) => TIMESTAMPS_ALIGNED_LEN,
            None => self.fitting().len_of_all(),
        }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// The options that a header has room for, which are nearly always all of them. What negotiates the connection
    /// and the timestamps go first; then as many SACK blocks as there is room for, the user timeout, the Fast Open
    /// cookie.
    #[must_use]
    pub fn fitting(self) -> Self {
        let mut left = OPTIONS_LEN_MAX - self.len_of_fixed();
        let sack = self.sack.within(left);
        left -= sack.aligned_len();
        let user_timeout = self.user_timeout.filter(|_| left >= usize::from(len::USER_TIMEOUT));
        left -= user_timeout.map_or(0, |_| usize::from(len::USER_TIMEOUT));
        let fast_open = self.fast_open.filter(|cookie| cookie.aligned_len() <= left);
        Self { sack, user_timeout, fast_open, ..self }
    }

    /// Bytes of the options whose length never varies and that always fit.
    fn len_of_fixed(&self) -> usize {
        const {
            // MSS, SACK-permitted with timestamps, window scale: the longest that is never cut.
            assert!(WORD + TIMESTAMPS_ALIGNED_LEN + WORD <= OPTIONS_LEN_MAX);
        }
        let mss = if self.mss.is_some() { WORD } else { 0 };
        let window_scale = if self.window_scale.is_some() { WORD } else { 0 };
        let sack_and_timestamps = match (self.sack_permitted, self.timestamps) {
            (_, Some(_)) => TIMESTAMPS_ALIGNED_LEN,
            (true, None) => WORD,
            (false, None) => 0,
        };
        mss + window_scale + sack_and_timestamps
    }

    /// Bytes of all options, whether they fit or not.
    fn len_of_all(&self) -> usize {
        self.len_of_fixed()
            + self.sack.aligned_len()
            + self.user_timeout.map_or(0, |_| usize::from(len::USER_TIMEOUT))
            + self.fast_open.map_or(0, |cookie| cookie.aligned_len())
    }

    /// Writes the options that fit. `bytes` are [`len`](Self::len) long.
    pub(super) fn emit(&self, bytes: &mut [u8]) {
        let Self { mss, window_scale, sack_permitted, timestamps, sack, fast_open, user_timeout } =
            self.fitting();
        let mut room = Room { bytes };
        if let Some(mss) = mss {
            let [high, low] = mss.to_be_bytes();
            room.put(&[kind::MSS, len::MSS, high, low]);
        }
        let lead = Self::lead(sack_permitted);
        match timestamps {
            Some(timestamps) => room.put(&timestamps.aligned_behind(lead)),
            None if sack_permitted => room.put(&[kind::NOP, kind::NOP, lead[0], lead[1]]),
            None => {}
        }
        if let Some(shift) = window_scale {
            room.put(&[kind::NOP, kind::WINDOW_SCALE, len::WINDOW_SCALE, shift]);
        }
        if !sack.is_empty() {
            sack.emit(room.take(sack.aligned_len()));
        }
        if let Some(timeout) = user_timeout {
            let [high, low] = timeout.bits().to_be_bytes();
            room.put(&[kind::USER_TIMEOUT, len::USER_TIMEOUT, high, low]);
        }
        if let Some(cookie) = fast_open {
            cookie.emit(room.take(cookie.aligned_len()));
        }
    }
}

/// What is left of the header while its options are written.
struct Room<'a> {
    bytes: &'a mut [u8],
}

impl<'a> Room<'a> {
    fn put(&mut self, option: &[u8]) {
        bytes::put(self.take(option.len()), option);
    }

    /// The next `len` bytes, or none if there are not as many.
    fn take(&mut self, len: usize) -> &'a mut [u8] {
        match core::mem::take(&mut self.bytes).split_at_mut_checked(len) {
            Some((taken, rest)) => {
                self.bytes = rest;
                taken
            }
            None => &mut [],
        }
    }
}

/// The length field of an option of `data` bytes.
const fn with_head(data: usize) -> u8 {
    (data + 2) as u8
}
