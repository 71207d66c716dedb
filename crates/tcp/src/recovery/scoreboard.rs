//! The scoreboard (RFC 2018, section 8; RFC 6675, section 3): everything between SND.UNA and SND.NXT, as spans.
//!
//! ```text
//!   una                                                                            nxt
//!    │ lost │ sacked ............. │ resent │ sacked │ sent at 7 µs │ sent at 9 µs │
//! ```
//!
//! A span is a run of sequence numbers that were sent in one turn and have met the same fate; it begins where the one
//! before it ends. The clock is read once a turn, so what a turn sends is one span; a SACK block splits spans, and
//! equal neighbours become one again. Their number is bounded, by what the caller has given: when there is no more room
//! neighbours are merged, by forgetting what distinguishes them, so that nothing is ever called lost or delivered that is
//! not. When exactly they were sent is forgotten first, and evenly: what was sent within a small part of the flight's age.

use core::ops::{Deref, DerefMut};

use bitflags::bitflags;
use freeway_wire::tcp::SeqNumber;

/// The newest spans are merged last: round trips are measured by them.
const FRESH: usize = 8;

bitflags! {
    /// What became of a span.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct Fate: u8 {
        /// Selectively acknowledged.
        const SACKED = 1 << 0;
        /// Declared lost.
        const LOST = 1 << 1;
        /// Sent again after it was lost, and that repetition is not known to be lost.
        const RESENT = 1 << 2;
        /// Sent more than once: its acknowledgment is ambiguous (Karn).
        const AGAIN = 1 << 3;
    }
}

/// A run of sequence numbers with one history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Span {
    /// The sequence number behind its last.
    pub(crate) end: SeqNumber,
    /// When the last of it was sent (again) last, in microseconds.
    pub(crate) sent_at: u32,
    /// Bytes that the peer had received by then.
    pub(crate) delivered: u32,
    /// How much earlier the first of it was sent at most, in units of 2^[`SPREAD_SHIFT`] microseconds; all ones when it may
    /// be longer.
    pub(crate) spread: u16,
    pub(crate) fate: Fate,
    /// It was cut off a longer one, whose last was sent at `sent_at`, its own some time before.
    pub(crate) is_cut: bool,
}

/// 16 µs: a spread is at most a second.
const SPREAD_SHIFT: u32 = 4;

const _: () = assert!(size_of::<Span>() == 16);

impl Span {
    const NONE: Self =
        Self { end: SeqNumber(0), sent_at: 0, delivered: 0, spread: 0, fate: Fate::empty(), is_cut: false };

    /// The earliest that any of it was sent; `None` when that is not known any more.
    pub(crate) fn first_sent_at(&self) -> Option<u32> {
        (self.spread < u16::MAX).then(|| self.sent_at.wrapping_sub(u32::from(self.spread) << SPREAD_SHIFT))
    }

    /// When the last of it was sent, if that is known exactly.
    pub(crate) const fn last_sent_at(&self) -> Option<u32> {
        let is_known = self.spread == 0 || !self.is_cut && !self.fate.contains(Fate::AGAIN);
        if is_known { Some(self.sent_at) } else { None }
    }

    /// The first part of it, up to `end`.
    fn up_to(&self, end: SeqNumber) -> Self {
        Self { end, is_cut: self.is_cut || end != self.end && self.spread > 0, ..*self }
    }

    /// Whether nothing is lost by making one of this and the next.
    fn is_like(&self, next: &Self) -> bool {
        // Of what is delivered, or waits to be sent again, nobody asks when it was sent.
        let settled = |fate: Fate| {
            fate.contains(Fate::SACKED) || fate == Fate::LOST | Fate::AGAIN || fate == Fate::LOST
        };
        self.fate == next.fate
            && (settled(self.fate) || self.sent_at == next.sent_at && self.spread == 0 && next.spread == 0)
    }

