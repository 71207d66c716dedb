//! The access log: a line for each answer, written by a thread that no core waits for.
//!
//! ```text
//!   core: an empty entry ─► filled as the request is read ─► ring ─► thread: a line of text ─► file
//!              ▲                                                        │
//!              └───────────────────────── ring ◄────────────────────────┘
//! ```
//!
//! Entries are made at start and go round. When the thread is behind there is none left, and the line is dropped and
//! counted.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrayvec::ArrayVec;
use freeway::Instant;
use freeway::ring::{Consumer, Producer, spsc};
use freeway_http1::{Method, Request};

/// Bytes of a text in the log at most; longer ones are cut.
const TEXT_MAX: usize = 255;

/// How long the thread rests when there is nothing to write.
const REST: Duration = Duration::from_millis(20);

/// What a line looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// As Apache's "combined": what most tools read.
    #[default]
    Combined,
    /// A JSON object.
    Json,
}

/// Where lines go, and how many may wait.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The file, appended to.
    pub path: PathBuf,
    /// What a line looks like.
    pub format: Format,
    /// Lines of one core that may wait to be written; past it they are dropped and counted. Default 4,096, about 4 MiB a
    /// core.
    pub waiting_max: u32,
}

/// One line to be.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    peer: Option<SocketAddr>,
    method: Method,
    minor: u8,
    secure: bool,
    pub(crate) status: u16,
    /// Bytes of the answer's body.
    pub(crate) bytes: u64,
    began: Instant,
    /// When it ended, on the wall's clock, and how long it took.
    ended: Option<(SystemTime, freeway::Duration)>,
    target: Text,
    host: Text,
    referer: Text,
    agent: Text,
}

type Text = ArrayVec<u8, TEXT_MAX>;

fn set(text: &mut Text, value: &[u8]) {
    text.clear();
    text.extend(value.iter().copied().take(TEXT_MAX));
}

impl Entry {
    fn new() -> Self {
        Self {
            peer: None,
            method: Method::Other,
            minor: 1,
            secure: false,
            status: 0,
            bytes: 0,
            began: Instant::ZERO,
            ended: None,
            target: Text::new(),
            host: Text::new(),
            referer: Text::new(),
            agent: Text::new(),
        }
    }

    /// Notes who asked when.
    pub(crate) fn begin(&mut self, peer: SocketAddr, secure: bool, now: Instant) {
        (self.peer, self.secure, self.began) = (Some(peer), secure, now);
        (self.method, self.minor, self.status, self.bytes) = (Method::Other, 1, 0, 0);
        for text in [&mut self.target, &mut self.host, &mut self.referer, &mut self.agent] {
            text.clear();
        }
    }

    /// Notes what was asked.
    pub(crate) fn request(&mut self, request: &Request<'_, '_>) {
        (self.method, self.minor) = (request.method, request.minor);
        set(&mut self.target, request.target_text.as_bytes());
        set(&mut self.host, request.host.as_bytes());
        set(&mut self.referer, request.value("referer").unwrap_or_default());
        set(&mut self.agent, request.value("user-agent").unwrap_or_default());
    }
}

/// A core's end of the log.
pub struct LogSender {
    full: Producer<Box<Entry>>,
    empty: Consumer<Box<Entry>>,
}

impl LogSender {
    /// An entry to fill; `None` when all are on their way.
    pub(crate) fn take(&mut self) -> Option<Box<Entry>> {
        self.empty.pop()
    }

    /// Sends a filled entry; there is always room, for there are no more entries than places.
    pub(crate) fn send(&mut self, mut entry: Box<Entry>, now: Instant, wall: SystemTime) {
        entry.ended = Some((wall, now - entry.began));
        let sent = self.full.push(entry);
        debug_assert!(sent.is_ok(), "more entries than places");
    }
}

/// The thread's ends.
struct LogReceiver {
    full: Consumer<Box<Entry>>,
    empty: Producer<Box<Entry>>,
}

/// The log of all cores. Dropping it writes what waits and ends the thread.
pub struct Log {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is told.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Whether there is something in `next`: looked at between batches, so that the lock is touched at a change alone.
    changed: AtomicBool,
    next: Mutex<Option<Destination>>,
}

/// Where lines go, and what they look like.
pub struct Destination {
    path: PathBuf,
    format: Format,
    file: File,
}

