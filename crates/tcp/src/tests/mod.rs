//! Scenarios, named after state and event: what RFC 9293 and its neighbours ask of one connection.
//!
//! `single` holds one connection against hand-made segments; `world` connects two over a wire that loses,
//! reorders and duplicates. Numbers only: the payload is implied by its sequence numbers.

#![allow(clippy::unwrap_used)]

use crate::{Arrival, Context, Flight, Held, Outcome, Tcb};

mod single;
mod world;

mod acknowledging;
mod blind;
mod closing;
mod cookies;
mod ecn;
mod fast_open;
mod goodput;
mod idle;
mod loss;
mod opening;
mod paced;
mod path;
mod resets;
mod selective;
mod settings;
mod storm;
mod timestamps;
mod transfer;
mod windows;

impl Tcb {
    /// [`on_segment`](Tcb::on_segment), with the outcome as a value.
    fn take_segment(
        &mut self,
        cx: &Context<'_>,
        arrival: &Arrival<'_>,
        held: &Held,
        flight: Option<&mut Flight>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        self.on_segment(cx, arrival, held, flight, &mut outcome);
        outcome
    }
}
