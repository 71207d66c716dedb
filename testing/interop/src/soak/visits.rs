//! What Linux's visitors do behind the weather. Each kind is a thread; each visit ends as it should, whatever the weather.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpStream};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use freeway_base::Rng;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::Book;
use super::site::Tools;
use crate::lab::{SERVERS, at, port};
use crate::netns::Namespace;
use crate::peer::{PATIENCE, http, tcp, udp};

/// The cache's port, by TCP.
const CACHE: u16 = 11_211;
/// Where the server's own figures are.
const METRICS: u16 = 9_100;
/// Linux's end of the path.
const INTERFACE: &str = "path1";
/// An address that comes and goes.
const VANISHING: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 66);

type Visit = fn(&Tools<'_>, &mut Rng) -> Result<()>;

/// Kinds of visits, each with the pause between two on average, in milliseconds.
const KINDS: [(&str, u64, Visit); 9] = [
    ("echoes", 100, echo),
    ("short echoes", 20, short_echo),
    ("datagrams", 20, datagram),
    ("downloads", 100, download),
    ("given up", 200, give_up),
    ("resets", 200, reset),
    ("half-closed", 200, half_close),
    ("subscriptions", 500, subscribe),
    ("metrics", 2_000, metrics),
];

/// Starts all kinds of visitors; they end with the day.
pub(super) fn start<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    book: &'env Book,
    tools: &Tools<'env>,
    mut rng: Rng,
) -> Vec<ScopedJoinHandle<'scope, ()>> {
    let tools = *tools;
    let mut threads = Vec::new();
    for (name, pause, visit) in KINDS {
        let mut rng = rng.fork();
        threads.push(scope.spawn(move || {
            let pause = Duration::from_millis(pause);
            book.keep_visiting(name, &mut rng, pause, |rng| visit(&tools, rng));
        }));
    }
    let (mut of_cache, mut of_vanishing, mut of_lasting) = (rng.fork(), rng.fork(), rng.fork());
    threads.push(scope.spawn(move || {
        let mut customer = Customer::default();
        book.keep_visiting("cache visits", &mut of_cache, Duration::from_millis(50), |rng| {
            customer.visit(&tools, rng)
        });
    }));
    threads.push(scope.spawn(move || {
        book.keep_visiting("vanished", &mut of_vanishing, Duration::from_secs(5), |rng| vanish(&tools, rng));
    }));
    // One connection of each IP version for all of the day.
    threads.push(scope.spawn(move || {
        let mut open: Vec<TcpStream> = Vec::new();
        book.keep_visiting("lasting talks", &mut of_lasting, Duration::from_millis(500), |rng| {
            if open.is_empty() {
                let connect = |address| tcp::connect(tools.client, at(address, port::ECHO));
                open = SERVERS.into_iter().map(connect).collect::<Result<_>>()?;
            }
            let bytes = vec![rng.next_u32() as u8; 1 + rng.below(3_000) as usize];
            open.iter_mut().try_for_each(|stream| tcp::say_and_hear(stream, &bytes))
        });
    }));
    threads
}

fn either(rng: &mut Rng) -> IpAddr {
    SERVERS[rng.below(2) as usize]
}

/// Bytes there and back, both ways at once, with a proof.
fn echo(tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
    let stream = tcp::connect(tools.client, at(either(rng), port::ECHO))?;
    let length = 1 << rng.below(21);
    tcp::echo(&stream, rng.next_u64(), length).with_context(|| format!("{length} bytes"))
}

fn short_echo(tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
    let mut stream = tcp::connect(tools.client, at(either(rng), port::ECHO))?;
    for _ in 0..1 + rng.below(5) {
        let bytes = vec![rng.next_u32() as u8; 1 + rng.below(2_000) as usize];
        tcp::say_and_hear(&mut stream, &bytes)?;
    }
    Ok(())
}

/// As often as it takes.
fn datagram(tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
    let socket = udp::connect(tools.client, at(either(rng), port::ECHO))?;
    let bytes: Vec<u8> = (0..1 + rng.below(1_400)).map(|_| rng.next_u32() as u8).collect();
    udp::say_and_hear(&socket, &bytes, PATIENCE.as_secs() as usize)
}

/// Some documents over one connection, whole.
fn download(tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
    let mut stream = tcp::connect(tools.client, at(either(rng), port::HTTP))?;
    for _ in 0..1 + rng.below(4) {
        let document = &tools.documents[rng.below(tools.documents.len() as u32) as usize];
        let answer =
            http::get(&mut stream, "example.org", &document.path).with_context(|| document.path.clone())?;
        ensure!(answer.status == 200 && answer.body == document.proof, "{}: {answer:?}", document.path);
    }
    Ok(())
}

/// A stream without an end, or a long document, of which a part is read; Linux resets what comes after.
fn give_up(tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
    let is_stream = rng.chance(0.5);
    let service = if is_stream { port::CHARGEN } else { port::HTTP };
    let mut stream = tcp::connect(tools.client, at(either(rng), service))?;
    if !is_stream {
        let longest = tools.documents.last().context("documents")?;
        write!(stream, "GET {} HTTP/1.1\r\nHost: example.org\r\n\r\n", longest.path)?;
    }
    tcp::receive_exactly(&mut stream, 1 + u64::from(rng.below(200_000)), |_| Ok(()))
}