impl Destination {
    /// Opens a file to append to.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open(path: PathBuf, format: Format) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Self { path, format, file })
    }
}

impl Log {
    /// Opens the file and starts the thread; there is a sender for each of `cores`.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or there is no thread.
    pub fn start(config: LogConfig, cores: usize) -> io::Result<(Self, Vec<LogSender>)> {
        let LogConfig { path, format, waiting_max } = config;
        let destination = Destination::open(path, format)?;
        let waiting = waiting_max.max(1);
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..cores {
            let (full, full_out) = spsc(waiting as usize);
            let (mut empty_in, empty) = spsc(waiting as usize);
            for _ in 0..waiting {
                let _ = empty_in.push(Box::new(Entry::new()));
            }
            senders.push(LogSender { full, empty });
            receivers.push(LogReceiver { full: full_out, empty: empty_in });
        }
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("access-log".into())
            .spawn(move || run(destination, receivers, &told))?;
        Ok((Self { shared, thread: Some(thread) }, senders))
    }

    /// Has lines written elsewhere from now on: to the same file opened anew, after somebody has moved it away, or to
    /// another one.
    pub fn redirect(&self, destination: Destination) {
        let mut next = self.shared.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = Some(destination);
        self.shared.changed.store(true, Ordering::Release);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(destination: Destination, mut cores: Vec<LogReceiver>, shared: &Shared) {
    let Destination { mut path, mut format, file } = destination;
    let mut file = BufWriter::with_capacity(1 << 16, file);
    let mut line = Vec::with_capacity(2_048);
    let mut failed = false;
    loop {
        // Read first: what was sent before the stop is written.
        let stopping = shared.stop.load(Ordering::Acquire);
        let mut written = 0;
        for core in &mut cores {
            while let Some(entry) = core.full.pop() {
                line.clear();
                write_line(&mut line, &entry, format);
                if let Err(error) = file.write_all(&line)
                    && !std::mem::replace(&mut failed, true)
                {
                    tracing::error!(path = %path.display(), %error, "the access log cannot be written");
                }
                written += 1;
                let _ = core.empty.push(entry);
            }
        }
        if written == 0 {
            let _ = file.flush();
            if stopping {
                return;
            }
            thread::sleep(REST);
        }
        if shared.changed.swap(false, Ordering::AcqRel) {
            let next = shared.next.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(next) = next {
                let _ = file.flush();
                file = BufWriter::with_capacity(1 << 16, next.file);
                (path, format, failed) = (next.path, next.format, false);
            }
        }
    }
}

fn write_line(line: &mut Vec<u8>, entry: &Entry, format: Format) {
    let (wall, took) = entry.ended.unwrap_or((UNIX_EPOCH, freeway::Duration::ZERO));
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    let peer = entry.peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip());
    let (method, status, bytes, minor) = (entry.method.name(), entry.status, entry.bytes, entry.minor);
    // Writing to memory does not fail.
    let _ = match format {
        Format::Combined => {
            let _ = write!(line, "{peer} - - [{}] \"{method} ", clf_date(since.as_secs()));
            quote(line, &entry.target, false);
            let _ = write!(line, " HTTP/1.{minor}\" {status} {bytes} \"");
            quote_or_dash(line, &entry.referer);
            line.extend_from_slice(b"\" \"");
            quote_or_dash(line, &entry.agent);
            writeln!(line, "\"")
        }
        Format::Json => {
            let _ = write!(
                line,
                "{{\"time\":{}.{:06},\"peer\":\"{peer}\",\"method\":\"{method}\",\"target\":\"",
                since.as_secs(),
                since.subsec_micros()
            );
            quote(line, &entry.target, true);
            line.extend_from_slice(b"\",\"host\":\"");
            quote(line, &entry.host, true);
            line.extend_from_slice(b"\",\"referer\":\"");
            quote(line, &entry.referer, true);
            line.extend_from_slice(b"\",\"agent\":\"");
            quote(line, &entry.agent, true);
            writeln!(
                line,
                "\",\"version\":\"1.{minor}\",\"tls\":{},\"status\":{status},\"bytes\":{bytes},\"took_us\":{}}}",
                entry.secure,
                took.as_micros()
            )
        }
    };
}

fn quote_or_dash(line: &mut Vec<u8>, text: &[u8]) {
    if text.is_empty() { line.push(b'-') } else { quote(line, text, false) }
}

/// Writes a text so that it cannot end its field or its line: by `\x22` as Apache does, or by `\u0022`.
fn quote(line: &mut Vec<u8>, text: &[u8], json: bool) {
    for &byte in text {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let _ = if json { write!(line, "\\u{byte:04x}") } else { write!(line, "\\x{byte:02x}") };
            }
            _ => line.push(byte),
        }
    }
}

