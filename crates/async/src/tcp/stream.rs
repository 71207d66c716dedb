//! A connection, and its two halves.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use freeway::{CloseReason, ConfigureError, ConnId, ConnectConfig, ConnectError, SharedPacket, TcpConfig};

use crate::current::{current, with_stack};
use crate::executor::Later;
use crate::handle::{Handle, not_here, over};
use crate::streams::Interest;

/// A connection. Dropping it closes both ways: what was written is still delivered; if something was not read, the peer gets
/// a reset (RFC 9293, SHLD-3). Dropped by a panic, it is reset whatever there was.
pub struct TcpStream(pub(crate) Handle);

impl TcpStream {
    /// Opens a connection and waits until it is established. Dropping the future gives it up.
    ///
    /// # Errors
    ///
    /// See [`with_config`](Self::with_config).
    pub async fn connect(remote: SocketAddr) -> io::Result<Self> {
        Self::with_config(&ConnectConfig::new(remote)).await
    }

    /// Opens a connection as `config` says, and waits until it is established.
    ///
    /// # Errors
    ///
    /// No route, no port, a table that is full, a peer that refuses or does not answer; or no executor here.
    pub async fn with_config(config: &ConnectConfig) -> io::Result<Self> {
        let stream = Self::open(config)?;
        stream.established().await?;
        Ok(stream)
    }

    /// Begins to open a connection. What is written before it is established follows the handshake, or, with Fast Open,
    /// travels in it.
    ///
    /// # Errors
    ///
    /// No route, no port, or a table that is full; or no executor here.
    pub fn open(config: &ConnectConfig) -> io::Result<Self> {
        let shared = current().ok_or_else(not_here)?;
        let Some(place) = shared.streams.borrow_mut().add(None, 1) else {
            shared.count(|counters| counters.refused_streams_full += 1);
            return Err(io::Error::other("all streams are in use: raise max_streams, or close some"));
        };
        let stream = Self(Handle { shared: Rc::clone(&shared), place });
        let opened = with_stack(&shared, |stack| {
            let id = stack.connect(config)?;
            if let Some(mut conn) = stack.conn(id) {
                *conn.state() = place;
            }
            Ok(id)
        });
        let id = opened.ok_or_else(not_here)?.map_err(connect_error)?;
        if let Some(record) = shared.streams.borrow_mut().get_mut(place) {
            record.id = Some(id);
        }
        Ok(stream)
    }

    /// Waits until a connection that was [opened](Self::open) is established.
    ///
    /// # Errors
    ///
    /// The peer refuses or does not answer.
    pub async fn established(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_open(cx)).await
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let (open, ended) = {
            let streams = self.0.shared.streams.borrow();
            let record = streams.get(self.0.place);
            (record.is_some_and(|record| record.open), record.and_then(|record| record.ended))
        };
        match ended {
            _ if open => Poll::Ready(Ok(())),
            Some(reason) => Poll::Ready(Err(over(reason))),
            None => {
                self.0.wait(cx, Interest::Write);
                Poll::Pending
            }
        }
    }

    /// The connection's name in the stack.
    pub fn id(&self) -> Option<ConnId> {
        self.0.id()
    }

    /// This side's address and port.
    ///
    /// # Errors
    ///
    /// The connection is over.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.with(|conn| conn.local())
    }

    /// The peer's address and port.
    ///
    /// # Errors
    ///
    /// The connection is over.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.with(|conn| conn.peer())
    }

    /// What TCP knows of the connection.
    ///
    /// # Errors
    ///
    /// The connection is over.
    pub fn info(&self) -> io::Result<freeway::tcp::Info> {
        self.0.with(|conn| conn.info())?.ok_or_else(|| over(CloseReason::Aborted))
    }

    /// Changes settings of this connection; see [`Conn::configure`](freeway::Conn::configure).
    ///
    /// # Errors
    ///
    /// The connection is over, or too many connections have settings of their own.
    pub fn configure(&self, change: impl FnOnce(&mut TcpConfig)) -> io::Result<()> {
        self.0.with(|conn| conn.configure(change))?.map_err(|error| match error {
            ConfigureError::Over => over(CloseReason::Aborted),
            full => io::Error::other(full),
        })
    }

    /// Waits for bytes and takes them in the frame they came in, without a copy; `None` when the peer has finished.
    ///
    /// # Errors
    ///
    /// The connection was cut off.
    pub async fn receive(&self) -> io::Result<Option<SharedPacket>> {
        poll_fn(|cx| self.0.poll_receive(cx)).await
    }

    /// Waits for room, and sends a frame without a copy.
    ///
    /// # Errors
    ///
    /// The connection is over, or closed for writing; or its send buffer is smaller than the frame.
    pub async fn send(&self, packet: SharedPacket) -> io::Result<()> {
        let mut packet = Some(packet);
        poll_fn(|cx| self.0.poll_send(cx, &mut packet)).await
    }

    /// Waits for the connection's end, whoever brings it about: both sides have finished, or it was cut off. Bytes that
    /// nobody reads hold the end back.
    pub async fn ended(&self) -> CloseReason {
        poll_fn(|cx| match self.0.ended() {
            Some(reason) => Poll::Ready(reason),
            None => {
                self.0.wait(cx, Interest::End);
                Poll::Pending
            }
        })
        .await
    }

    /// Finishes sending: a FIN follows the last byte written. Reading goes on.
    ///
    /// # Errors
    ///
    /// The connection is over.
    pub fn finish(&self) -> io::Result<()> {
        self.0.with(|conn| {
            conn.shutdown();
        })
    }

    /// Ends the connection at once; the peer gets a reset.
    pub fn abort(self) {
        // One that is over needs no reset.
        let _ = self.0.with(|conn| {
            conn.abort();
        });
    }

    /// Divides it into two halves that may move to different tasks. A reference to a stream reads and writes as well, where
    /// one task does both.
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        let writer = self.0.share();
        (ReadHalf(self.0), WriteHalf { handle: Some(writer) })
    }
}

