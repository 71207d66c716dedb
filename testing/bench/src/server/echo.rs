//! The echo service.

use freeway::{Application, Conn, Datagram, Instant, ListenConfig, Stack};
use freeway_echo::echo;

/// An echo service, TCP and UDP, with 16 bytes of state a connection, as the memory budget has it.
#[derive(Clone, Debug)]
pub struct EchoServer {
    /// Where and how it listens; for datagrams, the port alone counts.
    pub listen: ListenConfig,
}

impl EchoServer {
    /// A server on `port`, all else by default.
    pub fn new(port: u16) -> Self {
        Self { listen: ListenConfig::new(port) }
    }
}

impl Application for EchoServer {
    type Conn = [u64; 2];

    fn start(&mut self, stack: &mut Stack<Self::Conn>, _now: Instant) {
        // A benchmark without its server measures nothing: its connections would all fail.
        let listening = stack.listen(&self.listen);
        debug_assert!(listening.is_ok());
        let bound = stack.udp_bind(None, self.listen.port, 0);
        debug_assert!(bound.is_ok());
    }

    fn readable(&mut self, mut conn: Conn<'_, Self::Conn>) {
        echo::pump(&mut conn);
    }

    fn writable(&mut self, mut conn: Conn<'_, Self::Conn>) {
        echo::pump(&mut conn);
    }

    fn datagram(&mut self, stack: &mut Stack<Self::Conn>, datagram: Datagram) {
        echo::datagram(stack, datagram);
    }
}