    /// This span and the next as one, of which only that is said which is true of both.
    fn joined(&self, next: &Self) -> Self {
        let newer = if is_later(next.sent_at, self.sent_at) { next } else { self };
        let first = |span: &Self| span.first_sent_at();
        let spread = match (first(self), first(next)) {
            (Some(a), Some(b)) => {
                let earliest = if is_later(a, b) { b } else { a };
                let units = newer.sent_at.wrapping_sub(earliest).div_ceil(1 << SPREAD_SHIFT);
                u16::try_from(units).unwrap_or(u16::MAX)
            }
            _ => u16::MAX,
        };
        let again = (self.fate | next.fate).intersection(Fate::AGAIN);
        let both = self.fate.intersection(next.fate);
        // Lost and sent again beside lost: that which was sent again may be under way.
        let fate = if self.fate.contains(Fate::RESENT) == next.fate.contains(Fate::RESENT) {
            both
        } else {
            both.difference(Fate::LOST)
        };
        Self {
            end: next.end,
            sent_at: newer.sent_at,
            delivered: self.delivered,
            spread,
            fate: fate | again,
            is_cut: next.is_cut || newer.sent_at != next.sent_at,
        }
    }
}

/// Whether `a` is later than `b`, of two times in wrapping microseconds.
#[inline]
pub(crate) const fn is_later(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// Everything in flight. `Scoreboard` is one with room for any number of spans, [`Board`] one with room for `N`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Scoreboard<S: ?Sized = [Span]> {
    /// SND.UNA, where the first span begins.
    una: SeqNumber,
    /// Bytes selectively acknowledged.
    sacked: u32,
    /// Bytes lost; those sent again since are among them.
    lost: u32,
    /// Bytes sent again after they were lost, and not known to be lost again.
    resent: u32,
    first: u16,
    len: u16,
    spans: S,
}

/// A scoreboard with room for `N` spans.
pub(crate) type Board<const N: usize> = Scoreboard<[Span; N]>;

impl<const N: usize> Board<N> {
    pub(crate) const fn new(una: SeqNumber) -> Self {
        Self { una, sacked: 0, lost: 0, resent: 0, first: 0, len: 0, spans: [Span::NONE; N] }
    }
}

impl<const N: usize> Deref for Board<N> {
    type Target = Scoreboard;

    #[inline]
    fn deref(&self) -> &Scoreboard {
        self
    }
}

impl<const N: usize> DerefMut for Board<N> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Scoreboard {
        self
    }
}

impl Scoreboard {
    /// How many spans there is room for.
    #[inline]
    pub(crate) const fn room(&self) -> usize {
        self.spans.len()
    }

    /// Takes over what `other` knows; forgets as much as there is no room for.
    pub(crate) fn adopt(&mut self, other: &Self) {
        let &Self { una, sacked, lost, resent, .. } = other;
        (self.una, self.sacked, self.lost, self.resent) = (una, 0, 0, 0);
        (self.first, self.len) = (0, 0);
        for &span in other.spans() {
            self.make_room();
            let start = self.nxt();
            self.count(start, &span, true);
            self.insert(usize::from(self.len), span);
        }
        debug_assert!(
            self.room() < other.room() || [sacked, lost, resent] == [self.sacked, self.lost, self.resent]
        );
    }

    /// The spans in the order of their sequence numbers.
    #[inline]
    pub(crate) fn spans(&self) -> &[Span] {
        let first = usize::from(self.first);
        self.spans.get(first..first + usize::from(self.len)).unwrap_or(&[])
    }

    #[inline]
    fn spans_mut(&mut self) -> &mut [Span] {
        let first = usize::from(self.first);
        self.spans.get_mut(first..first + usize::from(self.len)).unwrap_or(&mut [])
    }

    /// SND.UNA.
    pub(crate) const fn una(&self) -> SeqNumber {
        self.una
    }

