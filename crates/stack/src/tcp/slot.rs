//! What an entry of the flow table stands for.
//!
//! One table serves a flow in every stage of its life, so that a segment is looked up once, for one cache
//! miss. The two upper bits of an entry tell the stage, the others index that stage's own table.
//!
//! ```text
//!   31 30 29                                   0
//!  ┌─────┬──────────────────────────────────────┐
//!  │stage│ index                                │
//!  └─────┴──────────────────────────────────────┘
//!   00 connection   01 SYN-RECEIVED   10 TIME-WAIT
//! ```

/// The highest index an entry can carry.
pub(crate) const INDEX_MAX: u32 = (1 << STAGE_SHIFT) - 1;

const STAGE_SHIFT: u32 = 30;

/// A flow-table entry, unpacked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Slot {
    /// A connection with a TCB of its own.
    Connection(u32),
    /// A passive half-open connection.
    SynReceived(u32),
    /// What remains of a connection for twice the maximum segment lifetime.
    TimeWait(u32),
}

impl Slot {
    /// The entry as the flow table keeps it.
    #[inline]
    pub(crate) const fn pack(self) -> u32 {
        match self {
            Self::Connection(index) => index,
            Self::SynReceived(index) => index | 1 << STAGE_SHIFT,
            Self::TimeWait(index) => index | 2 << STAGE_SHIFT,
        }
    }

    /// The entry that the flow table kept.
    #[inline]
    pub(crate) const fn unpack(entry: u32) -> Self {
        let index = entry & INDEX_MAX;
        match entry >> STAGE_SHIFT {
            0 => Self::Connection(index),
            1 => Self::SynReceived(index),
            _ => Self::TimeWait(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_packing() {
        for index in [0, 1, INDEX_MAX] {
            for slot in [Slot::Connection(index), Slot::SynReceived(index), Slot::TimeWait(index)] {
                assert_eq!(Slot::unpack(slot.pack()), slot);
            }
        }
    }
}
