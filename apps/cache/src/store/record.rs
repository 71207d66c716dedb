//! How an item lies in memory.
//!
//! ```text
//!   8 bytes   0 or 4   0 or 4  0 or 8          0 or 8   1..250   0..65,024        to a multiple of 8
//!  ┌────────┬────────┬───────┬───────────────┬────────┬────────┬────────────────┬ ─ ─ ┐
//!  │ header │ expiry │ flags │ total, first  │ CAS    │ key    │ value or what  │ pad
//!  │        │        │       │ segment       │        │        │ is left of it  │
//!  └────────┴────────┴───────┴───────────────┴────────┴────────┴────────────────┴ ─ ─ ┘
//! ```
//!
//! The header is one little-endian word:
//!
//! | bits | what |
//! |---|---|
//! | 0-7 | length of the key |
//! | 8-23 | bytes of the value that lie here |
//! | 24-39 | CAS unique, as the difference to the segment's |
//! | 40-52 | when it was last asked for, see [`Age`] |
//! | 53-54 | how often it was asked for since it came or moved, at most 3 |
//! | 55-63 | [`Bits`] |
//!
//! What few items have - an expiry, client flags, a CAS unique that a client has seen and that no longer is near its
//! segment's, a value longer than a segment - stands in the optional fields behind it.

/// Bytes of a header.
pub(crate) const HEADER: usize = 8;
/// The longest key, in bytes (memcached's protocol.txt, "Keys").
pub const KEY_MAX: usize = 250;
/// All optional fields together, in bytes.
const FIELDS_MAX: usize = 4 + 4 + 8 + 8;
/// Bytes of a record before its value, at most.
pub(crate) const HEAD_MAX: usize = (HEADER + FIELDS_MAX + KEY_MAX).next_multiple_of(8);

/// Asked for this often, an item's count stands still.
pub(crate) const FREQUENCY_MAX: u8 = 3;

/// What is true of an item, and which fields it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bits(u64);

impl Bits {
    pub(crate) const NONE: Self = Self(0);
    /// It has client flags other than 0.
    pub(crate) const FLAGS: Self = Self(1 << 55);
    /// It expires.
    pub(crate) const EXPIRY: Self = Self(1 << 56);
    /// Its CAS unique stands in a field.
    pub(crate) const CAS: Self = Self(1 << 57);
    /// Its value begins in segments of its own.
    pub(crate) const LARGE: Self = Self(1 << 58);
    /// It was invalidated, and is served until somebody has a newer value.
    pub(crate) const STALE: Self = Self(1 << 59);
    /// Somebody was told to recache it.
    pub(crate) const WON: Self = Self(1 << 60);
    /// It was asked for since it was stored.
    pub(crate) const FETCHED: Self = Self(1 << 61);
    /// A client has seen its CAS unique, which must stay what it is.
    pub(crate) const CAS_SHOWN: Self = Self(1 << 62);
    /// It is out of the index: space without content.
    pub(crate) const DEAD: Self = Self(1 << 63);

    /// What says which fields there are.
    const FIELDS: Self = Self(Self::FLAGS.0 | Self::EXPIRY.0 | Self::CAS.0 | Self::LARGE.0);

    #[inline]
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[inline]
    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    #[inline]
    pub(crate) const fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }

    #[inline]
    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Bytes of the fields that these say there are.
    #[inline]
    pub(crate) const fn field_bytes(self) -> usize {
        4 * (self.has(Self::EXPIRY) as usize + self.has(Self::FLAGS) as usize)
            + 8 * (self.has(Self::LARGE) as usize + self.has(Self::CAS) as usize)
    }
}

/// A record's first word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header(u64);

/// The header's parts that are no bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Parts {
    pub(crate) key_len: u8,
    pub(crate) inline_len: u16,
    pub(crate) cas_delta: u16,
    pub(crate) age: Age,
    pub(crate) frequency: u8,
}

impl Header {
    const AGE_MASK: u64 = (1 << 13) - 1;

    pub(crate) const fn new(parts: Parts, bits: Bits) -> Self {
        let Parts { key_len, inline_len, cas_delta, age, frequency } = parts;
        Self(
            key_len as u64
                | (inline_len as u64) << 8
                | (cas_delta as u64) << 24
                | (age.0 as u64 & Self::AGE_MASK) << 40
                | (frequency as u64 & 3) << 53
                | bits.0,
        )
    }

    #[inline]
    pub(crate) const fn from_bytes(bytes: [u8; HEADER]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }

    #[inline]
    pub(crate) const fn to_bytes(self) -> [u8; HEADER] {
        self.0.to_le_bytes()
    }

    #[inline]
    pub(crate) const fn bits(self) -> Bits {
        Bits(self.0 >> 55 << 55)
    }

    #[inline]
    pub(crate) const fn has(self, bits: Bits) -> bool {
        self.bits().has(bits)
    }

    #[inline]
    pub(crate) const fn key_len(self) -> usize {
        (self.0 & 0xff) as usize
    }

    #[inline]
    pub(crate) const fn inline_len(self) -> usize {
        (self.0 >> 8 & 0xffff) as usize
    }

    #[inline]
    pub(crate) const fn cas_delta(self) -> u16 {
        (self.0 >> 24) as u16
    }

    #[inline]
    pub(crate) const fn age(self) -> Age {
        Age((self.0 >> 40 & Self::AGE_MASK) as u16)
    }

    #[inline]
    pub(crate) const fn frequency(self) -> u8 {
        (self.0 >> 53 & 3) as u8
    }

    #[must_use]
    #[inline]
    pub(crate) const fn with_bits(self, bits: Bits) -> Self {
        Self(self.0 & !(Bits(u64::MAX << 55).0) | bits.0)
    }

