//! The meta protocol: what is asked ([`Command`]), and what is answered ([`reply`]).
//!
//! A request is a key and flags of one letter each, some with a number or text behind it. What the answer repeats or
//! tells, it tells in the order of the request's flags ([`Returns`]).

mod command;
mod flags;
mod key;
pub mod reply;

pub use command::{Arithmetic, Command, Delete, Get, Set, SetMode};
pub use flags::{OPAQUE_MAX, Return, Returns};
pub use key::{KeyBuffer, MetaKey};

pub(crate) use command::parse;
