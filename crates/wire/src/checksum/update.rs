//! Changing a checksum along with a field, without summing the packet again: RFC 1624, equation 3.

/// The checksum (host order) after a word of the packet changed from `old` to `new`.
#[inline]
pub const fn update16(checksum: u16, old: u16, new: u16) -> u16 {
    // HC' = ~(~HC + ~m + m')
    fold(!checksum as u32 + !old as u32 + new as u32)
}

/// The checksum (host order) after two adjacent words of the packet changed from `old` to `new`.
#[inline]
pub const fn update32(checksum: u16, old: u32, new: u32) -> u16 {
    let gone = (!old & 0xffff) + (!old >> 16);
    let come = (new & 0xffff) + (new >> 16);
    fold(!checksum as u32 + gone + come)
}

#[inline]
const fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}
