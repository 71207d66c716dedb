//! A port that connections are accepted from.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use freeway::{ListenConfig, ListenError, ListenerReport};

use super::stream::TcpStream;
use crate::current::{current, with_stack};
use crate::executor::{Later, Shared};
use crate::handle::{Handle, not_here};

/// A port that connections are accepted from. Dropping it stops listening and resets whom nobody has accepted.
pub struct TcpListener {
    shared: Rc<Shared>,
    service: u16,
    port: u16,
}

impl TcpListener {
    /// Listens on a port, of all of the host's addresses.
    ///
    /// # Errors
    ///
    /// See [`with_config`](Self::with_config).
    pub fn bind(port: u16) -> io::Result<Self> {
        Self::with_config(&ListenConfig::new(port))
    }

    /// Listens as `config` says; its `service` is the executor's to choose.
    ///
    /// # Errors
    ///
    /// Port 0, a port that is taken, or more listeners than
    /// [`max_listeners`](crate::ExecutorConfig::max_listeners); or no executor here.
    pub fn with_config(config: &ListenConfig) -> io::Result<Self> {
        let shared = current().ok_or_else(not_here)?;
        let full = || io::Error::other("all listeners are in use: raise max_listeners");
        let service = shared.listeners.borrow_mut().add(config.limits.backlog).ok_or_else(full)?;
        let port = config.port;
        let listened = with_stack(&shared, |stack| stack.listen(&ListenConfig { service, ..config.clone() }));
        match listened {
            Some(Ok(id)) => {
                if let Some(listening) = shared.listeners.borrow_mut().get_mut(service) {
                    listening.id = Some(id);
                }
                Ok(Self { shared, service, port })
            }
            failed => {
                drop(shared.listeners.borrow_mut().remove(service));
                Err(failed.and_then(Result::err).map_or_else(not_here, listen_error))
            }
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the next connection. It counts towards the listener's backlog until here.
    ///
    /// # Errors
    ///
    /// The caller is no task of this listener's executor. A connection that ends while it waits is left out.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The same to be polled.
    ///
    /// # Errors
    ///
    /// See [`accept`](Self::accept).
    pub fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        if with_stack(&self.shared, |_| ()).is_none() {
            return Poll::Ready(Err(not_here()));
        }
        loop {
            let next = {
                let mut listeners = self.shared.listeners.borrow_mut();
                let Some(listening) = listeners.get_mut(self.service) else {
                    return Poll::Ready(Err(not_here()));
                };
                let next = listening.pop();
                if next.is_none() {
                    listening.wait(cx.waker());
                }
                next
            };
            let Some(place) = next else { return Poll::Pending };
            if let Some(record) = self.shared.streams.borrow_mut().get_mut(place) {
                record.handles = 1;
            }
            // From here on whatever happens lets go of the record.
            let stream = TcpStream(Handle { shared: Rc::clone(&self.shared), place });
            let accepted = stream.0.with(|conn| {
                conn.handled();
                conn.peer()
            });
            match accepted {
                Ok(peer) => return Poll::Ready(Ok((stream, peer))),
                Err(_) if stream.0.ended().is_some() => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// How full its bounds are, and what it let in and shed.
    pub fn report(&self) -> Option<ListenerReport> {
        let id = self.shared.listeners.borrow_mut().get_mut(self.service)?.id?;
        with_stack(&self.shared, |stack| stack.listener(id)).flatten()
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let (shared, service) = (&self.shared, self.service);
        if with_stack(shared, |stack| shared.unlisten(stack, service)).is_none() {
            shared.put_off(Later::Listener(service));
        }
    }
}

fn listen_error(error: ListenError) -> io::Error {
    let kind = match error {
        ListenError::InUse(_) => io::ErrorKind::AddrInUse,
        ListenError::PortZero => io::ErrorKind::InvalidInput,
        ListenError::Full => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
