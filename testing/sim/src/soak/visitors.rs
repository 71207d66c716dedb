//! Those who visit: a task for each visit, and one for each connection that lasts.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use freeway_async::{JoinHandle, TcpStream, UdpSocket, sleep, spawn, timeout};
use freeway_base::{Duration, Rng, Seed};
use freeway_stack::ConnectConfig;
use freeway_tcp::{Config, Keepalive};
use futures_util::future::join;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};

use super::SERVER;
use super::services::{CHARGEN, DAYTIME, DISCARD, ECHO, LINE};

/// Connections that last.
pub(super) const LASTING: u32 = 16;
/// The time between two visits, on average.
const PAUSE_MEAN: Duration = Duration::from_secs(2);
/// Bytes of an exchange at most.
const BYTES_MAX: u32 = 200_000;
/// A visit that has no end within this time is stuck: a dead peer is found sooner, by what is sent or by keepalives.
const PATIENCE: Duration = Duration::from_secs(2 * 3_600);
/// A port that nobody listens on.
const NOBODY: u16 = 4_444;

/// What became of visits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    /// Visits begun.
    pub begun: u64,
    /// Visits that went as they should.
    pub complete: u64,
    /// Visits that ended because nobody answered any more.
    pub timed_out: u64,
    /// Visits that were reset, or refused where somebody listens.
    pub reset: u64,
    /// Visits that ended in any other way.
    pub other: u64,
    /// Visits without an end.
    pub stuck: u64,
    /// Bytes that were not the ones expected.
    pub wrong_bytes: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Datagrams answered.
    pub datagrams_answered: u64,
    /// Exchanges on connections that last.
    pub lasting_talks: u64,
    /// Times that one of these was opened anew.
    pub lasting_reopened: u64,
    /// Connections begun.
    pub opened: u64,
}

/// Where visitors write what they came to; clones are the same book.
#[derive(Clone, Default)]
pub(super) struct Book(Rc<(RefCell<Ledger>, Cell<bool>)>);

impl Book {
    pub(super) fn ledger(&self) -> Ledger {
        *self.0.0.borrow()
    }

    /// Lets visits begin.
    pub(super) fn open(&self) {
        self.0.1.set(true);
    }

    /// Lets no more visits begin.
    pub(super) fn close(&self) {
        self.0.1.set(false);
    }

    fn note(&self, note: impl FnOnce(&mut Ledger)) {
        note(&mut self.0.0.borrow_mut());
    }
}

/// Begins visits at random times while the book is open, and keeps what lasts.
pub(super) async fn run(book: Book, mut rng: Rng) {
    for _ in 0..LASTING {
        let lasting = last(book.clone(), Rng::new(Seed(rng.next_u64())));
        let _ = spawn(lasting).map(JoinHandle::detach);
    }
    loop {
        // Exponential pauses, so that visits come in crowds as well.
        let pause = -(1.0 - rng.unit()).ln() * PAUSE_MEAN.as_secs_f64();
        sleep(Duration::from_micros((pause * 1e6) as u64)).await;
        if book.0.1.get() {
            let visit = visit(book.clone(), Rng::new(Seed(rng.next_u64())));
            let _ = spawn(visit).map(JoinHandle::detach);
        }
    }
}

async fn visit(book: Book, mut rng: Rng) {
    book.note(|ledger| ledger.begun += 1);
    let ended = timeout(PATIENCE, errand(&book, &mut rng)).await;
    book.note(|ledger| match ended {
        Ok(Ok(())) => ledger.complete += 1,
        Ok(Err(error)) => match error.kind() {
            ErrorKind::TimedOut => ledger.timed_out += 1,
            ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused => ledger.reset += 1,
            _ => ledger.other += 1,
        },
        Err(_) => ledger.stuck += 1,
    });
}

async fn errand(book: &Book, rng: &mut Rng) -> io::Result<()> {
    match rng.below(20) {
        0..=6 => exchange(book, rng, 1).await,
        7 => exchange(book, rng, 5).await,
        8..=9 => daytime(book).await,
        10..=11 => download(book, rng).await,
        12..=13 => upload(book, rng).await,
        14 => nobody(book).await,
        15 => sudden(book, rng).await,
        16 => silence(book, rng).await,
        _ => datagrams(book, rng).await,
    }
}

async fn connect(book: &Book, port: u16) -> io::Result<TcpStream> {
    // A silent visitor has to find out, too, when the server is gone.
    let keepalive =
        Keepalive { idle: Duration::from_secs(600), interval: Duration::from_secs(30), probes: 4, spread: 0 };
    let tcp = Config { keepalive: Some(keepalive), ..Config::default() };
    let config = ConnectConfig { tcp, ..ConnectConfig::new(SocketAddr::new(IpAddr::V4(SERVER), port)) };
    let stream = TcpStream::open(&config)?;
    book.note(|ledger| ledger.opened += 1);
    stream.established().await?;
    Ok(stream)
}

/// A number of bytes, as often of one order of magnitude as of another.
fn amount(rng: &mut Rng) -> usize {
    let order = rng.unit() * f64::from(BYTES_MAX).ln();
    order.exp() as usize
}

fn pattern(rng: &mut Rng, len: usize) -> Vec<u8> {
    let first = rng.below(256);
    (0..len as u32).map(|place| (first + place.wrapping_mul(0x9e37) / 11) as u8).collect()
}