/// The half of a stream that reads. The connection is closed when both halves are dropped.
pub struct ReadHalf(pub(super) Handle);

/// The half of a stream that writes. Dropping it finishes sending.
pub struct WriteHalf {
    /// There until it is joined with its other half.
    handle: Option<Handle>,
}

impl ReadHalf {
    /// Makes the halves of one stream that stream again.
    ///
    /// # Errors
    ///
    /// The halves, if they belong to different streams.
    pub fn unsplit(self, mut writer: WriteHalf) -> Result<TcpStream, (Self, WriteHalf)> {
        let same = |other: &Handle| other.place == self.0.place && Rc::ptr_eq(&other.shared, &self.0.shared);
        if !writer.handle.as_ref().is_some_and(same) {
            return Err((self, writer));
        }
        drop(writer.handle.take());
        Ok(TcpStream(self.0))
    }

    /// See [`TcpStream::receive`].
    ///
    /// # Errors
    ///
    /// The connection was cut off.
    pub async fn receive(&mut self) -> io::Result<Option<SharedPacket>> {
        poll_fn(|cx| self.0.poll_receive(cx)).await
    }
}

impl WriteHalf {
    pub(super) fn handle(&self) -> io::Result<&Handle> {
        self.handle.as_ref().ok_or_else(not_here)
    }

    /// See [`TcpStream::send`].
    ///
    /// # Errors
    ///
    /// The connection is over, or closed for writing; or its send buffer is smaller than the frame.
    pub async fn send(&mut self, packet: SharedPacket) -> io::Result<()> {
        let mut packet = Some(packet);
        let handle = self.handle()?;
        poll_fn(|cx| handle.poll_send(cx, &mut packet)).await
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        let Some(Handle { shared, place }) = self.handle.as_ref() else { return };
        if with_stack(shared, |stack| shared.finish(stack, *place)).is_none() {
            shared.put_off(Later::Writer(*place));
        }
    }
}

fn connect_error(error: ConnectError) -> io::Error {
    let kind = match error {
        ConnectError::NotLocal(_) | ConnectError::NoPort(_) => io::ErrorKind::AddrNotAvailable,
        ConnectError::NoRoute(_) => io::ErrorKind::NetworkUnreachable,
        ConnectError::InUse(_) => io::ErrorKind::AddrInUse,
        ConnectError::NotUnicast(_) => io::ErrorKind::InvalidInput,
        ConnectError::Full => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