/// `06/Nov/1994:08:49:37 +0000`.
fn clf_date(seconds: u64) -> String {
    // "Sun, 06 Nov 1994 08:49:37 GMT" has the same parts in other places.
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
    let part = |range: std::ops::Range<usize>| date.get(range).unwrap_or_default();
    format!("{}/{}/{}:{} +0000", part(5..7), part(8..11), part(12..16), part(17..25))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use freeway_http1::{Limits, Parsed, request, space};

    use super::*;

    fn entry() -> Box<Entry> {
        let text = b"GET /a\"b HTTP/1.1\r\nHost: h\r\nUser-Agent: x\\y\"\xe4\r\n\r\n";
        let mut fields = space();
        let Ok(Parsed::Complete(request)) = request::parse(text, &mut fields, &Limits::default()) else {
            panic!("no request")
        };
        let mut entry = Box::new(Entry::new());
        entry.begin("198.18.0.9:5000".parse().unwrap(), false, Instant::from_secs(1));
        entry.request(&request);
        (entry.status, entry.bytes) = (200, 13);
        entry.ended =
            Some((UNIX_EPOCH + Duration::from_secs(784_111_777), freeway::Duration::from_micros(42)));
        entry
    }

    #[test]
    fn lines_read_as_tools_expect_and_cannot_be_forged() {
        let mut line = Vec::new();
        write_line(&mut line, &entry(), Format::Combined);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "198.18.0.9 - - [06/Nov/1994:08:49:37 +0000] \"GET /a\\x22b HTTP/1.1\" 200 13 \"-\" \"x\\x5cy\\x22\\xe4\"\n"
        );
        let mut line = Vec::new();
        write_line(&mut line, &entry(), Format::Json);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"time\":784111777.000000,\"peer\":\"198.18.0.9\",\"method\":\"GET\",\"target\":\"/a\\u0022b\",\"host\":\"h\",\
             \"referer\":\"\",\"agent\":\"x\\u005cy\\u0022\\u00e4\",\"version\":\"1.1\",\"tls\":false,\"status\":200,\
             \"bytes\":13,\"took_us\":42}\n"
        );
    }

    #[test]
    fn entries_go_round_and_none_is_left_when_the_thread_is_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let config = LogConfig { path: path.clone(), format: Format::Combined, waiting_max: 4 };
        let (log, mut senders) = Log::start(config, 1).unwrap();
        let sender = &mut senders[0];
        let taken: Vec<_> = std::iter::from_fn(|| sender.take()).collect();
        assert_eq!(taken.len(), 4);
        for mut entry in taken {
            entry.begin("198.18.0.9:5000".parse().unwrap(), false, Instant::from_secs(1));
            sender.send(entry, Instant::from_secs(2), UNIX_EPOCH);
        }
        // Stopping writes what waits.
        drop(log);
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 4);
        assert!(sender.take().is_some(), "they came back");
    }

    #[test]
    fn lines_go_where_they_were_last_directed() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        let config = LogConfig { path: first.clone(), format: Format::Combined, waiting_max: 2 };
        let (log, mut senders) = Log::start(config, 1).unwrap();
        let send = |sender: &mut LogSender| {
            sender.send(entry(), Instant::from_secs(2), UNIX_EPOCH);
        };
        let lines =
            |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
        // The entry that was made here takes the place of one that is never sent.
        assert!(senders[0].take().is_some());
        send(&mut senders[0]);
        for _ in 0..500 {
            if lines(&first) == 1 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        log.redirect(Destination::open(second.clone(), Format::Json).unwrap());
        for _ in 0..500 {
            if !log.shared.changed.load(Ordering::Acquire) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(senders[0].take().is_some());
        send(&mut senders[0]);
        drop(log);
        assert_eq!((lines(&first), lines(&second)), (1, 1));
        assert!(std::fs::read_to_string(&second).unwrap().starts_with('{'));
    }
}
