//! A server over Linux's TCP.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::run::Wire;

/// How long an answer may take before there is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// A way to a server by sockets of Linux. Time passes by itself: cases in which it does are cut short there.
pub struct TcpWire {
    connect: Box<dyn Fn() -> Result<TcpStream>>,
    stream: TcpStream,
}

impl TcpWire {
    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn new(server: SocketAddr) -> Result<Self> {
        Self::by(move || {
            TcpStream::connect_timeout(&server, PATIENCE).with_context(|| format!("connecting to {server}"))
        })
    }

    /// Connects as `connect` does, now and whenever a table asks for it.
    ///
    /// # Errors
    ///
    /// What `connect` says.
    pub fn by(connect: impl Fn() -> Result<TcpStream> + 'static) -> Result<Self> {
        let stream = open(&connect)?;
        Ok(Self { connect: Box::new(connect), stream })
    }
}

fn open(connect: &dyn Fn() -> Result<TcpStream>) -> Result<TcpStream> {
    let stream = connect()?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Whether the other side has gone.
fn is_gone(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

impl Wire for TcpWire {
    fn renew(&mut self) -> Result<()> {
        self.reconnect()?;
        self.stream.write_all(b"flush_all\r\n")?;
        let mut answer = [0; 4];
        self.stream.read_exact(&mut answer).context("flush_all has no answer")?;
        ensure!(answer == *b"OK\r\n", "flush_all has another answer");
        self.reconnect()
    }

    fn reconnect(&mut self) -> Result<()> {
        self.stream = open(&self.connect)?;
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self.stream.write_all(bytes) {
            Err(error) if is_gone(error.kind()) => Ok(()),
            sent => Ok(sent?),
        }
    }

    fn receive(&mut self, into: &mut Vec<u8>) -> Result<bool> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Ok(0) => Ok(false),
            Ok(count) => {
                into.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if is_gone(error.kind()) => Ok(false),
            Err(error) => Err(error).context("nothing comes"),
        }
    }

    fn advance(&mut self, _seconds: u64) -> Result<bool> {
        Ok(false)
    }
}
