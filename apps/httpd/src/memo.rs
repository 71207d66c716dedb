//! Heads that came before: the same bytes ask for the same answer.
//!
//! Clients that stay, proxies and probes above all, send the same head again and again. What it came to is kept beside
//! its bytes, in a table of fixed size without chains: the place follows from a few of the bytes, and a head that leads to
//! a taken place takes it over. All of its bytes are compared, so what is found is what reading it again would find, as
//! long as the documents are the same.

use crate::ask::{Ask, Plan};

/// Bytes of a head that is kept at most.
const HEAD_MAX: usize = 472;

/// Bytes of a head at least.
const HEAD_MIN: usize = 20;

/// Where the bytes that lead to a place end at most.
const LOOK_MAX: usize = 64;

/// A head, and what it came to.
struct Slot {
    head: [u8; HEAD_MAX],
    /// Its length; 0 is none.
    len: u16,
    /// Of which documents that is true.
    changes: u32,
    answer: (Ask, Plan),
}

/// The heads of one core.
pub(crate) struct Memo {
    /// As many as a power of two, or none.
    slots: Box<[Slot]>,
}

impl Memo {
    /// Room for so many heads, rounded up to a power of two; 0 for none.
    pub(crate) fn new(heads: u32) -> Self {
        let slots = if heads == 0 { 0 } else { heads.next_power_of_two() };
        let slot = || Slot { head: [0; HEAD_MAX], len: 0, changes: 0, answer: (Ask::NONE, Plan::NONE) };
        Self { slots: std::iter::repeat_with(slot).take(slots as usize).collect() }
    }

    /// Keeps nothing from now on.
    pub(crate) fn end(&mut self) {
        self.slots = Box::default();
    }

    /// Forgets all heads.
    pub(crate) fn forget(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.len = 0);
    }

    /// The place of the head that `bytes` begin with. Which bytes lead there is the same for heads that differ in what
    /// follows only.
    fn place(&self, bytes: &[u8]) -> usize {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let end = bytes.len().min(LOOK_MAX);
        let word = |from: usize| {
            bytes.get(from..).and_then(<[u8]>::first_chunk).map_or(0, |chunk| u64::from_le_bytes(*chunk))
        };
        // Behind the method, and as far behind as there is something.
        let mut sum = word(4).wrapping_mul(SPREAD);
        for from in [12, end.saturating_sub(8)] {
            sum = (sum.rotate_left(23) ^ word(from)).wrapping_mul(SPREAD);
        }
        (sum >> 40) as usize & self.slots.len().wrapping_sub(1)
    }

    /// What the head at the beginning of `bytes` came to before.
    #[inline]
    pub(crate) fn find(&self, bytes: &[u8], changes: u32) -> Option<(Ask, Plan)> {
        let slot = self.slots.get(self.place(bytes))?;
        let head = slot.head.get(..usize::from(slot.len))?;
        (slot.len > 0 && slot.changes == changes && bytes.starts_with(head)).then_some(slot.answer)
    }

    /// Keeps what the head at the beginning of `bytes` came to.
    pub(crate) fn keep(&mut self, bytes: &[u8], changes: u32, ask: Ask, plan: Plan) {
        // The bytes that lead to a place must be there whenever it is looked for.
        let Some(head) = bytes.get(..ask.head_len).filter(|head| head.len() >= HEAD_MIN) else { return };
        let place = self.place(bytes);
        let Some(slot) = self.slots.get_mut(place) else { return };
        let Some(room) = slot.head.get_mut(..head.len()) else { return };
        room.copy_from_slice(head);
        (slot.len, slot.changes, slot.answer) = (head.len() as u16, changes, (ask, plan));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn keep(memo: &mut Memo, head: &str, number: u32) {
        let ask = Ask { head_len: head.len(), ..Ask::NONE };
        memo.keep(head.as_bytes(), 1, ask, Plan::Document(number));
    }

    fn find(memo: &Memo, bytes: &str) -> Option<Plan> {
        memo.find(bytes.as_bytes(), 1).map(|(_, plan)| plan)
    }

    #[test]
    fn a_head_is_found_by_all_of_its_bytes() {
        let mut memo = Memo::new(100);
        let head = "GET /a/long/path/to/a/document HTTP/1.1\r\nHost: a\r\nUser-Agent: somebody\r\n\r\n";
        keep(&mut memo, head, 7);
        assert_eq!(find(&memo, head), Some(Plan::Document(7)));
        assert_eq!(find(&memo, &head.repeat(2)), Some(Plan::Document(7)), "what follows does not matter");
        for place in 0..head.len() {
            assert_eq!(find(&memo, &head[..place]), None);
            let mut other = head.as_bytes().to_vec();
            other[place] ^= 1;
            assert!(memo.find(&other, 1).is_none(), "byte {place}");
        }
        assert!(memo.find(head.as_bytes(), 2).is_none(), "other documents");
        memo.end();
        assert_eq!(find(&memo, head), None);
    }

    #[test]
    fn the_newest_has_the_place_and_what_does_not_fit_is_not_kept() {
        let mut memo = Memo::new(1);
        let (one, two) = ("GET /one HTTP/1.1\r\n\r\n", "GET /two HTTP/1.1\r\n\r\n");
        keep(&mut memo, one, 1);
        keep(&mut memo, two, 2);
        assert_eq!((find(&memo, one), find(&memo, two)), (None, Some(Plan::Document(2))));
        keep(&mut memo, &format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(HEAD_MAX)), 3);
        keep(&mut memo, "GET / HTTP/1.1\r\n", 4);
        assert_eq!(find(&memo, two), Some(Plan::Document(2)));
        assert_eq!(find(&Memo::new(0), two), None);
    }
}
