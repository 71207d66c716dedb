//! A bridge between two interfaces that treats frames as a bad path would.
//!
//! ```text
//!                       ┌──────────────── Bridge ───────────────┐
//!    left ── Link ──►   │ drop · duplicate · corrupt · queue ·  │  ──► Link ── right
//!         ◄── Link ──   │ delay · reorder, seeded, per direction│  ◄── Link ──
//!                       └───────────────────────────────────────┘
//! ```
//!
//! The path itself is [`Impairer`], a queue that is told the time and can be tested without an interface: the same seed
//! and the same frames at the same times come out the same. [`Link`] is an interface by a packet socket, [`Bridge`]
//! moves frames between the two.

mod bridge;
mod config;
mod link;
mod queue;

pub use bridge::{Bridge, Refusals, Report, RunningBridge};
pub use config::{Both, Impairment, Rate, Span, Way};
pub use link::Link;
pub use queue::{Counts, Impairer};
