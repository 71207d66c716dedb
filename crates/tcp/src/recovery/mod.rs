//! Loss recovery: what is lost, when that is known, and what to send again.
//!
//! | file | idea |
//! |---|---|
//! | [`new_reno`] | from acknowledgment numbers alone: a connection without a flight, or a peer without SACK |
//! | [`flight`] | the side record of a connection with more than one segment in flight |
//! | [`scoreboard`] | what was sent when, and what became of it |

mod flight;
mod new_reno;
mod scoreboard;

pub use flight::Flight;
pub(crate) use new_reno::{Duplicate, Progress, Recovery};
