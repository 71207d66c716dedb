//! What every answer begins with: a status line, the server's name and the date, written once a second.

use std::fmt::Write as _;
use std::time::SystemTime;

use arrayvec::ArrayString;
use freeway::{Duration, Instant};
use freeway_http1::Status;
use freeway_http1::decimal::Decimal;

/// Bytes of the longest: a status line of at most 48 bytes, and 57 that are the same in all.
const PREFIX_MAX: usize = 112;

/// The first lines of answers, one text for each status.
pub(crate) struct Prefixes {
    texts: Vec<ArrayString<PREFIX_MAX>>,
    /// Where the date begins in each.
    dates: Vec<usize>,
    written: Instant,
    started: (Instant, SystemTime),
}

impl Prefixes {
    pub(crate) fn new(now: Instant) -> Self {
        let wall = SystemTime::now();
        let (mut texts, mut dates) = (Vec::new(), Vec::new());
        for status in Status::ALL {
            let mut text = ArrayString::new();
            let code = Decimal::new(u64::from(status.code));
            let code = core::str::from_utf8(code.as_bytes()).unwrap_or_default();
            let written = write!(text, "HTTP/1.1 {code} {}\r\nServer: freeway\r\nDate: ", status.reason);
            dates.push(text.len());
            let written = written.and(write!(text, "{}\r\n", httpdate::HttpDate::from(wall)));
            // The longest reason is known.
            debug_assert!(written.is_ok(), "{status:?}");
            texts.push(text);
        }
        Self { texts, dates, written: now, started: (now, wall) }
    }

    /// Writes the date anew if a second has gone by.
    #[inline]
    pub(crate) fn turn(&mut self, now: Instant) {
        if now - self.written >= Duration::from_secs(1) {
            self.write(now);
        }
    }

    fn write(&mut self, now: Instant) {
        self.written = now;
        let date = httpdate::HttpDate::from(self.wall(now));
        for (text, &at) in self.texts.iter_mut().zip(&self.dates) {
            text.truncate(at);
            // It is as long as the one before.
            let _ = write!(text, "{date}\r\n");
        }
    }

    /// The time that a clock on the wall shows at `now`.
    pub(crate) fn wall(&self, now: Instant) -> SystemTime {
        let (started, wall) = self.started;
        wall + (now - started).to_std()
    }

    /// The status line, Server and Date of an answer.
    #[inline]
    pub(crate) fn of(&self, status: Status) -> &[u8] {
        let place = if status.code == 200 { OK } else { status.place() };
        self.texts.get(place).map_or(&[], |text| text.as_bytes())
    }
}

/// The place of 200 among all statuses.
const OK: usize = {
    let mut place = 0;
    while Status::ALL[place].code != 200 {
        place += 1;
    }
    place
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_written_once_a_second() {
        let start = Instant::from_secs(5);
        let mut prefixes = Prefixes::new(start);
        let text = |prefixes: &Prefixes| String::from_utf8_lossy(prefixes.of(Status::OK)).into_owned();
        let first = text(&prefixes);
        assert!(
            first.starts_with("HTTP/1.1 200 OK\r\nServer: freeway\r\nDate: ") && first.ends_with(" GMT\r\n")
        );
        prefixes.turn(start + Duration::from_millis(999));
        assert_eq!(text(&prefixes), first);
        prefixes.turn(start + Duration::from_secs(2));
        assert_ne!(text(&prefixes), first);
        for status in Status::ALL {
            let text = String::from_utf8_lossy(prefixes.of(*status)).into_owned();
            assert!(text.contains(status.reason) && text.ends_with("GMT\r\n"), "{text}");
        }
    }
}
