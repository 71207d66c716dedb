//! WebSocket as bytes (RFC 6455), without extensions.
//!
//! [`handshake`] answers the request that opens one, [`frame`] reads and writes frames, [`message`] holds the frames
//! that arrive to the order that section 5.4 gives them, [`utf8`] checks text as it comes.

pub mod frame;
pub mod handshake;
pub mod message;
pub mod utf8;

pub use frame::{FrameError, FrameHead, Opcode, unmask};
pub use handshake::{HandshakeError, accept_key, check};
pub use message::{Assembly, Close};
