//! The error queue (`MSG_ERRQUEUE`): when what was written left, arrived, and may be reused.
//!
//! Two features report there: `SO_TIMESTAMPING`, which tells when the last byte of a write was sent and acknowledged,
//! and `MSG_ZEROCOPY`, which tells when a write's memory is the caller's again. Here every write is copied, which such
//! a report says.

use std::collections::VecDeque;

use freeway::Instant;

use crate::socket::{Key, Socket};
use crate::stream::Control;
use crate::world::World;

/// Reports that wait for one socket; the newest goes.
const REPORTS_MAX: usize = 1_024;
/// Bits of `SO_TIMESTAMPING` (linux/net_tstamp.h).
const TX_SOFTWARE: u32 = 1 << 1;
const SOFTWARE: u32 = 1 << 4;
const OPT_ID: u32 = 1 << 7;
const TX_SCHED: u32 = 1 << 8;
const TX_ACK: u32 = 1 << 9;
/// Everything that can be asked for here.
const KNOWN: u32 = TX_SOFTWARE | SOFTWARE | OPT_ID | TX_SCHED | TX_ACK;
/// Which of them a report is of (`SCM_TSTAMP_*`).
const WAS_SENT: u32 = 0;
const WAS_QUEUED: u32 = 1;
const WAS_ACKED: u32 = 2;
/// `SO_EE_ORIGIN_*` and `SO_EE_CODE_ZEROCOPY_COPIED` (linux/errqueue.h).
const ORIGIN_TIMESTAMPING: u8 = 4;
const ORIGIN_ZEROCOPY: u8 = 5;
const COPIED: u8 = 1;
/// `SCM_TIMESTAMPING`.
const SCM_TIMESTAMPING: i32 = 37;

/// One report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Report {
    /// The writes from the first to the last of these numbers are done with.
    Copied { first: u32, last: u32 },
    /// What became, and when, of the byte with this number.
    Stamp { what: u32, byte: u32, at: Instant },
}

/// A write that something is to be told of.
#[derive(Clone, Copy, Debug)]
struct Watched {
    /// Where it ends, in bytes of the stream.
    end: u64,
    /// Its number, if it was lent.
    lent: Option<u32>,
    /// What else is asked for, and the last byte's number.
    stamps: u32,
    byte: u32,
}

/// A socket's error queue, and what will get into it.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    queue: VecDeque<Report>,
    watched: VecDeque<Watched>,
    /// The number of the next write that is lent.
    next_lent: u32,
    /// Where the numbers of bytes begin.
    base: u64,
    stamps: u32,
}

impl Reports {
    /// Whether something waits to be read.
    pub(crate) fn has_some(&self) -> bool {
        !self.queue.is_empty()
    }

    fn add(&mut self, report: Report) {
        if let (Some(Report::Copied { last, .. }), Report::Copied { first, last: new }) =
            (self.queue.back_mut(), report)
            && last.wrapping_add(1) == first
        {
            *last = new;
        } else if self.queue.len() < REPORTS_MAX {
            self.queue.push_back(report);
        }
    }

    /// So many bytes of the stream have been sent, and acknowledged; true when something is told.
    fn advance(&mut self, now: Instant, sent: u64, acked: u64) -> bool {
        let mut told = Vec::new();
        for watched in &mut self.watched {
            for (bit, what) in [(TX_SCHED, WAS_QUEUED), (TX_SOFTWARE, WAS_SENT)] {
                if sent >= watched.end && watched.stamps & bit != 0 {
                    watched.stamps &= !bit;
                    told.push(Report::Stamp { what, byte: watched.byte, at: now });
                }
            }
            if acked >= watched.end {
                if watched.stamps & TX_ACK != 0 {
                    told.push(Report::Stamp { what: WAS_ACKED, byte: watched.byte, at: now });
                }
                told.extend(watched.lent.map(|id| Report::Copied { first: id, last: id }));
            }
        }
        self.watched.retain(|watched| acked < watched.end);
        let tells = !told.is_empty();
        told.into_iter().for_each(|report| self.add(report));
        tells
    }