    #[must_use]
    #[inline]
    pub(crate) const fn with_cas_delta(self, delta: u16) -> Self {
        Self(self.0 & !(0xffff << 24) | (delta as u64) << 24)
    }

    #[must_use]
    #[inline]
    pub(crate) const fn with_age(self, age: Age) -> Self {
        Self(self.0 & !(Self::AGE_MASK << 40) | (age.0 as u64 & Self::AGE_MASK) << 40)
    }

    #[must_use]
    #[inline]
    pub(crate) const fn with_frequency(self, frequency: u8) -> Self {
        Self(self.0 & !(3 << 53) | (frequency as u64 & 3) << 53)
    }

    /// Bytes before the key.
    #[inline]
    pub(crate) const fn key_at(self) -> usize {
        HEADER + self.bits().field_bytes()
    }

    /// Bytes before the part of the value that lies here.
    #[inline]
    pub(crate) const fn value_at(self) -> usize {
        self.key_at() + self.key_len()
    }

    /// The record's whole length, which is a multiple of 8.
    #[inline]
    pub(crate) const fn record_len(self) -> usize {
        (self.value_at() + self.inline_len()).next_multiple_of(8)
    }

    // ---- where a field stands, if there is one ----

    #[inline]
    pub(crate) const fn expiry_at(self) -> Option<usize> {
        if self.has(Bits::EXPIRY) { Some(HEADER) } else { None }
    }

    #[inline]
    pub(crate) const fn flags_at(self) -> Option<usize> {
        let before = Bits(self.bits().0 & Bits::EXPIRY.0).field_bytes();
        if self.has(Bits::FLAGS) { Some(HEADER + before) } else { None }
    }

    #[inline]
    pub(crate) const fn large_at(self) -> Option<usize> {
        let before = Bits(self.bits().0 & (Bits::EXPIRY.0 | Bits::FLAGS.0)).field_bytes();
        if self.has(Bits::LARGE) { Some(HEADER + before) } else { None }
    }

    #[inline]
    pub(crate) const fn cas_at(self) -> Option<usize> {
        let before = Bits(self.bits().0 & Bits::FIELDS.without(Bits::CAS).0).field_bytes();
        if self.has(Bits::CAS) { Some(HEADER + before) } else { None }
    }
}

/// Seconds since a segment was opened, in 13 bits: exact below 1,024, then to one part in 512, up to a year.
///
/// ```text
///  12          9 8             0
/// ┌─────────────┬───────────────┐     exponent 0: mantissa
/// │ exponent    │ mantissa      │     else: (mantissa + 512) << (exponent - 1)
/// └─────────────┴───────────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Age(u16);

impl Age {
    #[inline]
    pub(crate) const fn from_secs(secs: u32) -> Self {
        if secs < 512 {
            return Self(secs as u16);
        }
        let exponent = 23 - secs.leading_zeros();
        if exponent > 15 {
            return Self(0x1fff);
        }
        Self((exponent << 9 | (secs >> (exponent - 1)) & 0x1ff) as u16)
    }

    #[inline]
    pub(crate) const fn secs(self) -> u32 {
        let (exponent, mantissa) = (self.0 >> 9, self.0 as u32 & 0x1ff);
        if exponent == 0 { mantissa } else { (mantissa + 512) << (exponent - 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_gives_back_its_parts() {
        let parts =
            Parts { key_len: 250, inline_len: 65_024, cas_delta: 54_321, age: Age(0x1abc), frequency: 2 };
        let header = Header::new(parts, Bits::FLAGS.with(Bits::DEAD));
        let again = Header::from_bytes(header.to_bytes());
        assert_eq!((again.key_len(), again.inline_len(), again.cas_delta()), (250, 65_024, 54_321));
        assert_eq!((again.age(), again.frequency()), (Age(0x1abc), 2));
        assert_eq!(again.bits(), Bits::FLAGS.with(Bits::DEAD));
        let changed = again.with_cas_delta(1).with_age(Age(7)).with_frequency(3).with_bits(Bits::LARGE);
        assert_eq!((changed.cas_delta(), changed.age(), changed.frequency()), (1, Age(7), 3));
        assert_eq!((changed.bits(), changed.key_len(), changed.inline_len()), (Bits::LARGE, 250, 65_024));
    }

    #[test]
    fn fields_stand_one_behind_the_other() {
        for set in 0..16_u32 {
            let bits = Bits::EXPIRY
                .when(set & 1 != 0)
                .with(Bits::FLAGS.when(set & 2 != 0))
                .with(Bits::LARGE.when(set & 4 != 0))
                .with(Bits::CAS.when(set & 8 != 0));
            let header = Header::new(Parts { key_len: 3, inline_len: 5, ..Parts::default() }, bits);
            let fields = [
                (header.expiry_at(), 4),
                (header.flags_at(), 4),
                (header.large_at(), 8),
                (header.cas_at(), 8),
            ];
            let mut end = HEADER;
            for (at, len) in fields {
                if let Some(at) = at {
                    assert_eq!(at, end, "fields {set:04b}");
                    end += len;
                }
            }
            assert_eq!((header.key_at(), header.value_at()), (end, end + 3));
            assert_eq!(header.record_len(), (end + 8).next_multiple_of(8));
        }
    }

    #[test]
    fn an_age_is_exact_at_first_and_never_off_by_more_than_a_512th() {
        for secs in (0..5_000).chain((5_000..16_000_000).step_by(997)) {
            let read = Age::from_secs(secs).secs();
            assert!(read <= secs, "{secs} reads as {read}");
            assert!(secs - read <= secs / 512, "{secs} reads as {read}");
            assert!(secs >= 1_024 || read == secs, "{secs} reads as {read}");
        }
        assert_eq!(Age::from_secs(u32::MAX).secs(), 1_023 << 14);
    }
}
