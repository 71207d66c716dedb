//! Bounds that ordinary use fills: one file for each that an attack does not show (those are in `abuse`).
//!
//! ```text
//!   honest client ──── 198.18.0.0/24 ──── server ──── 198.18.1.0/24 ──── crowd
//! ```
//!
//! The server echoes, and has two more services: one that answers and closes first, and one that never reads. The crowd is a
//! host like any other that asks for more than there is room for. Each file drives one bound of
//! [docs/overload.md](../../../../docs/overload.md) and shows: the table within its bound, the counter that tells of it, the
//! honest client served throughout, and everything as before when the crowd is gone.

mod crowd;
mod full_port;
mod mailbox;
mod time_wait;
mod unread;
mod world;