    /// SND.NXT, as far as the scoreboard knows.
    #[inline]
    pub(crate) fn nxt(&self) -> SeqNumber {
        self.spans().last().map_or(self.una, |span| span.end)
    }

    /// Where span `index` begins.
    fn start(&self, index: usize) -> SeqNumber {
        match index.checked_sub(1).and_then(|before| self.spans().get(before)) {
            Some(before) => before.end,
            None => self.una,
        }
    }

    /// New data was sent, up to `end`.
    #[inline]
    pub(crate) fn sent(&mut self, end: SeqNumber, now_us: u32, delivered: u32) {
        let span = Span { end, sent_at: now_us, delivered, spread: 0, fate: Fate::empty(), is_cut: false };
        if let Some(last) = self.spans_mut().last_mut()
            && last.is_like(&span)
        {
            last.end = end;
            return;
        }
        self.make_room();
        let len = usize::from(self.len);
        self.insert(len, span);
    }

    /// SND.UNA moved to `una`: `visit` is shown each span (with its first sequence number) that is acknowledged, cut to
    /// what is.
    #[inline]
    pub(crate) fn acknowledge(&mut self, una: SeqNumber, mut visit: impl FnMut(SeqNumber, &Span)) {
        while let Some(&span) = self.spans().first()
            && self.una.is_before(una)
        {
            let to = span.end.min(una);
            let part = span.up_to(to);
            self.count(self.una, &part, false);
            visit(self.una, &part);
            self.una = to;
            if to == span.end {
                self.first += 1;
                self.len -= 1;
            }
        }
        if self.len == 0 {
            self.first = 0;
        }
        self.una = una;
    }

    /// What lay in `from..to` was sent again. It stays lost, if it was, and is under way again.
    pub(crate) fn resent(&mut self, from: SeqNumber, to: SeqNumber, now_us: u32, delivered: u32) {
        self.change(from, to, |_, span| {
            if span.fate.contains(Fate::SACKED) {
                return;
            }
            // A probe repeats what is not lost: that is in the network as before.
            let resent = if span.fate.contains(Fate::LOST) { Fate::RESENT } else { Fate::empty() };
            *span = Span {
                sent_at: now_us,
                delivered,
                spread: 0,
                fate: span.fate | resent | Fate::AGAIN,
                is_cut: false,
                ..*span
            };
        });
    }

    /// Changes every span of `from..to`, of which only what lies in flight counts; spans that reach beyond are split.
    /// `change` is shown the span's first sequence number, too.
    pub(crate) fn change(
        &mut self,
        from: SeqNumber,
        to: SeqNumber,
        change: impl FnMut(SeqNumber, &mut Span),
    ) {
        let (from, to) = (from.max(self.una), to.min(self.nxt()));
        if !from.is_before(to) {
            return;
        }
        self.make_room();
        let begin = self.split(from);
        let end = self.split(to);
        self.change_spans(begin, end, change);
        self.merge_alike(begin.saturating_sub(1), end + 1);
    }

    /// Changes every span, likewise.
    pub(crate) fn change_all(&mut self, change: impl FnMut(SeqNumber, &mut Span)) {
        let end = usize::from(self.len);
        if self.change_spans(0, end, change) {
            self.merge_alike(0, end);
        }
    }

    /// Changes the spans `begin..end`; returns whether any is not what it was.
    fn change_spans(
        &mut self,
        begin: usize,
        end: usize,
        mut change: impl FnMut(SeqNumber, &mut Span),
    ) -> bool {
        let mut start = self.start(begin);
        let mut has_changed = false;
        for index in begin..end {
            let Some(&before) = self.spans().get(index) else { break };
            let mut span = before;
            change(start, &mut span);
            if span != before {
                has_changed = true;
                self.count(start, &before, false);
                self.count(start, &span, true);
                if let Some(place) = self.spans_mut().get_mut(index) {
                    *place = span;
                }
            }
            start = before.end;
        }
        has_changed
    }

