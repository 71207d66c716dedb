//! A load of small requests on epoll: closed loop for the rate, open loop for the latency.
//!
//! In the open loop a request's latency counts from the moment it was to be sent, whether or not a connection was
//! free then: a server that stalls is charged for all who had to wait.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_nodelay;
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// Events of one wait.
const EVENTS: usize = 512;
/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to send.
#[derive(Clone, Copy, Debug)]
pub struct LoadConfig {
    /// The server.
    pub server: SocketAddr,
    /// Connections.
    pub connections: usize,
    /// Bytes of a request, and of its answer.
    pub size: usize,
}

/// When the next request is sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// On each connection as soon as the last one's answer is there.
    Closed,
    /// So many a second over all connections, evenly.
    Open(f64),
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Answers.
    pub answered: u64,
    /// For how long, in seconds.
    pub seconds: f64,
    /// Latencies, in nanoseconds.
    pub latency_ns: Histogram<u64>,
    /// Requests that waited for a free connection.
    pub late: u64,
}

impl Outcome {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.seconds
    }

    /// The latency that so many percent stay below, in microseconds.
    pub fn latency_us(&self, percent: f64) -> f64 {
        self.latency_ns.value_at_percentile(percent) as f64 / 1e3
    }
}

/// One connection and what it waits for.
struct Conn {
    socket: OwnedFd,
    /// When the request under way was to be sent; none is under way if there is none.
    since: Option<Instant>,
    /// Bytes of its answer that are still to come.
    missing: usize,
}

/// Connections to a server, opened and idle.
pub struct Load {
    poll: OwnedFd,
    conns: Vec<Conn>,
    size: usize,
    buffer: Vec<u8>,
}

impl Load {
    /// Opens all connections, from this thread's network namespace.
    ///
    /// # Errors
    ///
    /// The server refuses.
    pub fn connect(config: &LoadConfig) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut conns = Vec::with_capacity(config.connections);
        for number in 0..config.connections {
            let stream = std::net::TcpStream::connect_timeout(&config.server, PATIENCE)?;
            stream.set_nonblocking(true)?;
            let socket = OwnedFd::from(stream);
            set_tcp_nodelay(&socket, true)?;
            epoll::add(
                &poll,
                socket.as_fd(),
                epoll::EventData::new_u64(number as u64),
                epoll::EventFlags::IN,
            )?;
            conns.push(Conn { socket, since: None, missing: 0 });
        }
        Ok(Self { poll, conns, size: config.size, buffer: vec![0x5a; config.size.max(4_096)] })
    }

    /// Sends requests for `span` and waits for the last answers.
    ///
    /// # Errors
    ///
    /// A connection ended, or the server fell silent.
    pub fn run(&mut self, pace: Pace, span: Duration) -> io::Result<Outcome> {
        let mut latency_ns = Histogram::new_with_max(60_000_000_000, 3).map_err(io::Error::other)?;
        let (mut answered, mut late) = (0, 0);
        let begun = Instant::now();
        let over = begun + span;
        let mut events = Vec::with_capacity(EVENTS);
        // Free connections, the one that rests longest first; and requests that wait for one.
        let mut free: VecDeque<usize> = (0..self.conns.len()).collect();
        let mut waiting: VecDeque<Instant> = VecDeque::with_capacity(1 << 16);
        let (mut scheduled, mut under_way) = (0_u64, 0_usize);
        let mut last_heard = begun;
        if pace == Pace::Closed {
            while let Some(number) = free.pop_front() {
                self.send(number, Instant::now())?;
                under_way += 1;
            }
        }
        loop {
            let now = Instant::now();
            if let Pace::Open(rate) = pace
                && now < over
            {
                let due = (now.duration_since(begun).as_secs_f64() * rate) as u64;
                while scheduled < due {
                    late += u64::from(waiting.len() >= free.len());
                    waiting.push_back(begun + Duration::from_secs_f64(scheduled as f64 / rate));
                    scheduled += 1;
                }
                while !waiting.is_empty() && !free.is_empty() {
                    if let (Some(since), Some(number)) = (waiting.pop_front(), free.pop_front()) {
                        self.send(number, since)?;
                        under_way += 1;
                    }
                }
            }
            if under_way == 0 && now >= over {
                break;
            }
            if now.duration_since(last_heard) > PATIENCE {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("{under_way} requests unanswered"),
                ));
            }
            // In the open loop the next request is due before long: sleeping would make it late.
            let patience =
                Timespec { tv_sec: 0, tv_nsec: if pace == Pace::Closed { 100_000_000 } else { 0 } };
            events.clear();
            match epoll::wait(&self.poll, spare_capacity(&mut events), Some(&patience)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if events.is_empty() {
                continue;
            }
            let now = Instant::now();
            last_heard = now;
            for event in &events {
                let number = event.data.u64() as usize;
                let Some(since) = self.receive(number)? else { continue };
                // Longer ones than a minute count as a minute.
                latency_ns.saturating_record(now.duration_since(since).as_nanos() as u64);
                answered += 1;
                under_way -= 1;
                if pace == Pace::Closed && now < over {
                    self.send(number, now)?;
                    under_way += 1;
                } else {
                    free.push_back(number);
                }
            }
        }
        Ok(Outcome { answered, seconds: begun.elapsed().as_secs_f64(), latency_ns, late })
    }

    fn send(&mut self, number: usize, since: Instant) -> io::Result<()> {
        let conn = &mut self.conns[number];
        let sent = send(&conn.socket, &self.buffer[..self.size], SendFlags::NOSIGNAL)?;
        if sent < self.size {
            return Err(io::Error::other("a send buffer that does not hold one request"));
        }
        (conn.since, conn.missing) = (Some(since), self.size);
        Ok(())
    }

    /// Takes what came on a connection; when its request was to be sent, if that is the whole answer.
    fn receive(&mut self, number: usize) -> io::Result<Option<Instant>> {
        let conn = &mut self.conns[number];
        let bytes = match recv(&conn.socket, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((bytes, _)) => bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if bytes > conn.missing {
            return Err(io::Error::other("more came back than was sent"));
        }
        conn.missing -= bytes;
        Ok(if conn.missing == 0 { conn.since.take() } else { None })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::kernel::{EchoListener, serve_echo};

    #[test]
    fn both_loops_are_answered_in_full() {
        let listener = EchoListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let server = listener.address().unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| serve_echo(&listener, false, || over.load(Ordering::Relaxed)).unwrap());
            let mut load = Load::connect(&LoadConfig { server, connections: 8, size: 100 }).unwrap();
            let closed = load.run(Pace::Closed, Duration::from_millis(100)).unwrap();
            assert!(closed.answered >= 8 && closed.latency_ns.len() == closed.answered);
            // Slow enough for any machine, and answered to the last one.
            let open = load.run(Pace::Open(500.0), Duration::from_millis(200)).unwrap();
            assert!((90..=101).contains(&open.answered), "{}", open.answered);
            assert!(open.latency_us(50.0) > 0.0);
            over.store(true, Ordering::Relaxed);
        });
    }
}
