//! The loops: sums of native-endian words in 64-bit one's complement, with or without a copy.
//!
//! Two shapes. Short bytes go through 64-bit additions with end-around carry, one dependent chain. From [`WIDE_MIN`]
//! bytes on, eight 64-bit lanes each add the two halves of a word: no carry ever leaves a lane (it would take 2^32
//! additions), so the loop has no dependency across lanes and the compiler turns it into vectors.

/// Bytes of one step of the wide loop.
const BLOCK: usize = 64;

/// From this length on the wide loop wins.
const WIDE_MIN: usize = 128;

/// Bytes that are copied and then summed: two of them fit into the smallest first cache there is. Even, as every piece
/// of a sum but the last must be.
const PIECE: usize = 2 << 10;

/// One's complement addition.
#[inline]
pub(super) const fn add(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    // Cannot overflow again: a sum that carried is at most 2^64 - 2.
    sum + carry as u64
}

/// The sum of `bytes`, with a zero byte appended if their number is odd.
#[inline]
pub(super) fn sum(bytes: &[u8]) -> u64 {
    if bytes.len() < WIDE_MIN { sum_short(bytes) } else { sum_wide(bytes) }
}

/// Copies `src` to `dst` as far as both go, and gives the sum of what was copied.
///
/// Short bytes in one loop that does both. Long ones piece by piece, so that what is summed is still in the first
/// cache: measured, that beats one loop, because the copy runs at the full width of the processor, which the loop for
/// the sum does not reach.
#[inline]
pub(super) fn copy_and_sum(dst: &mut [u8], src: &[u8]) -> u64 {
    let len = dst.len().min(src.len());
    let (Some(dst), Some(src)) = (dst.get_mut(..len), src.get(..len)) else { return 0 };
    if len < WIDE_MIN {
        return copy_and_sum_short(dst, src);
    }
    let mut total = 0;
    for (to, from) in dst.chunks_mut(PIECE).zip(src.chunks(PIECE)) {
        to.copy_from_slice(from);
        total = add(total, sum(from));
    }
    total
}

#[inline]
fn sum_short(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut total = 0;
    for word in words {
        total = add(total, u64::from_ne_bytes(*word));
    }
    add(total, last_word(tail))
}

#[inline]
fn copy_and_sum_short(dst: &mut [u8], src: &[u8]) -> u64 {
    let (words, tail) = src.as_chunks::<8>();
    let (words_to, tail_to) = dst.as_chunks_mut::<8>();
    let mut total = 0;
    for (to, word) in words_to.iter_mut().zip(words) {
        *to = *word;
        total = add(total, u64::from_ne_bytes(*word));
    }
    for (to, byte) in tail_to.iter_mut().zip(tail) {
        *to = *byte;
    }
    add(total, last_word(tail))
}

/// Up to seven bytes as a word, zeros behind them.
#[inline]
fn last_word(tail: &[u8]) -> u64 {
    let mut total = 0;
    let (word, tail) = match tail.split_first_chunk::<4>() {
        Some((word, tail)) => (u64::from(u32::from_ne_bytes(*word)), tail),
        None => (0, tail),
    };
    total += word;
    let (half, tail) = match tail.split_first_chunk::<2>() {
        Some((half, tail)) => (u64::from(u16::from_ne_bytes(*half)), tail),
        None => (0, tail),
    };
    total += half;
    if let [byte] = tail {
        total += u64::from(u16::from_ne_bytes([*byte, 0]));
    }
    total
}

type Lanes = [u64; BLOCK / 8];

fn sum_wide(bytes: &[u8]) -> u64 {
    let (blocks, tail) = bytes.as_chunks::<BLOCK>();
    let mut lanes = Lanes::default();
    for block in blocks {
        add_block(&mut lanes, block);
    }
    add(join(lanes), sum_short(tail))
}

#[inline(always)]
fn add_block(lanes: &mut Lanes, block: &[u8; BLOCK]) {
    let (words, _) = block.as_chunks::<8>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        let word = u64::from_ne_bytes(*word);
        *lane += (word & 0xffff_ffff) + (word >> 32);
    }
}

#[inline]
fn join(lanes: Lanes) -> u64 {
    lanes.into_iter().fold(0, add)
}
