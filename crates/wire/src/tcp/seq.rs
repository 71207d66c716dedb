//! Sequence numbers, RFC 9293 section 3.4: 32 bits that wrap.

use core::fmt;
use core::ops::{Add, AddAssign, Sub, SubAssign};

/// A sequence number. Two of them compare by the shorter way around the circle, so an order holds only between
/// numbers less than 2^31 apart; that is why this is no `Ord`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SeqNumber(pub u32);

impl SeqNumber {
    /// How far `self` lies behind `other`, negative if it lies before it.
    #[inline]
    const fn offset_from(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// `self < other`
    #[inline]
    pub const fn is_before(self, other: Self) -> bool {
        self.offset_from(other) < 0
    }

    /// `self <= other`
    #[inline]
    pub const fn is_at_or_before(self, other: Self) -> bool {
        self.offset_from(other) <= 0
    }

    /// `self > other`
    #[inline]
    pub const fn is_after(self, other: Self) -> bool {
        self.offset_from(other) > 0
    }

    /// `self >= other`
    #[inline]
    pub const fn is_at_or_after(self, other: Self) -> bool {
        self.offset_from(other) >= 0
    }

    /// How many numbers it is from `earlier` to this one, going upwards.
    #[inline]
    pub const fn distance_from(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether `start <= self < start + len`. Exact for any `len`; nothing is in a window of none.
    #[inline]
    pub const fn in_window(self, start: Self, len: u32) -> bool {
        self.distance_from(start) < len
    }

    /// The later of the two.
    #[inline]
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.is_before(other) { other } else { self }
    }

    /// The earlier of the two.
    #[inline]
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.is_after(other) { other } else { self }
    }
}

impl Add<u32> for SeqNumber {
    type Output = Self;

    #[inline]
    fn add(self, len: u32) -> Self {
        Self(self.0.wrapping_add(len))
    }
}

impl AddAssign<u32> for SeqNumber {
    #[inline]
    fn add_assign(&mut self, len: u32) {
        *self = *self + len;
    }
}

impl Sub<u32> for SeqNumber {
    type Output = Self;

    #[inline]
    fn sub(self, len: u32) -> Self {
        Self(self.0.wrapping_sub(len))
    }
}

impl SubAssign<u32> for SeqNumber {
    #[inline]
    fn sub_assign(&mut self, len: u32) {
        *self = *self - len;
    }
}

impl fmt::Display for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for SeqNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        let (low, high) = (SeqNumber(5), SeqNumber(u32::MAX - 5));
        assert!(high.is_before(low) && low.is_after(high));
        assert!(high.is_at_or_before(high) && high.is_at_or_after(high));
        assert_eq!(low.distance_from(high), 11);
        assert_eq!(high + 11, low);
        assert_eq!(low - 11, high);
        assert_eq!((low.max(high), low.min(high)), (low, high));
    }

    #[test]
    fn window_is_half_open_and_may_wrap() {
        let start = SeqNumber(u32::MAX);
        assert!(start.in_window(start, 1) && SeqNumber(0).in_window(start, 2));
        assert!(!start.in_window(start, 0) && !SeqNumber(0).in_window(start, 1));
        assert!(!(start - 1).in_window(start, u32::MAX));
    }
}
