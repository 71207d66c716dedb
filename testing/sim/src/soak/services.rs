//! The host that is visited: small services over TCP, and echo over UDP.

use freeway_base::{Duration, Instant};
use freeway_echo::chargen::{Chargen, Position};
use freeway_echo::{discard, echo};
use freeway_stack::udp::Datagram;
use freeway_stack::{Application, Conn, ListenConfig, Stack};
use freeway_tcp::{Config, Keepalive};

pub(super) const ECHO: u16 = 7;
pub(super) const DISCARD: u16 = 9;
pub(super) const DAYTIME: u16 = 13;
pub(super) const CHARGEN: u16 = 19;

/// What the daytime service says.
pub(super) const LINE: &[u8] = b"Tuesday, February 22, 1982 17:37:43-PST\r\n";

/// Connections that have gone silent are found after twelve minutes at most.
const KEEPALIVE: Keepalive =
    Keepalive { idle: Duration::from_secs(600), interval: Duration::from_secs(30), probes: 4, spread: 0 };

/// The services; a connection's is its port's number.
#[derive(Default)]
pub(super) struct Services {
    chargen: Option<Chargen>,
}

impl Services {
    fn serve(&self, conn: &mut Conn<'_, Position>) {
        match conn.service() {
            ECHO => echo::pump(conn),
            CHARGEN => {
                discard::drain(conn);
                if let Some(chargen) = &self.chargen {
                    chargen.pump(conn, |position| position);
                }
            }
            _ => discard::drain(conn),
        }
    }
}

impl Application for Services {
    type Conn = Position;

    fn start(&mut self, stack: &mut Stack<Position>, _: Instant) {
        let tcp = Config { keepalive: Some(KEEPALIVE), ..Config::default() };
        for port in [ECHO, DISCARD, DAYTIME, CHARGEN] {
            let listening = stack.listen(&ListenConfig { service: port, tcp, ..ListenConfig::new(port) });
            debug_assert!(listening.is_ok(), "a fresh stack has no listener");
        }
        let bound = stack.udp_bind(None, ECHO, ECHO);
        debug_assert!(bound.is_ok(), "a fresh stack has no socket");
        self.chargen = Chargen::new(stack);
    }

    fn accepted(&mut self, mut conn: Conn<'_, Position>) {
        match conn.service() {
            DAYTIME => {
                conn.write(LINE);
                conn.close();
            }
            CHARGEN => self.serve(&mut conn),
            _ => {}
        }
    }

    fn readable(&mut self, mut conn: Conn<'_, Position>) {
        self.serve(&mut conn);
    }

    fn writable(&mut self, mut conn: Conn<'_, Position>) {
        self.serve(&mut conn);
    }

    fn datagram(&mut self, stack: &mut Stack<Position>, datagram: Datagram) {
        echo::datagram(stack, datagram);
    }
}
