//! What watchers see: a line for each thing that happens, kept until the turn's end.
//!
//! Without a watcher nothing is written. The buffer has a bound; what does not fit is counted, and the watchers are told
//! how much they missed.

use core::fmt::{self, Write};
use std::net::SocketAddr;

use freeway_memcache::Sink;
use freeway_memcache::text::Watch;

/// Bytes of lines that one turn may bring.
const BUFFER: usize = 64 * 1024;
/// Bytes of a line at most: a key of which each byte is written as three, and numbers.
pub(crate) const LINE_MAX: usize = 3 * 250 + 200;
/// Bytes before a line: which watchers it is for, and its length.
const HEAD: usize = 4;

/// The lines of one turn.
pub struct EventLog {
    wanted: Watch,
    bytes: Box<[u8]>,
    len: usize,
    /// Lines that did not fit.
    skipped: u64,
    /// The number of the line last written.
    number: u64,
    /// The Unix time of the turn in microseconds.
    unix_us: u64,
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new()
    }
}

impl EventLog {
    /// A log that nobody watches.
    pub fn new() -> Self {
        Self {
            wanted: Watch::empty(),
            bytes: vec![0; BUFFER].into_boxed_slice(),
            len: 0,
            skipped: 0,
            number: 0,
            unix_us: 0,
        }
    }

    /// Writes down what these watchers want, from now on.
    pub(crate) fn watch(&mut self, wanted: Watch) {
        self.wanted = wanted;
    }

