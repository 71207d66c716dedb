//! memcached as a model, and tables of what it answers.
//!
//! ```text
//!   tables/*.txt ──► Table ──► run ──► anything that speaks memcached:
//!                                        the model here, Debian's memcached, Freeway's cache over a device
//! ```
//!
//! The [`Model`] is a map and a clock, driven by the codec of `apps/memcache`. It is what the codec is tested with,
//! and what a real store can be held against. The tables say byte for byte what goes in and what comes out, for every
//! command and every error; they name memcached 1.6.45's answers, and mark where an older one differs.

#![forbid(unsafe_code)]

mod binary;
mod binary_line;
mod item;
mod meta;
mod model;
mod run;
mod session;
mod table;
mod tcp;
mod text;

pub use item::Item;
pub use model::{Model, StoreRules, Stored};
pub use run::{ModelWire, Wire, run};
pub use session::Session;
pub use table::{Case, Line, Table};
pub use tcp::TcpWire;
