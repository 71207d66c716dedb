//! Selective acknowledgement blocks, RFC 2018 section 3.

use super::{WORD, kind, with_head};
use crate::bytes::U32;
use crate::tcp::SeqNumber;

/// Blocks of an option: what fits into 40 bytes without timestamps.
const BLOCKS_MAX: usize = 4;

/// Bytes of one block.
const BLOCK_LEN: usize = 8;

/// Up to four blocks of sequence numbers, each from its first number to the one behind its last. What lies in them is
/// not judged here: a first block below the acknowledgment number is a D-SACK (RFC 2883).
#[derive(Clone, Copy, Default)]
pub struct SackBlocks {
    blocks: [(SeqNumber, SeqNumber); BLOCKS_MAX],
    len: u8,
}

impl SackBlocks {
    /// No block.
    pub const NONE: Self = Self { blocks: [(SeqNumber(0), SeqNumber(0)); BLOCKS_MAX], len: 0 };

    /// Blocks that an option can hold.
    pub const MAX: usize = BLOCKS_MAX;

    /// The blocks, in the order of the option.
    #[inline]
    pub fn as_slice(&self) -> &[(SeqNumber, SeqNumber)] {
        self.blocks.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// The blocks one by one.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (SeqNumber, SeqNumber)> {
        self.as_slice().iter().copied()
    }

    /// How many blocks there are.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a block; false, and nothing is changed, when there are four.
    #[inline]
    pub fn push(&mut self, first: SeqNumber, behind_last: SeqNumber) -> bool {
        match self.blocks.get_mut(usize::from(self.len)) {
            Some(block) => {
                *block = (first, behind_last);
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// Reads an option's data; `None` unless it is one to four whole blocks.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let (blocks, []) = data.as_chunks::<BLOCK_LEN>() else { return None };
        let mut sack = Self::NONE;
        for block in blocks {
            if !sack.push(SeqNumber(U32(0).get(block)), SeqNumber(U32(4).get(block))) {
                return None;
            }
        }
        if sack.is_empty() { None } else { Some(sack) }
    }

    /// Bytes of the option behind two NOPs; zero without blocks.
    #[inline]
    pub(super) const fn aligned_len(&self) -> usize {
        if self.is_empty() { 0 } else { WORD + self.len() * BLOCK_LEN }
    }

    /// As many blocks, from the first, as `room` bytes hold.
    pub(super) fn within(mut self, room: usize) -> Self {
        let blocks = room.saturating_sub(WORD) / BLOCK_LEN;
        self.len = self.len.min(blocks as u8);
        self
    }

    /// Writes the option behind two NOPs.
    pub(super) fn emit(&self, bytes: &mut [u8]) {
        let Some((head, rest)) = bytes.split_first_chunk_mut::<WORD>() else { return };
        *head = [kind::NOP, kind::NOP, kind::SACK, with_head(self.len() * BLOCK_LEN)];
        let (blocks, _) = rest.as_chunks_mut::<BLOCK_LEN>();
        for (block, (first, behind_last)) in blocks.iter_mut().zip(self.iter()) {
            U32(0).set(block, first.0);
            U32(4).set(block, behind_last.0);
        }
    }
}

/// Only blocks that are there count.
impl PartialEq for SackBlocks {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for SackBlocks {}

impl core::fmt::Debug for SackBlocks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

impl FromIterator<(SeqNumber, SeqNumber)> for SackBlocks {
    /// The first four blocks.
    fn from_iter<I: IntoIterator<Item = (SeqNumber, SeqNumber)>>(blocks: I) -> Self {
        let mut sack = Self::NONE;
        for (first, behind_last) in blocks.into_iter().take(BLOCKS_MAX) {
            sack.push(first, behind_last);
        }
        sack
    }
}
