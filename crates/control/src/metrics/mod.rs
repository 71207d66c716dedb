//! What a server tells of itself over HTTP: counters for Prometheus, and a page that shows them live.
//!
//! Both are texts that a thread makes of a [`Snapshot`] once a second; the server's cores only send them.

mod exposition;
mod help;
mod live;

pub use exposition::text;
pub use help::Help;
pub use live::{PAGE, json};

/// The media type of [`text`]'s form.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[cfg(doc)]
use crate::snapshot::Snapshot;
