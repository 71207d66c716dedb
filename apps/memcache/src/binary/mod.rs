//! The binary protocol: what is asked ([`Command`]), and what is answered ([`reply`]).
//!
//! memcached calls it deprecated; clients in use speak it.

mod command;
mod header;
pub mod reply;

pub use command::{Command, Request, Store};
pub use header::{HEADER_LEN, Head, MAGIC_REQUEST, MAGIC_RESPONSE, Status};

pub(crate) use command::{Found, parse};