    /// Whether anybody watches.
    pub(crate) const fn is_on(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether anybody wants to know of this.
    #[inline]
    pub(crate) const fn wants(&self, what: Watch) -> bool {
        self.wanted.intersects(what)
    }

    /// Begins a turn.
    pub(crate) fn begin(&mut self, unix_us: u64) {
        (self.len, self.skipped, self.unix_us) = (0, 0, unix_us);
    }

    /// A key was looked for.
    pub(crate) fn fetched(&mut self, key: &[u8], size: Option<usize>) {
        if !self.wants(Watch::FETCHERS) {
            return;
        }
        self.line(Watch::FETCHERS, b"item_get", key, |line| {
            line.put(if size.is_some() {
                b" status=found clsid=1 size=".as_slice()
            } else {
                b" status=not_found clsid=0 size="
            });
            line.number(size.unwrap_or(0) as u64);
        });
    }

    /// A value was brought, and stored or not.
    pub(crate) fn stored(&mut self, key: &[u8], status: &str, command: &str, ttl: Option<u32>, size: usize) {
        if !self.wants(Watch::MUTATIONS) {
            return;
        }
        self.line(Watch::MUTATIONS, b"item_store", key, |line| {
            line.put(b" status=");
            line.put(status.as_bytes());
            line.put(b" cmd=");
            line.put(command.as_bytes());
            line.put(b" ttl=");
            line.number(u64::from(ttl.unwrap_or(0)));
            line.put(b" clsid=1 size=");
            line.number(size as u64);
        });
    }

    /// An item was deleted.
    pub(crate) fn deleted(&mut self, key: &[u8], size: usize) {
        if !self.wants(Watch::DELETIONS) {
            return;
        }
        self.line(Watch::DELETIONS, b"deleted", key, |line| {
            line.put(b" cmd=delete clsid=1 size=");
            line.number(size as u64);
        });
    }

    /// An item had to go.
    pub(crate) fn evicted(&mut self, key: &[u8], fetched: bool, ttl: Option<u32>, idle: u32, size: usize) {
        if !self.wants(Watch::EVICTIONS) {
            return;
        }
        self.line(Watch::EVICTIONS, b"eviction", key, |line| {
            line.put(if fetched { b" fetch=yes ttl=".as_slice() } else { b" fetch=no ttl=" });
            match ttl {
                Some(ttl) => line.number(u64::from(ttl)),
                None => line.put(b"-1"),
            }
            line.put(b" la=");
            line.number(u64::from(idle));
            line.put(b" clsid=1 size=");
            line.number(size as u64);
        });
    }

    /// A connection was accepted.
    #[cold]
    pub(crate) fn opened(&mut self, peer: SocketAddr) {
        if self.wants(Watch::CONNEVENTS) {
            // What is too long for a line is cut.
            self.entry(Watch::CONNEVENTS, b"conn_new", |line| {
                let _ = write!(line, " rip={} rport={} transport=tcp", peer.ip(), peer.port());
            });
        }
    }

    /// A connection was closed from here.
    #[cold]
    pub(crate) fn closed(&mut self, peer: SocketAddr, reason: &str) {
        if self.wants(Watch::CONNEVENTS) {
            self.entry(Watch::CONNEVENTS, b"conn_close", |line| {
                let _ =
                    write!(line, " rip={} rport={} transport=tcp reason={reason}", peer.ip(), peer.port());
            });
        }
    }

    fn line(&mut self, what: Watch, kind: &[u8], key: &[u8], rest: impl FnOnce(&mut Line<'_>)) {
        self.entry(what, kind, |line| {
            line.put(b" key=");
            crate::dump::encode(line, key);
            rest(line);
        });
    }

    fn entry(&mut self, what: Watch, kind: &[u8], rest: impl FnOnce(&mut Line<'_>)) {
        let unix_us = self.unix_us;
        self.number += 1;
        let number = self.number;
        let Some(place) = self.bytes.get_mut(self.len..).filter(|place| place.len() >= HEAD + LINE_MAX)
        else {
            self.skipped += 1;
            return;
        };
        let (head, place) = place.split_at_mut(HEAD);
        let mut line = Line { place, len: 0 };
        line.put(b"ts=");
        line.number(unix_us / 1_000_000);
        line.put(b".");
        // Six digits: a million more than the fraction, without its first digit.
        let mut fraction = itoa::Buffer::new();
        line.put(fraction.format(1_000_000 + unix_us % 1_000_000).as_bytes().get(1..).unwrap_or(b"0"));
        line.put(b" gid=");
        line.number(number);
        line.put(b" type=");
        line.put(kind);
        rest(&mut line);
        line.put(b"\n");
        let len = line.len;
        let [w0, w1] = what.bits().to_le_bytes();
        let [l0, l1] = (len as u16).to_le_bytes();
        head.copy_from_slice(&[w0, w1, l0, l1]);
        self.len += HEAD + len;
    }

    /// The turn's lines, each with who is to see it.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (Watch, &[u8])> {
        let mut rest = self.bytes.get(..self.len).unwrap_or(&[]);
        std::iter::from_fn(move || {
            let (&[w0, w1, l0, l1], behind) = rest.split_first_chunk::<HEAD>()?;
            let (line, behind) = behind.split_at_checked(usize::from(u16::from_le_bytes([l0, l1])))?;
            rest = behind;
            Some((Watch::from_bits_truncate(u16::from_le_bytes([w0, w1])), line))
        })
    }

    /// How many lines the turn's buffer had no room for.
    pub(crate) const fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// A line that is being written; what is too long for it is cut.
struct Line<'a> {
    place: &'a mut [u8],
    len: usize,
}

impl Line<'_> {
    fn number(&mut self, number: u64) {
        self.put(itoa::Buffer::new().format(number).as_bytes());
    }
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

impl Sink for Line<'_> {
    fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.place.get_mut(self.len..self.len + bytes.len()) {
            place.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_for_who_wants_them_and_counted_beyond_the_bound() {
        let mut log = EventLog::new();
        log.fetched(b"nobody", None);
        assert_eq!(log.lines().count(), 0);
        log.watch(Watch::FETCHERS | Watch::EVICTIONS);
        log.begin(1_700_000_000_000_042);
        log.fetched(b"a key", Some(7));
        log.deleted(b"a key", 7);
        log.evicted(b"k", true, None, 3, 9);
        let lines: Vec<_> = log.lines().map(|(_, line)| String::from_utf8_lossy(line).into_owned()).collect();
        assert_eq!(
            lines,
            [
                "ts=1700000000.000042 gid=1 type=item_get key=a%20key status=found clsid=1 size=7\n",
                "ts=1700000000.000042 gid=2 type=eviction key=k fetch=yes ttl=-1 la=3 clsid=1 size=9\n",
            ]
        );
        for _ in 0..10_000 {
            log.fetched(&[0xff; 250], None);
        }
        assert!(log.skipped() > 9_000 && log.lines().count() > 50);
        assert!(log.lines().all(|(_, line)| line.ends_with(b"\n") && line.len() <= LINE_MAX));
        log.begin(0);
        assert_eq!((log.lines().count(), log.skipped()), (0, 0));
    }
}