/// A connection that ends by a reset, with bytes under way.
fn reset(tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
    let service = if rng.chance(0.5) { port::DISCARD } else { port::ECHO };
    let mut stream = tcp::connect(tools.client, at(either(rng), service))?;
    stream.write_all(&vec![1; rng.below(30_000) as usize])?;
    tcp::reset(stream)
}

/// All is said before anything is read.
fn half_close(tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
    let mut stream = tcp::connect(tools.client, at(either(rng), port::ECHO))?;
    let bytes = vec![rng.next_u32() as u8; rng.below(20_000) as usize];
    let sent = tcp::send(&mut stream, &bytes[..])?;
    ensure!(tcp::receive(&mut stream)? == sent, "another echo");
    Ok(())
}

/// Listens to events, publishes one, and hears it.
fn subscribe(tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
    let server = either(rng);
    let mut listening = tcp::connect(tools.client, at(server, port::HTTP))?;
    listening.write_all(b"GET /events HTTP/1.1\r\nHost: example.org\r\nAccept: text/event-stream\r\n\r\n")?;
    let mut heard = BufReader::new(listening).lines();
    let mut next = || heard.next().context("the events ended")?.context("listening");
    ensure!(next()?.contains(" 200 "), "no events");
    while !next()?.is_empty() {}
    let message = format!("{:016x}", rng.next_u64());
    let mut telling = tcp::connect(tools.client, at(server, port::HTTP))?;
    let length = message.len();
    write!(
        telling,
        "POST /publish HTTP/1.1\r\nHost: example.org\r\nContent-Length: {length}\r\n\r\n{message}"
    )?;
    let mut status = [0; 12];
    telling.read_exact(&mut status).context("publishing")?;
    ensure!(status.starts_with(b"HTTP/1.1 2"), "not published: {}", String::from_utf8_lossy(&status));
    // Others publish too.
    while !next()?.contains(&message) {}
    Ok(())
}

fn metrics(tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
    let mut stream = tcp::connect(tools.client, at(either(rng), METRICS))?;
    let answer = http::get(&mut stream, "example.org", "/metrics")?;
    ensure!(answer.status == 200 && answer.body.length > 1_000, "{answer:?}");
    Ok(())
}

/// Who keeps things in the cache, and knows what is there.
#[derive(Default)]
struct Customer {
    kept: BTreeMap<u32, Vec<u8>>,
}

impl Customer {
    /// Some commands over one connection.
    fn visit(&mut self, tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
        let stream = tcp::connect(tools.client, at(either(rng), CACHE))?;
        let mut heard = BufReader::new(stream.try_clone()?);
        let mut said = stream;
        for _ in 0..1 + rng.below(20) {
            let key = rng.below(200);
            match rng.below(4) {
                0 => {
                    let value = vec![rng.next_u32() as u8; rng.below(5_000) as usize];
                    write!(said, "set key{key} 0 0 {}\r\n", value.len())?;
                    said.write_all(&value)?;
                    said.write_all(b"\r\n")?;
                    // It is one or the other from here on.
                    self.kept.remove(&key);
                    ensure!(line(&mut heard)? == "STORED", "not stored");
                    self.kept.insert(key, value);
                }
                1 => {
                    write!(said, "delete key{key}\r\n")?;
                    let known = self.kept.remove(&key).is_some();
                    let answer = line(&mut heard)?;
                    ensure!(!known || answer == "DELETED", "deleting what is there: {answer}");
                }
                _ => {
                    write!(said, "get key{key}\r\n")?;
                    let found = value(&mut heard)?;
                    if let Some(kept) = self.kept.get(&key) {
                        ensure!(found.as_ref() == Some(kept), "key{key} has another value, or none");
                    }
                }
            }
        }
        Ok(())
    }
}

fn line(heard: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    heard.read_line(&mut line).context("the cache's answer")?;
    Ok(line.trim_end().to_owned())
}

/// The answer to a get of one key.
fn value(heard: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let head = line(heard)?;
    if head == "END" {
        return Ok(None);
    }
    let length: usize =
        head.split(' ').nth(3).and_then(|word| word.parse().ok()).with_context(|| head.clone())?;
    let mut value = vec![0; length + 2];
    heard.read_exact(&mut value).context("the value")?;
    ensure!(value.ends_with(b"\r\n") && line(heard)? == "END", "a value without an end");
    value.truncate(length);
    Ok(Some(value))
}

/// Connections whose peer's address goes away: nothing that is sent there is answered, not even by a reset.
fn vanish(tools: &Tools<'_>, rng: &mut Rng) -> Result<()> {
    let address = format!("{VANISHING}/24");
    tools.client.address(INTERFACE, &address)?;
    let mut streams = Vec::new();
    for service in [port::ECHO, port::CHARGEN, port::HTTP, port::DISCARD] {
        streams.push(connect_from(tools.client, VANISHING, service));
    }
    thread::sleep(Duration::from_millis(u64::from(rng.below(1_000))));
    tools.client.ip(&format!("address delete {address} dev {INTERFACE}"))?;
    // Linux has nowhere to say it from.
    streams.into_iter().try_for_each(|stream| tcp::reset(stream?))
}

fn connect_from(namespace: &Namespace, own: Ipv4Addr, service: u16) -> Result<TcpStream> {
    let IpAddr::V4(server) = SERVERS[0] else { unreachable!("the first is of IPv4") };
    namespace.enter(|| {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddrV4::new(own, 0))?;
        connect(&socket, &SocketAddrV4::new(server, service)).context("connecting from another address")?;
        Ok(TcpStream::from(socket))
    })?
}
