//! What the hosts of the simulation do: clients send streams whose every byte is known, a server sends them back.

use std::net::SocketAddr;

use freeway_base::{Instant, Rng};
use freeway_stack::{Application, CloseReason, Conn, ConnectConfig, Ended, FastOpen, ListenConfig, Stack};
use freeway_tcp::{Config, State};

use crate::plan::Plan;

/// The server's port.
pub(crate) const PORT: u16 = 7;

/// The byte at place `place` of stream `stream`: another in every stream, and never periodic in a power of two,
/// so that a byte in the wrong place shows.
const fn byte_at(stream: u32, place: u32) -> u8 {
    (place.wrapping_add(stream.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b) >> 19) as u8
}

/// One stream, from opening to end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stream {
    number: u32,
    len: u32,
    written: u32,
    read: u32,
}

/// What became of the streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Streams {
    /// Streams whose every byte came back, in order, and which ended orderly.
    pub complete: u32,
    /// Streams that ended in any other way.
    pub broken: u32,
    /// How the last of those ended.
    pub broken_by: Option<CloseReason>,
    /// Bytes that came back.
    pub bytes: u64,
    /// Bytes that were not the ones sent.
    pub wrong_bytes: u64,
}

/// A client: opens its streams one by one, sends, reads back, compares.
pub(crate) struct Client {
    server: SocketAddr,
    config: Config,
    rng: Rng,
    /// Streams not opened yet.
    to_open: u32,
    /// Bytes of the longest.
    len_max: u32,
    next_open: Instant,
    numbers: u32,
    pub(crate) outcome: Streams,
    open: u32,
    /// Tries Fast Open, and writes as soon as it connects.
    fast_open: bool,
}

impl Client {
    pub(crate) fn new(server: SocketAddr, plan: &Plan, rng: Rng) -> Self {
        let Plan { client_tcp: config, streams, stream_bytes_max: len_max, fast_open, .. } = *plan;
        Self {
            server,
            fast_open,
            config,
            rng,
            to_open: streams,
            len_max,
            next_open: Instant::ZERO,
            numbers: 0,
            outcome: Streams::default(),
            open: 0,
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.to_open == 0 && self.open == 0
    }

    fn send(conn: &mut Conn<'_, Stream>) {
        const CHUNK: usize = 4096;
        let mut chunk = [0; CHUNK];
        loop {
            let Stream { number, len, written, .. } = *conn.state();
            let wanted = CHUNK.min((len - written) as usize);
            for (byte, place) in chunk[..wanted].iter_mut().zip(written..) {
                *byte = byte_at(number, place);
            }
            let taken = conn.write(&chunk[..wanted]);
            conn.state().written += taken as u32;
            if conn.state().written == len {
                conn.shutdown();
                return;
            }
            if taken < wanted {
                return;
            }
        }
    }

    /// Writes what may go with the SYN. It is finished with when the connection is open.
    fn begin(conn: &mut Conn<'_, Stream>) {
        const FIRST: u32 = 1_000;
        let Stream { number, len, .. } = *conn.state();
        let bytes: Vec<u8> = (0..len.min(FIRST)).map(|place| byte_at(number, place)).collect();
        conn.state().written = conn.write(&bytes) as u32;
    }

    fn compare(&mut self, conn: &mut Conn<'_, Stream>) {
        loop {
            let Stream { number, read, .. } = *conn.state();
            let bytes = conn.peek();
            let count = bytes.len();
            if count == 0 {
                break;
            }
            let wrong =
                bytes.iter().zip(read..).filter(|&(&byte, place)| byte != byte_at(number, place)).count();
            self.outcome.wrong_bytes += wrong as u64;
            self.outcome.bytes += count as u64;
            conn.state().read += count as u32;
            conn.consume(count);
        }
        if conn.at_end() {
            conn.close();
        }
    }
}

impl Application for Client {
    type Conn = Stream;

    fn turn(&mut self, stack: &mut Stack<Stream>, now: Instant) {
        while self.to_open > 0 && now >= self.next_open {
            let connect = ConnectConfig {
                tcp: self.config,
                fast_open: self.fast_open,
                ..ConnectConfig::new(self.server)
            };
            // The table may be full for a moment: then it is tried again at the next time.
            if let Ok(id) = stack.connect(&connect) {
                self.to_open -= 1;
                self.open += 1;
                self.numbers += 1;
                let len = self.rng.below(self.len_max + 1);
                if let Some(mut conn) = stack.conn(id) {
                    *conn.state() = Stream { number: self.numbers, len, ..Stream::default() };
                    // A stream of nothing would end before it began.
                    if self.fast_open && len > 0 {
                        Self::begin(&mut conn);
                    }
                }
            }
            let pause = u64::from(self.rng.below(20_000));
            self.next_open = now + freeway_base::Duration::from_micros(pause);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        (self.to_open > 0).then_some(self.next_open)
    }

    fn connected(&mut self, mut conn: Conn<'_, Stream>) {
        Self::send(&mut conn);
    }

    fn readable(&mut self, mut conn: Conn<'_, Stream>) {
        self.compare(&mut conn);
    }

    fn writable(&mut self, mut conn: Conn<'_, Stream>) {
        // What is finished before it is open is deleted (RFC 9293, section 3.10.4): `connected` goes on.
        if conn.info().is_some_and(|info| info.state != State::SynSent) {
            Self::send(&mut conn);
        }
    }

    fn closed(&mut self, _: &mut Stack<Stream>, ended: Ended<Stream>) {
        let Ended { state, reason, .. } = ended;
        self.open -= 1;
        if reason == CloseReason::Finished && state.read == state.len && state.written == state.len {
            self.outcome.complete += 1;
        } else {
            self.outcome.broken += 1;
            self.outcome.broken_by = Some(reason);
        }
    }
}

/// A server that sends back what it receives.
pub(crate) struct Server {
    config: Config,
    fast_open: bool,
}

impl Server {
    pub(crate) const fn new(plan: &Plan) -> Self {
        Self { config: plan.server_tcp, fast_open: plan.fast_open }
    }

    fn pump(conn: &mut Conn<'_, Stream>) {
        while let Some(packet) = conn.receive() {
            if conn.send_room() < packet.data().len() {
                conn.unreceive(packet);
                conn.want_room();
                return;
            }
            conn.send(packet);
        }
        if conn.at_end() {
            conn.close();
        }
    }
}

impl Application for Server {
    type Conn = Stream;

    fn start(&mut self, stack: &mut Stack<Stream>, _: Instant) {
        let listening = stack.listen(&ListenConfig {
            tcp: self.config,
            fast_open: self.fast_open.then(FastOpen::default),
            ..ListenConfig::new(PORT)
        });
        debug_assert!(listening.is_ok(), "a fresh stack has no listener");
    }

    fn readable(&mut self, mut conn: Conn<'_, Stream>) {
        Self::pump(&mut conn);
    }

    fn writable(&mut self, mut conn: Conn<'_, Stream>) {
        Self::pump(&mut conn);
    }
}