    /// Bytes selectively acknowledged.
    #[inline]
    pub(crate) const fn sacked(&self) -> u32 {
        self.sacked
    }

    /// Bytes lost and not yet delivered; those under way again are among them.
    #[inline]
    pub(crate) const fn lost(&self) -> u32 {
        self.lost
    }

    /// SetPipe of RFC 6675, section 4: bytes that are in the network, as far as is known.
    #[inline]
    pub(crate) fn pipe(&self) -> u32 {
        let gone = self.sacked.saturating_add(self.lost).saturating_sub(self.resent);
        self.nxt().distance_from(self.una).saturating_sub(gone)
    }

    /// Whether something lost waits to be sent again.
    #[inline]
    pub(crate) const fn has_lost(&self) -> bool {
        self.lost > self.resent
    }

    /// NextSeg of RFC 6675, section 4, rule 1: the first run that is lost and not under way again.
    pub(crate) fn next_lost(&self) -> Option<(SeqNumber, SeqNumber)> {
        if !self.has_lost() {
            return None;
        }
        let waits = |span: &Span| span.fate.contains(Fate::LOST) && !span.fate.contains(Fate::RESENT);
        let first = self.spans().iter().position(waits)?;
        let run = self.spans().get(first..)?.iter().take_while(|span| waits(span));
        Some((self.start(first), run.last()?.end))
    }

    /// The index of the span that begins at `at`, or the number of spans: one is split if it has to be.
    fn split(&mut self, at: SeqNumber) -> usize {
        let index = self.spans().partition_point(|span| span.end.is_at_or_before(at));
        let Some(&span) = self.spans().get(index) else { return index };
        if self.start(index) == at {
            return index;
        }
        self.insert(index, span.up_to(at));
        index + 1
    }

    /// Adds a span to the counts, or takes it out of them.
    #[inline]
    fn count(&mut self, start: SeqNumber, span: &Span, add: bool) {
        if !span.fate.intersects(Fate::SACKED | Fate::LOST | Fate::RESENT) {
            return;
        }
        let len = span.end.distance_from(start);
        let signed = if add { len } else { len.wrapping_neg() };
        for (fate, count) in
            [(Fate::SACKED, &mut self.sacked), (Fate::LOST, &mut self.lost), (Fate::RESENT, &mut self.resent)]
        {
            if span.fate.contains(fate) {
                *count = count.wrapping_add(signed);
            }
        }
    }

    /// Puts a span before the one at `index`; there is room.
    fn insert(&mut self, index: usize, span: Span) {
        let (first, len) = (usize::from(self.first), usize::from(self.len));
        let room = self.room();
        if first + len >= room {
            self.spans.copy_within(first.., 0);
            self.first = 0;
        }
        let at = usize::from(self.first) + index;
        let end = usize::from(self.first) + len;
        if end < room && at <= end {
            self.spans.copy_within(at..end, at + 1);
            if let Some(place) = self.spans.get_mut(at) {
                *place = span;
                self.len += 1;
            }
        }
    }

    /// Makes one of neighbours that are alike, among the spans `begin..end`.
    fn merge_alike(&mut self, begin: usize, end: usize) {
        self.merge(begin, end, Span::is_like, true);
    }

    /// Makes one of neighbours that `may` be, among the spans `begin..end`: of `many`, or, where they are not alike, of
    /// two at most.
    fn merge(&mut self, begin: usize, end: usize, may: impl Fn(&Span, &Span) -> bool, many: bool) {
        let end = end.min(usize::from(self.len));
        let mut kept = begin;
        let mut joined_at = usize::MAX;
        for index in begin + 1..end {
            let (Some(&one), Some(&next)) = (self.spans().get(kept), self.spans().get(index)) else { return };
            let alike = one.is_like(&next);
            if alike || (many || joined_at != kept) && may(&one, &next) {
                self.join(kept, &one, &next);
                joined_at = if alike { joined_at } else { kept };
            } else {
                kept += 1;
                if let Some(place) = self.spans_mut().get_mut(kept) {
                    *place = next;
                }
            }
        }
        let (gap, len) = (end.saturating_sub(kept + 1), usize::from(self.len));
        if gap > 0 && end > begin {
            self.spans_mut().copy_within(end..len, kept + 1);
            self.len -= gap as u16;
        }
    }

