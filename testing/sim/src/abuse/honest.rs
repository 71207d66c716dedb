//! Who the attacks must not touch: a client that never stops talking, and a server that echoes.

use std::net::SocketAddr;

use freeway_base::{Duration, Instant};
use freeway_stack::{
    Application, Conn, ConnectConfig, Ended, ListenConfig, ListenerId, ListenerReport, Stack,
};

/// The source port of the connection that lasts: an attacker is taken to know it.
pub(crate) const LASTING_PORT: u16 = 50_000;
/// Bytes of one exchange.
const EXCHANGE: u32 = 300;
/// Between two new connections.
const PAUSE: Duration = Duration::from_millis(10);

/// One connection of the client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Talk {
    lasts: bool,
    written: u32,
    read: u32,
}

const fn byte_at(place: u32) -> u8 {
    (place.wrapping_mul(0x85eb_ca6b) >> 19) as u8
}

/// What the honest client came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Fortunes {
    /// Bytes that came back on the connection that lasts.
    pub(crate) lasting_bytes: u64,
    /// Whether that connection has ended.
    pub(crate) lasting_ended: bool,
    /// Short connections begun.
    pub(crate) begun: u32,
    /// Short connections whose every byte came back and which ended orderly.
    pub(crate) complete: u32,
    /// Short connections that ended in any other way.
    pub(crate) broken: u32,
    /// Bytes that were not the ones sent.
    pub(crate) wrong_bytes: u64,
}

/// The honest client.
pub(crate) struct Client {
    pub(crate) server: SocketAddr,
    pub(crate) tcp: freeway_tcp::Config,
    pub(crate) fortunes: Fortunes,
    /// Whether it tries Fast Open, and writes as soon as it connects.
    pub(crate) fast_open: bool,
    /// Whether it opens new connections.
    pub(crate) opens: bool,
    next_open: Instant,
}

impl Client {
    pub(crate) fn new(server: SocketAddr, tcp: freeway_tcp::Config) -> Self {
        let fortunes = Fortunes::default();
        Self { server, tcp, fortunes, fast_open: false, opens: true, next_open: Instant::ZERO }
    }

    fn write(conn: &mut Conn<'_, Talk>) {
        let from = conn.state().written;
        let bytes: Vec<u8> = (from..from + EXCHANGE).map(byte_at).collect();
        let taken = conn.write(&bytes);
        assert_eq!(taken, bytes.len(), "there is room for one exchange");
        conn.state().written += EXCHANGE;
    }
}

impl Application for Client {
    type Conn = Talk;

    fn start(&mut self, stack: &mut Stack<Talk>, _: Instant) {
        let connect = ConnectConfig {
            local_port: Some(LASTING_PORT),
            tcp: self.tcp,
            ..ConnectConfig::new(self.server)
        };
        let id = stack.connect(&connect).expect("the host is fresh");
        *stack.conn(id).expect("it was just opened").state() = Talk { lasts: true, ..Talk::default() };
    }

    fn turn(&mut self, stack: &mut Stack<Talk>, now: Instant) {
        if !self.opens || now < self.next_open {
            return;
        }
        self.next_open = now + PAUSE;
        let connect =
            ConnectConfig { tcp: self.tcp, fast_open: self.fast_open, ..ConnectConfig::new(self.server) };
        if let Ok(id) = stack.connect(&connect) {
            self.fortunes.begun += 1;
            if self.fast_open
                && let Some(mut conn) = stack.conn(id)
            {
                Self::write(&mut conn);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.opens.then_some(self.next_open)
    }

    fn connected(&mut self, mut conn: Conn<'_, Talk>) {
        if conn.state().written == 0 {
            Self::write(&mut conn);
        }
    }

    fn readable(&mut self, mut conn: Conn<'_, Talk>) {
        loop {
            let read = conn.state().read;
            let bytes = conn.peek();
            let count = bytes.len();
            if count == 0 {
                break;
            }
            let wrong = bytes.iter().zip(read..).filter(|&(&byte, place)| byte != byte_at(place)).count();
            self.fortunes.wrong_bytes += wrong as u64;
            conn.state().read += count as u32;
            if conn.state().lasts {
                self.fortunes.lasting_bytes += count as u64;
            }
            conn.consume(count);
        }
        let Talk { lasts, written, read } = *conn.state();
        if read == written && read > 0 {
            if lasts {
                conn.set_timer(Some(Duration::from_millis(2)));
            } else {
                conn.close();
            }
        }
    }

    fn timer(&mut self, mut conn: Conn<'_, Talk>) {
        Self::write(&mut conn);
    }

    fn closed(&mut self, _: &mut Stack<Talk>, ended: Ended<Talk>) {
        let Talk { lasts, written, read } = ended.state;
        if lasts {
            self.fortunes.lasting_ended = true;
        } else if read == EXCHANGE && written == EXCHANGE {
            self.fortunes.complete += 1;
        } else {
            self.fortunes.broken += 1;
        }
    }
}

/// The server: echoes on every listener.
pub(crate) struct Server {
    listen: Vec<ListenConfig>,
    ids: Vec<ListenerId>,
}

impl Server {
    pub(crate) const fn new(listen: Vec<ListenConfig>) -> Self {
        Self { listen, ids: Vec::new() }
    }

    /// How listener number `number` does.
    pub(crate) fn report(&self, stack: &Stack<Talk>, number: usize) -> ListenerReport {
        stack.listener(self.ids[number]).expect("it listens")
    }

    fn pump(conn: &mut Conn<'_, Talk>) {
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
    type Conn = Talk;

    fn start(&mut self, stack: &mut Stack<Talk>, _: Instant) {
        self.ids = self.listen.iter().map(|listen| stack.listen(listen).expect("the port is free")).collect();
    }

    fn readable(&mut self, mut conn: Conn<'_, Talk>) {
        Self::pump(&mut conn);
    }

    fn writable(&mut self, mut conn: Conn<'_, Talk>) {
        Self::pump(&mut conn);
    }
}
