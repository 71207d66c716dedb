//! The Internet checksum against the plainest way to compute it.

use freeway_wire::checksum::{self, Sum};

/// Any bytes, of which the first says where to cut.
pub fn checksum(data: &[u8]) {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let expected = word_by_word(bytes);
    assert_eq!(checksum::sum(bytes).finish(), expected);

    let mut copy = super::buffer(bytes.len());
    assert_eq!(checksum::copy_and_sum(&mut copy, bytes).finish(), expected);
    assert_eq!(copy, bytes);

    let cut = usize::from(cut).min(bytes.len());
    let (front, back) = bytes.split_at(cut);
    assert_eq!(Sum::new().add(front).join(checksum::sum(back), cut).finish(), expected);

    if let [a, b, c, d, ..] = *bytes {
        let (old, new) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([d, c, b, a]));
        copy[..4].copy_from_slice(&new.to_be_bytes());
        same_checksum(checksum::update32(expected, old, new), checksum::sum(&copy).finish());
        let halves = checksum::update16(expected, (old >> 16) as u16, (new >> 16) as u16);
        same_checksum(checksum::update16(halves, old as u16, new as u16), checksum::sum(&copy).finish());
    }
}

/// Zero has two representations; an update in place may come to the other one when all bytes are zero.
fn same_checksum(updated: u16, summed: u16) {
    let is_zero = |checksum| checksum == 0 || checksum == 0xffff;
    assert!(updated == summed || is_zero(updated) && is_zero(summed), "{updated:#06x} {summed:#06x}");
}

fn word_by_word(bytes: &[u8]) -> u16 {
    let mut sum = 0;
    for pair in bytes.chunks(2) {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        let (added, carry) = u16::overflowing_add(sum, word);
        sum = added + u16::from(carry);
    }
    !sum
}
