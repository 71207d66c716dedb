//! A checksum being added up.

use core::net::IpAddr;

use super::kernel;
use crate::Protocol;

/// A checksum being added up: a one's complement sum of 16-bit words, not folded yet, in the processor's byte order.
///
/// Pieces may be added in any order as long as each begins at an even offset of the whole; [`join`](Self::join)
/// takes one that does not.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    #[inline]
    pub const fn new() -> Self {
        Self(0)
    }

    /// With `bytes` added, which begin at an even offset; if their number is odd, they are followed by a zero.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "bytes are added to a sum, not sums to each other")]
    pub fn add(self, bytes: &[u8]) -> Self {
        Self(kernel::add(self.0, kernel::sum(bytes)))
    }

    /// With a word added, given in host order.
    #[inline]
    pub const fn add_u16(self, word: u16) -> Self {
        Self(kernel::add(self.0, word.to_be() as u64))
    }

    /// With two words added, given in host order.
    #[inline]
    pub const fn add_u32(self, words: u32) -> Self {
        Self(kernel::add(self.0, words.to_be() as u64))
    }

    /// With four words added, given in host order.
    #[inline]
    pub const fn add_u64(self, words: u64) -> Self {
        Self(kernel::add(self.0, words.to_be()))
    }

    /// With another sum added, whose bytes begin `offset` bytes into the whole. At an odd offset its bytes change
    /// places in their words.
    #[inline]
    pub const fn join(self, other: Self, offset: usize) -> Self {
        // A rotation by eight bits is a multiplication by 2^8, and 2^64 is 1 where carries go around.
        let placed = if offset.is_multiple_of(2) { other.0 } else { other.0.rotate_left(8) };
        Self(kernel::add(self.0, placed))
    }

    /// The sum as a 16-bit word in host order, not complemented: what a device that adds the rest itself wants in the
    /// checksum field.
    #[inline]
    pub const fn partial(self) -> u16 {
        u16::from_be(self.fold())
    }

    /// The checksum in host order.
    #[inline]
    pub const fn finish(self) -> u16 {
        !self.partial()
    }

    /// Whether the sum of a packet with its checksum in place is right.
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }

    /// Down to 16 bits, still in the processor's order.
    #[inline]
    const fn fold(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        ((sum & 0xffff) + (sum >> 16)) as u16
    }
}

/// The sum of `bytes`.
#[inline]
pub fn sum(bytes: &[u8]) -> Sum {
    Sum(kernel::sum(bytes))
}

/// Copies `src` to the front of `dst` as far as both go, and sums what was copied on the way.
#[inline]
pub fn copy_and_sum(dst: &mut [u8], src: &[u8]) -> Sum {
    Sum(kernel::copy_and_sum(dst, src))
}

/// The sum of the pseudo-header before a transport header of `len` bytes with its payload: RFC 9293 section 3.1 for
/// IPv4, RFC 8200 section 8.1 for IPv6.
///
/// Both addresses are of one family; the sum of any others is of no use.
#[inline]
pub fn pseudo_header(src: IpAddr, dst: IpAddr, protocol: Protocol, len: u32) -> Sum {
    address(src).join(address(dst), 0).add_u16(u16::from(protocol.0)).add_u32(len)
}

/// The same for addresses given as numbers, IPv4 mapped into `::ffff:0:0/96`: the prefix is a word of ones, which is zero
/// where carries go around.
#[inline]
pub const fn pseudo_header_mapped(src: u128, dst: u128, protocol: Protocol, len: u32) -> Sum {
    let sum = Sum::new().add_u64(src as u64).add_u64((src >> 64) as u64);
    let sum = sum.add_u64(dst as u64).add_u64((dst >> 64) as u64);
    sum.add_u32(len).add_u16(protocol.0 as u16)
}

#[inline]
fn address(address: IpAddr) -> Sum {
    match address {
        IpAddr::V4(address) => Sum(u64::from(u32::from_ne_bytes(address.octets()))),
        IpAddr::V6(address) => {
            let bits = u128::from_ne_bytes(address.octets());
            Sum(kernel::add(bits as u64, (bits >> 64) as u64))
        }
    }
}
