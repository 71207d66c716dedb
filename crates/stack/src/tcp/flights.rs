//! Flights, narrow and wide: what TCP keeps while several segments are in flight, in two side tables of fixed size.
//!
//! Every connection that sends begins with a narrow one. Where losses leave more holes than that can tell apart, it is
//! exchanged for a wide one, as long as there are any, until the losses are repaired. A flight's number says which table it
//! lies in.

use freeway_collections::{BuildError, Slab};
use freeway_mem::{Arena, ArenaLayout};
use freeway_tcp::{Fit, Flight, NarrowFlight, WideFlight};

use super::NONE;
use crate::config::StackConfig;

/// Set in the number of a wide flight. No table is so long that this means anything else.
const IS_WIDE: u32 = 1 << 31;
const _: () = assert!(super::slot::INDEX_MAX < IS_WIDE);

/// The flights of all connections.
pub(crate) struct Flights {
    narrow: Slab<NarrowFlight>,
    wide: Slab<WideFlight>,
}

impl Flights {
    pub(crate) fn new(arena: &mut Arena, config: &StackConfig) -> Result<Self, BuildError> {
        Ok(Self {
            narrow: Slab::new(arena, "flights", config.max_flights, |_| NarrowFlight::vacant())?,
            wide: Slab::new(arena, "wide flights", config.max_wide_flights, |_| WideFlight::vacant())?,
        })
    }

    pub(crate) fn plan(layout: ArenaLayout, config: &StackConfig) -> ArenaLayout {
        let layout = Slab::<NarrowFlight>::plan(layout, config.max_flights);
        Slab::<WideFlight>::plan(layout, config.max_wide_flights)
    }

    /// The flight of that number; none for [`NONE`].
    #[inline]
    pub(crate) fn slot(&self, number: u32) -> Option<&Flight> {
        if number & IS_WIDE == 0 {
            self.narrow.slot(number).map(|flight| &**flight)
        } else {
            self.wide.slot(number ^ IS_WIDE).map(|flight| &**flight)
        }
    }

    /// The flight of that number; none for [`NONE`].
    #[inline]
    pub(crate) fn slot_mut(&mut self, number: u32) -> Option<&mut Flight> {
        if number & IS_WIDE == 0 {
            self.narrow.slot_mut(number).map(|flight| &mut **flight)
        } else {
            self.wide.slot_mut(number ^ IS_WIDE).map(|flight| &mut **flight)
        }
    }

    /// Puts a narrow flight into the table; its number, if there is room.
    pub(crate) fn insert(&mut self, flight: NarrowFlight) -> Option<u32> {
        self.narrow.insert(flight).ok()
    }

    /// Takes a flight out of its table.
    pub(crate) fn remove(&mut self, number: u32) {
        if number & IS_WIDE == 0 {
            self.narrow.remove(number);
        } else {
            self.wide.remove(number ^ IS_WIDE);
        }
    }

    /// Exchanges a flight that [does not fit](Flight::fit) for one that does, if there is one; its number from now on.
    #[cold]
    pub(crate) fn exchange(&mut self, number: u32) -> Option<u32> {
        let flight = self.slot(number)?;
        let exchanged = match flight.fit() {
            Fit::Right => return None,
            Fit::Cramped => {
                let wide = WideFlight::adopting(flight);
                self.wide.insert(wide).ok()? | IS_WIDE
            }
            Fit::Roomy => {
                let narrow = NarrowFlight::adopting(flight);
                self.narrow.insert(narrow).ok()?
            }
        };
        self.remove(number);
        Some(exchanged)
    }
}

const _: () = assert!(NONE & IS_WIDE != 0 && NONE ^ IS_WIDE > super::slot::INDEX_MAX);