    /// Writes `one` and `next`, its neighbour, into the place `index` as one.
    fn join(&mut self, index: usize, one: &Span, next: &Span) {
        let joined = one.joined(next);
        if one.fate != next.fate {
            // The counts speak of what is said of both from now on.
            let start = self.start(index);
            self.count(start, one, false);
            self.count(one.end, next, false);
            self.count(start, &joined, true);
        }
        if let Some(place) = self.spans_mut().get_mut(index) {
            *place = joined;
        }
    }

    /// Makes room for two more spans, by forgetting: first when exactly older ones were sent, then whatever it takes.
    #[inline]
    fn make_room(&mut self) {
        if usize::from(self.len) + 2 > self.room() {
            self.forget();
        }
    }

    #[cold]
    fn forget(&mut self) {
        // First neighbours that were sent close together: within four parts of the flight's age, of which there are as many
        // as there is room for spans. Two spans that are left stand for more than that, so their number at least halves.
        // The newest stay as they are.
        let old = usize::from(self.len).saturating_sub(FRESH);
        let age = self.age();
        let apart =
            u16::try_from((age >> SPREAD_SHIFT) / (self.room() as u32).max(16) * 4 + 1).unwrap_or(u16::MAX);
        let is_near = |one: &Span, next: &Span| {
            one.fate == next.fate && !one.fate.contains(Fate::RESENT) && one.joined(next).spread <= apart
        };
        self.merge(0, old, is_near, true);
        if usize::from(self.len) + 2 > self.room() {
            let is_plain =
                |one: &Span, next: &Span| one.fate == next.fate && !one.fate.contains(Fate::RESENT);
            self.merge(0, old, is_plain, false);
        }
        while usize::from(self.len) + 2 > self.room() {
            let Some(index) = self.cheapest_pair() else { return };
            self.merge(index, index + 2, |_, _| true, false);
        }
    }

    /// Microseconds from when the first in flight was sent to when the last was.
    fn age(&self) -> u32 {
        match self.spans() {
            [first, .., last] => last.sent_at.wrapping_sub(first.sent_at).min(i32::MAX as u32),
            _ => 0,
        }
    }

