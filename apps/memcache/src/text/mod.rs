//! The classic text protocol: what is asked ([`Command`]), and what is answered ([`reply`]).

mod admin;
mod command;
pub mod reply;

pub use admin::{Automove, Crawler, LruTune, Slabs, Stats, Watch};
pub use command::{Arithmetic, Command, Get, Keys, Store, Verb};

pub(crate) use command::{Failed, Line, parse};
