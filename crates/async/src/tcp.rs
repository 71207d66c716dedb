//! TCP to await: listeners, streams, and their halves.
//!
//! **Cancellation.** Reading, writing, accepting and waiting take effect in the poll that returns, and in no other: a future
//! that is dropped before has read nothing, written nothing and accepted nobody, so `select` and [`timeout`](crate::timeout())
//! lose no byte. A composed operation (`read_exact`, `write_all`) that is dropped half-way has done the first half.
//! [`TcpStream::connect`] takes the connection back.
//!
//! **Flow control.** What is not read closes the peer's window; a write takes what there is room for and waits when there
//! is none, in this connection's queue or in the host's pool of buffers.
//!
//! **Waiting.** One task may wait to read and one to write; a second one takes the first one's place.

mod io;
mod listener;
mod stream;

pub use listener::TcpListener;
pub use stream::{ReadHalf, TcpStream, WriteHalf};
