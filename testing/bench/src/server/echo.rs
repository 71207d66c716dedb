//! The echo service.

use freeway::tcp::Config;
use freeway::{Application, Conn, Datagram, Instant, ListenConfig, Stack};
use freeway_echo::echo;

/// An echo service, TCP and UDP, with 16 bytes of state a connection, as the memory budget has it.
#[derive(Clone, Copy, Debug)]
pub struct EchoServer {
    /// The port it listens on.
    pub port: u16,
    /// TCP's settings.
    pub tcp: Config,
}

impl Application for EchoServer {
    type Conn = [u64; 2];

    fn start(&mut self, stack: &mut Stack<Self::Conn>, _now: Instant) {
        let listen = ListenConfig { tcp: self.tcp, ..ListenConfig::new(self.port) };
        // A benchmark without its server measures nothing: its connections would all fail.
        let listening = stack.listen(&listen);
        debug_assert!(listening.is_ok());
        let bound = stack.udp_bind(None, self.port, 0);
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