    /// The first of the two neighbours that, made one, change the fate of the fewest bytes.
    fn cheapest_pair(&self) -> Option<usize> {
        let cost = |index: usize| {
            let (one, next) = (self.spans().get(index)?, self.spans().get(index + 1)?);
            let fate = one.joined(next).fate;
            let of = |span: &Span, start| if span.fate == fate { 0 } else { span.end.distance_from(start) };
            Some(of(one, self.start(index)).saturating_add(of(next, one.end)))
        };
        (0..usize::from(self.len))
            .filter_map(|index| Some((cost(index)?, index)))
            .min()
            .map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const UNA: SeqNumber = SeqNumber(u32::MAX - 300);

    /// What a byte has met with.
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Byte {
        fate: Fate,
        sent_at: u32,
    }

    /// A byte for each byte in flight.
    #[derive(Default)]
    struct Plain {
        una: u32,
        bytes: Vec<Byte>,
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Send(u32),
        Acknowledge(u32),
        Sack(u32, u32),
        Lose(u32, u32),
        Resend(u32, u32),
        Find,
    }

    fn ops(longest: u32) -> impl Strategy<Value = Op> {
        let run = move || (0..longest * 8, 1..longest);
        prop_oneof![
            4 => (1..longest).prop_map(Op::Send),
            2 => (0..longest * 2).prop_map(Op::Acknowledge),
            3 => run().prop_map(|(at, len)| Op::Sack(at, len)),
            2 => run().prop_map(|(at, len)| Op::Lose(at, len)),
            2 => run().prop_map(|(at, len)| Op::Resend(at, len)),
            1 => Just(Op::Find),
        ]
    }

    fn lose(span: &mut Span) {
        if !span.fate.contains(Fate::SACKED) {
            span.fate = span.fate.difference(Fate::RESENT) | Fate::LOST;
        }
    }

    impl Plain {
        fn run(&mut self, at: u32, len: u32) -> &mut [Byte] {
            let count = self.bytes.len();
            let from = (at as usize).min(count);
            &mut self.bytes[from..(from + len as usize).min(count)]
        }

        fn apply(&mut self, op: Op, now: u32) {
            match op {
                Op::Send(len) => {
                    self.bytes.extend((0..len).map(|_| Byte { fate: Fate::empty(), sent_at: now }));
                }
                Op::Acknowledge(len) => {
                    let len = (len as usize).min(self.bytes.len());
                    self.bytes.drain(..len);
                    self.una += len as u32;
                }
                Op::Sack(at, len) => self.run(at, len).iter_mut().for_each(|byte| byte.fate = Fate::SACKED),
                Op::Lose(at, len) => {
                    for byte in self.run(at, len).iter_mut().filter(|byte| byte.fate != Fate::SACKED) {
                        byte.fate = byte.fate.difference(Fate::RESENT) | Fate::LOST;
                    }
                }
                Op::Resend(at, len) => {
                    for byte in self.run(at, len).iter_mut().filter(|byte| byte.fate != Fate::SACKED) {
                        let resent =
                            if byte.fate.contains(Fate::LOST) { Fate::RESENT } else { Fate::empty() };
                        *byte = Byte { fate: byte.fate | resent | Fate::AGAIN, sent_at: now };
                    }
                }
                Op::Find => {
                    for byte in &mut self.bytes {
                        byte.fate = byte.fate.difference(Fate::LOST | Fate::RESENT);
                    }
                }
            }
        }

        fn count(&self, fate: Fate) -> u32 {
            self.bytes.iter().filter(|byte| byte.fate.contains(fate)).count() as u32
        }
    }

    fn apply(board: &mut Scoreboard, plain: &Plain, op: Op, now: u32) {
        let una = UNA + plain.una;
        match op {
            Op::Send(len) => board.sent(board.nxt() + len, now, 0),
            Op::Acknowledge(len) => {
                let len = len.min(plain.bytes.len() as u32);
                let mut next = una;
                board.acknowledge(una + len, |start, span| {
                    assert_eq!(start, next, "each byte once");
                    next = span.end;
                });
                assert_eq!(next, una + len, "every byte");
            }
            Op::Sack(at, len) => board.change(una + at, una + at + len, |_, span| span.fate = Fate::SACKED),
            Op::Lose(at, len) => board.change(una + at, una + at + len, |_, span| lose(span)),
            Op::Resend(at, len) => board.resent(una + at, una + at + len, now, 0),
            Op::Find => {
                board.change_all(|_, span| span.fate = span.fate.difference(Fate::LOST | Fate::RESENT));
            }
        }
    }

    /// What holds whatever was forgotten.
    fn check_sums(board: &Scoreboard) -> Result<(), TestCaseError> {
        let (mut at, mut sums) = (board.una, [0; 3]);
        for span in board.spans() {
            prop_assert!(span.end.is_after(at), "no empty span");
            for (sum, fate) in sums.iter_mut().zip([Fate::SACKED, Fate::LOST, Fate::RESENT]) {
                *sum += if span.fate.contains(fate) { span.end.distance_from(at) } else { 0 };
            }
            prop_assert!(!span.fate.contains(Fate::RESENT) || span.fate.contains(Fate::LOST));
            at = span.end;
        }
        prop_assert_eq!(sums, [board.sacked, board.lost, board.resent]);
        prop_assert_eq!(board.pipe(), at.distance_from(board.una) - sums[0] - sums[1] + sums[2]);
        prop_assert!(board.spans().len() <= board.room());
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        /// While there is room for every difference the board is what a byte for each byte would be.
        #[test]
        fn a_board_with_room_is_exact(ops in proptest::collection::vec(ops(20), 1..22)) {
            let (mut board, mut plain) = (Board::<46>::new(UNA), Plain::default());
            let has_found = ops.iter().any(|op| matches!(op, Op::Find));
            for (now, &op) in (5_000u32..).zip(&ops) {
                apply(&mut board, &plain, op, now);
                plain.apply(op, now);
                check_sums(&board)?;
                prop_assert_eq!(board.nxt().distance_from(board.una) as usize, plain.bytes.len());
                for (fate, sum) in
                    [(Fate::SACKED, board.sacked), (Fate::LOST, board.lost), (Fate::RESENT, board.resent)]
                {
                    prop_assert_eq!(sum, plain.count(fate));
                }
                let mut bytes = plain.bytes.iter();
                let mut at = board.una;
                for span in board.spans() {
                    for byte in bytes.by_ref().take(span.end.distance_from(at) as usize) {
                        prop_assert_eq!(byte.fate, span.fate);
                        let settled = byte.fate.contains(Fate::SACKED)
                            || byte.fate.contains(Fate::LOST) && !byte.fate.contains(Fate::RESENT);
                        // What was lost and found again was sent some time between.
                        let first = span.first_sent_at().unwrap_or(0);
                        prop_assert!(settled || (first..=span.sent_at).contains(&byte.sent_at));
                        prop_assert!(settled || span.spread == 0 || has_found);
                    }
                    at = span.end;
                }
                let lost = |byte: &Byte| byte.fate.contains(Fate::LOST) && !byte.fate.contains(Fate::RESENT);
                let first = plain.bytes.iter().position(lost);
                prop_assert_eq!(
                    board.next_lost().map(|(from, _)| from.distance_from(board.una) as usize),
                    first
                );
            }
        }

        /// Where there is not, it forgets; but calls nothing lost, delivered or old that is not.
        #[test]
        fn a_full_board_only_forgets(ops in proptest::collection::vec(ops(9), 200..400)) {
            let (mut board, mut plain) = (Board::<46>::new(UNA), Plain::default());
            for (now, &op) in (5_000u32..).zip(&ops) {
                apply(&mut board, &plain, op, now);
                plain.apply(op, now);
                check_sums(&board)?;
                prop_assert_eq!(board.nxt().distance_from(board.una) as usize, plain.bytes.len());
                let mut bytes = plain.bytes.iter();
                let mut at = board.una;
                for span in board.spans() {
                    for byte in bytes.by_ref().take(span.end.distance_from(at) as usize) {
                        prop_assert!(!span.fate.contains(Fate::SACKED) || byte.fate == Fate::SACKED);
                        prop_assert!(
                            byte.fate == Fate::SACKED
                                || span.fate.contains(Fate::SACKED)
                                || !span.fate.contains(Fate::LOST)
                                || byte.fate.contains(Fate::LOST)
                        );
                        if byte.fate.is_empty() && span.fate.is_empty() {
                            let earliest = span.first_sent_at().unwrap_or(0);
                            prop_assert!((earliest..=span.sent_at).contains(&byte.sent_at));
                        }
                    }
                    at = span.end;
                }
            }
        }
    }

    /// What was done to a board of any size.
    fn done<const N: usize>(ops: &[Op]) -> (Board<N>, Plain) {
        let (mut board, mut plain) = (Board::<N>::new(UNA), Plain::default());
        for (now, &op) in (5_000u32..).zip(ops) {
            apply(&mut board, &plain, op, now);
            plain.apply(op, now);
        }
        (board, plain)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        /// A board that takes over from another knows the same, as far as it has room, and calls nothing lost or delivered
        /// that is not.
        #[test]
        fn a_board_that_takes_over_only_forgets(ops in proptest::collection::vec(ops(9), 0..300)) {
            let (narrow, _) = done::<46>(&ops);
            let mut wide = Board::<1_000>::new(SeqNumber(7));
            wide.adopt(&narrow);
            prop_assert_eq!(wide.spans(), narrow.spans());
            check_sums(&wide)?;
            let (wide, plain) = done::<1_000>(&ops);
            let mut narrow = Board::<46>::new(SeqNumber(7));
            narrow.adopt(&wide);
            check_sums(&narrow)?;
            prop_assert_eq!((narrow.una, narrow.nxt()), (wide.una, wide.nxt()));
            if wide.spans().len() + 2 <= 46 {
                prop_assert_eq!(narrow.spans(), wide.spans());
            }
            let mut bytes = plain.bytes.iter();
            let mut at = narrow.una;
            for span in narrow.spans() {
                for byte in bytes.by_ref().take(span.end.distance_from(at) as usize) {
                    prop_assert!(!span.fate.contains(Fate::SACKED) || byte.fate == Fate::SACKED);
                }
                at = span.end;
            }
        }
    }

    #[test]
    fn every_second_segment_lost_of_hundreds_is_told_by_a_wide_board() {
        let mut board = Board::<1_000>::new(UNA);
        for turn in 0..800u32 {
            board.sent(UNA + (turn + 1) * 100, turn * 10, 0);
        }
        for hole in 0..400u32 {
            board.change(UNA + (2 * hole + 1) * 100, UNA + (2 * hole + 2) * 100, |_, span| {
                span.fate = Fate::SACKED;
            });
        }
        board.change_all(|_, span| lose(span));
        assert_eq!((board.sacked(), board.lost(), board.spans().len()), (40_000, 40_000, 800));
        for hole in 0..400u32 {
            let run = (UNA + 2 * hole * 100, UNA + (2 * hole + 1) * 100);
            assert_eq!(board.next_lost(), Some(run));
            board.resent(run.0, run.1, 9_000, 0);
        }
        assert_eq!((board.next_lost(), board.pipe()), (None, 40_000));
    }

    #[test]
    fn of_a_long_flight_it_is_known_evenly_when_it_was_sent() {
        let mut board = Board::<46>::new(UNA);
        for turn in 0..3_000u32 {
            board.sent(UNA + (turn + 1) * 100, turn * 100, 0);
            board.acknowledge(UNA + (turn + 1).saturating_sub(600) * 100, |_, _| {});
        }
        // Sixty milliseconds in 46 spans: none may stand for more than a few parts of that.
        let apart = |span: &Span| u32::from(span.spread) << SPREAD_SHIFT;
        assert!(board.spans().iter().all(|span| apart(span) < 60_000 / 6), "{:?}", board.spans());
        assert!(board.spans().len() > 15);
    }

    #[test]
    fn one_turn_is_one_span_and_the_next_another() {
        let mut board = Board::<46>::new(UNA);
        for segment in 1..=5 {
            board.sent(UNA + segment * 100, 7, 0);
        }
        board.sent(UNA + 600, 8, 0);
        assert_eq!(
            board.spans().iter().map(|span| (span.end, span.sent_at)).collect::<Vec<_>>(),
            [(UNA + 500, 7), (UNA + 600, 8)]
        );
    }

    #[test]
    fn a_long_flight_keeps_its_newest_spans_exact() {
        let mut board = Board::<46>::new(UNA);
        for turn in 0..10_000u32 {
            board.sent(UNA + (turn + 1) * 100, turn * 10, 0);
            let newest = board.spans().iter().rev().take(FRESH - 3);
            assert!(
                newest
                    .enumerate()
                    .all(|(age, span)| { span.spread == 0 && span.sent_at == (turn - age as u32) * 10 })
            );
        }
    }
}
