//! Loss recovery: what is lost, when that is known, and what to send again.
//!
//! A connection with one segment in flight, one whose peer knows no SACK, and one that found no flight free recovers by
//! acknowledgment numbers alone. Every other has a [`Flight`], and each acknowledgment runs through `selective`:
//!
//! ```text
//!   acknowledgment ─► blocks: which SACK blocks to believe
//!                  ─► scoreboard: what has arrived, when it was sent ─► rack: what is lost by now
//!                  ─► undo: was a recovery a mistake?                   │
//!                  ─► probe: did the tail arrive?                       ▼
//!                                                 prr: how much may be sent while it is repaired
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `new_reno` | losses by acknowledgment numbers alone (RFC 6582, RFC 3042) |
//! | `flight` | the side record of a connection with more than one segment in flight |
//! | `scoreboard` | what was sent when, and what became of it (RFC 2018, RFC 6675) |
//! | `blocks` | which SACK blocks to believe (RFC 2018, RFC 2883) |
//! | `rack` | what is lost, told by time (RFC 8985) |
//! | `probe` | a probe when the tail of a flight is silent (RFC 8985, section 7) |
//! | `prr` | how much may be sent in fast recovery (RFC 6937) |
//! | `undo` | was it a mistake? (RFC 5682, RFC 3522, RFC 3708) |
//! | `selective`, `timeout` | the order in which all that happens, on an acknowledgment and on a deadline |

mod blocks;
mod flight;
mod new_reno;
mod probe;
mod prr;
mod rack;
mod scoreboard;
mod selective;
mod timeout;
mod undo;

pub use flight::{Fit, Flight, FlightOf, NarrowFlight, WideFlight};
pub(crate) use new_reno::{Duplicate, Phase, Progress, Recovery};