    /// The oldest report as control messages; `v6` says which level's.
    pub(crate) fn take(&mut self, v6: bool) -> Option<(Vec<Control>, bool)> {
        let report = self.queue.pop_front()?;
        let (level, kind) =
            if v6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) } else { (libc::IPPROTO_IP, libc::IP_RECVERR) };
        let error = |errno: i32, origin: u8, code: u8, info: u32, data: u32| {
            let mut bytes = errno.to_ne_bytes().to_vec();
            bytes.extend([origin, 0, code, 0]);
            bytes.extend(info.to_ne_bytes());
            bytes.extend(data.to_ne_bytes());
            // Behind it the address of whoever is to blame: nobody.
            bytes.resize(bytes.len() + if v6 { 28 } else { 16 }, 0);
            Control { level, kind, bytes }
        };
        Some(match report {
            Report::Copied { first, last } => (vec![error(0, ORIGIN_ZEROCOPY, COPIED, first, last)], false),
            Report::Stamp { what, byte, at } => {
                // Three times of seconds and nanoseconds, of which software fills in the first.
                let (seconds, nanos) = (at.as_nanos() / 1_000_000_000, at.as_nanos() % 1_000_000_000);
                let times = [seconds, nanos, 0, 0, 0, 0];
                let bytes = times.iter().flat_map(|time| time.to_ne_bytes()).collect();
                let stamp = Control { level: libc::SOL_SOCKET, kind: SCM_TIMESTAMPING, bytes };
                (vec![stamp, error(libc::ENOMSG, ORIGIN_TIMESTAMPING, 0, what, byte)], true)
            }
        })
    }
}

impl Socket {
    /// `SO_TIMESTAMPING`; false for what there is not.
    pub(crate) fn set_stamping(&mut self, flags: u32, acked: u64) -> bool {
        if flags & !KNOWN != 0 {
            return false;
        }
        if flags & OPT_ID != 0 && self.reports.stamps & OPT_ID == 0 {
            self.reports.base = acked;
        }
        self.reports.stamps = flags;
        true
    }

    /// The present `SO_TIMESTAMPING`.
    pub(crate) const fn stamping(&self) -> u32 {
        self.reports.stamps
    }

    /// A call has written, up to here; `lent` with `MSG_ZEROCOPY`.
    pub(crate) fn watch_write(&mut self, lent: bool) {
        let lent = lent && self.settings.zero_copy;
        let stamps = self.reports.stamps & (TX_SCHED | TX_SOFTWARE | TX_ACK);
        let asks = stamps != 0 && self.reports.stamps & SOFTWARE != 0;
        if !lent && !asks || self.reports.watched.len() == REPORTS_MAX {
            return;
        }
        let id = lent.then(|| {
            let id = self.reports.next_lent;
            self.reports.next_lent = id.wrapping_add(1);
            id
        });
        let numbered = self.reports.stamps & OPT_ID != 0;
        let last = self.written.saturating_sub(1).saturating_sub(self.reports.base) as u32;
        self.reports.watched.push_back(Watched {
            end: self.written,
            lent: id,
            stamps: if asks { stamps } else { 0 },
            byte: if numbered { last } else { 0 },
        });
    }
}

impl World {
    /// Tells what has become of writes.
    pub(crate) fn tell_writes(&mut self) {
        let now = self.host.now();
        let watching = |socket: &Socket| !socket.reports.watched.is_empty();
        let keys: Vec<Key> =
            self.sockets.iter().filter(|(_, socket)| watching(socket)).map(|(&key, _)| key).collect();
        for key in keys {
            let (queued, unsent) = self.queued(key);
            let Some(socket) = self.sockets.get_mut(&key) else { continue };
            let gone = socket.conn().is_none();
            let behind = |count: usize| if gone { socket.written } else { socket.written - count as u64 };
            let (sent, acked) = (behind(unsent), behind(queued));
            if socket.reports.advance(now, sent, acked) {
                socket.wakes.state += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_write_is_told_when_it_left_and_when_it_arrived() {
        let mut reports = Reports::default();
        let stamps = TX_SCHED | TX_SOFTWARE | TX_ACK;
        reports.watched.push_back(Watched { end: 100, lent: None, stamps, byte: 99 });
        let at = Instant::from_secs(3);
        assert!(!reports.advance(at, 99, 0));
        assert!(reports.advance(at, 100, 99));
        assert!(!reports.advance(at, 100, 99));
        assert!(reports.advance(at, 100, 100));
        let stamp = |what| Report::Stamp { what, byte: 99, at };
        assert_eq!(reports.queue, [stamp(WAS_QUEUED), stamp(WAS_SENT), stamp(WAS_ACKED)]);
        assert!(reports.watched.is_empty());
    }

    #[test]
    fn writes_that_are_done_with_are_told_as_a_range() {
        let mut reports = Reports::default();
        for (end, lent) in [(10, 7), (20, 8), (30, 9)] {
            reports.watched.push_back(Watched { end, lent: Some(lent), stamps: 0, byte: 0 });
        }
        assert!(reports.advance(Instant::ZERO, 30, 20));
        assert_eq!(reports.queue, [Report::Copied { first: 7, last: 8 }]);
        let (controls, truncated) = reports.take(false).unwrap();
        assert!(!truncated && controls[0].bytes[4..16] == [5, 0, 1, 0, 7, 0, 0, 0, 8, 0, 0, 0]);
        assert!(reports.advance(Instant::ZERO, 30, 30));
        assert_eq!(reports.queue, [Report::Copied { first: 9, last: 9 }]);
    }
}
