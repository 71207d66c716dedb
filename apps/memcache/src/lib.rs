//! memcached's protocols as bytes, without I/O: classic text, meta, binary, and the frames of UDP.
//!
//! ```text
//!   bytes of a connection ──► Decoder::next ──► Step ──► the server and its store
//!                                                             │
//!   bytes of the answer  ◄── text::reply, meta::reply, binary::reply ◄┘
//! ```
//!
//! A [`Decoder`] is 8 bytes that say what the next byte of a connection belongs to. Given whatever has arrived it
//! says one [`Step`]: a command that borrows from those bytes, a part of a value, an error to answer with, or that
//! it needs more. Bytes that it asks more for stay where they are, at the caller's, so a connection in the middle
//! of a line owns no buffer here; a line has a bound ([`Limits::line_max`]) and only a multi-get may be longer, for
//! it is answered in parts. However the bytes are split, the steps are the same but for where values are cut.
//!
//! Answers are written into a [`Sink`], the head of a value apart from its bytes, so that a server can lend these.
//! Nothing here allocates, and nothing panics on what a peer sends.
//!
//! The reference is memcached 1.6.45: `doc/protocol.txt`, and what its server answers where that says nothing.
//! Differences, all of them in what no client in use sends: names of commands and of their options cannot be
//! abbreviated; a number ends at its token's end; what remains of an unknown binary request is skipped exactly.

#![forbid(unsafe_code)]

pub mod auth;
pub mod binary;
mod decoder;
mod error;
pub mod meta;
mod number;
mod sink;
pub mod text;
mod token;
pub mod udp;

pub use decoder::{Decoder, Limits, Protocol, Step};
pub use error::{Refusal, Refused};
pub use number::stored as stored_number;
pub use sink::Sink;

/// Bytes of a key at most; a binary key given in base64 counts as it is written.
pub const KEY_MAX: usize = 250;

/// What `version` answers: clients and tools look for the protocol's generation here.
pub const VERSION: &str = "1.6.45-freeway";