/// Says something, hears it again; several times on one connection, or once in full.
async fn exchange(book: &Book, rng: &mut Rng, rounds: u32) -> io::Result<()> {
    let mut stream = connect(book, ECHO).await?;
    for _ in 1..rounds {
        talk(book, &mut stream, &pattern(rng, 500)).await?;
        sleep(Duration::from_millis(u64::from(rng.below(5_000)))).await;
    }
    let len = amount(rng);
    let said = pattern(rng, len);
    let (mut reader, mut writer) = stream.into_split();
    let mut heard = Vec::with_capacity(said.len());
    let speak = async {
        writer.write_all(&said).await?;
        writer.close().await
    };
    let (spoken, listened) = join(speak, reader.read_to_end(&mut heard)).await;
    spoken?;
    listened?;
    compare(book, &heard, &said);
    Ok(())
}

async fn talk(book: &Book, stream: &mut TcpStream, said: &[u8]) -> io::Result<()> {
    stream.write_all(said).await?;
    let mut heard = vec![0; said.len()];
    stream.read_exact(&mut heard).await?;
    compare(book, &heard, said);
    Ok(())
}

fn compare(book: &Book, heard: &[u8], said: &[u8]) {
    let wrong = heard.iter().zip(said).filter(|(heard, said)| heard != said).count()
        + heard.len().abs_diff(said.len());
    book.note(|ledger| ledger.wrong_bytes += wrong as u64);
}

/// The server closes first.
async fn daytime(book: &Book) -> io::Result<()> {
    let mut stream = connect(book, DAYTIME).await?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await?;
    compare(book, &heard, LINE);
    Ok(())
}

/// Takes some of an endless stream and goes.
async fn download(book: &Book, rng: &mut Rng) -> io::Result<()> {
    let mut stream = connect(book, CHARGEN).await?;
    let mut left = amount(rng);
    let mut bytes = [0; 4_096];
    while left > 0 {
        let count = stream.read(&mut bytes).await?;
        let odd = bytes[..count].iter().filter(|byte| !matches!(byte, b' '..=b'~' | b'\r' | b'\n')).count();
        book.note(|ledger| ledger.wrong_bytes += odd as u64);
        left = left.saturating_sub(count);
        if rng.chance(0.01) {
            sleep(Duration::from_millis(u64::from(rng.below(2_000)))).await;
        }
    }
    Ok(())
}

/// Sends, finishes, and waits for the end.
async fn upload(book: &Book, rng: &mut Rng) -> io::Result<()> {
    let mut stream = connect(book, DISCARD).await?;
    let len = amount(rng);
    stream.write_all(&pattern(rng, len)).await?;
    stream.close().await?;
    let count = stream.read(&mut [0]).await?;
    book.note(|ledger| ledger.wrong_bytes += count as u64);
    Ok(())
}

/// Must be refused.
async fn nobody(book: &Book) -> io::Result<()> {
    match connect(book, NOBODY).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(ErrorKind::Other.into()),
    }
}

/// Ends without a word: before the connection is there, or in the middle of something.
async fn sudden(book: &Book, rng: &mut Rng) -> io::Result<()> {
    let limit = Duration::from_micros(u64::from(rng.below(400_000)));
    let cut = timeout(limit, exchange(book, rng, 3)).await;
    // Cut short is as it should be.
    cut.unwrap_or(Ok(()))
}

/// Says nothing for minutes, then something.
async fn silence(book: &Book, rng: &mut Rng) -> io::Result<()> {
    let mut stream = connect(book, ECHO).await?;
    sleep(Duration::from_secs(u64::from(rng.below(1_500)))).await;
    talk(book, &mut stream, b"still there?").await
}

/// Asks over UDP, and takes no answer for an answer.
async fn datagrams(book: &Book, rng: &mut Rng) -> io::Result<()> {
    let Some(socket) = (0..8).find_map(|_| UdpSocket::bind(None, 20_000 + rng.below(10_000) as u16).ok())
    else {
        return Err(ErrorKind::AddrInUse.into());
    };
    let server = SocketAddr::new(IpAddr::V4(SERVER), ECHO);
    for number in 0..1 + rng.below(5) {
        let said = number.to_be_bytes();
        book.note(|ledger| ledger.datagrams += 1);
        socket.send_to(&said, server)?;
        let mut heard = [0; 64];
        while let Ok(received) = timeout(Duration::from_secs(2), socket.recv_from(&mut heard)).await {
            let (count, from) = received?;
            // A late answer to an earlier question, or one that came twice, is passed over.
            if heard[..count] == said && from == server {
                book.note(|ledger| ledger.datagrams_answered += 1);
                break;
            }
        }
    }
    Ok(())
}

/// Keeps one connection for ever, and opens it anew when it is cut off.
async fn last(book: Book, mut rng: Rng) {
    loop {
        let Ok(mut stream) = connect(&book, ECHO).await else {
            sleep(Duration::from_secs(30)).await;
            continue;
        };
        book.note(|ledger| ledger.lasting_reopened += 1);
        while talk(&book, &mut stream, b"as ever").await.is_ok() {
            book.note(|ledger| ledger.lasting_talks += 1);
            sleep(Duration::from_secs(u64::from(rng.below(1_200)))).await;
        }
    }
}
