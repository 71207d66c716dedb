//! UDP to await.
//!
//! A datagram stays in the buffer it came in until it is read, and a socket holds no more of them than
//! [`socket_queue`](crate::ExecutorConfig::socket_queue): who reads too slowly loses the newest, which is counted.
//! Receiving takes effect in the poll that returns; a future that is dropped before has taken nothing.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::{Context, Poll};

use freeway::{BindError, Datagram, UdpId};

use crate::current::{current, with_stack};
use crate::executor::{Later, Shared};
use crate::handle::not_here;

/// A bound UDP socket. Dropping it gives its port back.
pub struct UdpSocket {
    shared: Rc<Shared>,
    service: u16,
    id: UdpId,
}

impl UdpSocket {
    /// Binds a port of one of the host's addresses, or of all of them.
    ///
    /// # Errors
    ///
    /// Port 0, a port that is taken, or more sockets than [`max_sockets`](crate::ExecutorConfig::max_sockets); or no
    /// executor here.
    pub fn bind(addr: Option<IpAddr>, port: u16) -> io::Result<Self> {
        let shared = current().ok_or_else(not_here)?;
        let full = || io::Error::other("all sockets are in use: raise max_sockets");
        let service = shared.sockets.borrow_mut().add().ok_or_else(full)?;
        match with_stack(&shared, |stack| stack.udp_bind(addr, port, service)) {
            Some(Ok(id)) => {
                if let Some(bound) = shared.sockets.borrow_mut().get_mut(service) {
                    bound.id = Some(id);
                }
                Ok(Self { shared, service, id })
            }
            failed => {
                drop(shared.sockets.borrow_mut().remove(service));
                Err(failed.and_then(Result::err).map_or_else(not_here, bind_error))
            }
        }
    }

    /// Waits for the next datagram, in the buffer it came in.
    ///
    /// # Errors
    ///
    /// The caller is no task of this socket's executor.
    pub async fn receive(&self) -> io::Result<Datagram> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// The same to be polled.
    ///
    /// # Errors
    ///
    /// See [`receive`](Self::receive).
    pub fn poll_receive(&self, cx: &Context<'_>) -> Poll<io::Result<Datagram>> {
        let mut sockets = self.shared.sockets.borrow_mut();
        let Some(bound) = sockets.get_mut(self.service) else { return Poll::Ready(Err(not_here())) };
        match bound.pop() {
            Some(datagram) => Poll::Ready(Ok(datagram)),
            None => {
                bound.wait(cx.waker());
                Poll::Pending
            }
        }
    }

    /// Waits for the next datagram and copies it: how long it was, and who sent it. What does not fit into `into` is lost,
    /// as from any socket.
    ///
    /// # Errors
    ///
    /// The caller is no task of this socket's executor.
    pub async fn recv_from(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let datagram = self.receive().await?;
        let bytes = datagram.packet.data();
        let count = bytes.len().min(into.len());
        if let (Some(into), Some(bytes)) = (into.get_mut(..count), bytes.get(..count)) {
            into.copy_from_slice(bytes);
        }
        Ok((count, datagram.remote()))
    }

    /// Sends a copy of `bytes`, from the address that the route suggests. It goes out at the end of the turn, or is dropped and
    /// counted by the stack: UDP waits for nobody.
    ///
    /// # Errors
    ///
    /// More bytes than a packet buffer holds, no buffer free, or not this socket's executor.
    pub fn send_to(&self, bytes: &[u8], remote: SocketAddr) -> io::Result<()> {
        with_stack(&self.shared, |stack| {
            let mut packet = stack.pool().alloc().ok_or(io::ErrorKind::OutOfMemory)?;
            if !packet.copy_from_slice(bytes) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the datagram is longer than a packet buffer",
                ));
            }
            stack.udp_send(self.id, None, remote, packet);
            Ok(())
        })
        .unwrap_or_else(|| Err(not_here()))
    }

    /// Sends a datagram's buffer, its payload changed or not, back to where it came from, from the address it was sent to.
    ///
    /// # Errors
    ///
    /// Not this socket's executor.
    pub fn reply(&self, datagram: Datagram) -> io::Result<()> {
        let Datagram { reply_to, packet, .. } = datagram;
        with_stack(&self.shared, |stack| stack.udp_reply(reply_to, packet)).ok_or_else(not_here)
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        let (shared, service) = (&self.shared, self.service);
        if with_stack(shared, |stack| shared.unbind(stack, service)).is_none() {
            shared.put_off(Later::Socket(service));
        }
    }
}

fn bind_error(error: BindError) -> io::Error {
    let kind = match error {
        BindError::InUse(_) => io::ErrorKind::AddrInUse,
        BindError::NoPort => io::ErrorKind::InvalidInput,
        BindError::Full(_) => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
