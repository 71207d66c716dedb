//! One TCP connection as a pure state machine.
//!
//! This crate speaks of sequence numbers and lengths, never of bytes. It does not know packets, buffers,
//! addresses, sockets or a clock: whoever holds the payload hands in parsed headers and the time, and is told
//! what to keep, what to let go and what to send. So everything here can be tested with numbers alone.
//!
//! # The order of calls
//!
//! ```text
//!   segment ──► on_segment ──► accept: keep these bytes      ──► on_gap_filled, when reassembly closed a gap
//!                              acked:  drop these from the send queue
//!                              reply:  send this now
//!                              events: tell the application
//!   deadline ─► on_deadline ─► events
//!   application: close, abort, on_read
//!   then: poll_transmit until None, and next_deadline for the timer
//!
//!   before poll_transmit: wants_flight ──► NarrowFlight::begin;  after a segment or a deadline: needs_flight, else drop it
//! ```
//!
//! # The map
//!
//! | file | idea |
//! |---|---|
//! | [`config`] | every setting, and the context of a call |
//! | `segment`, `outcome` | what goes in, what comes out |
//! | [`state`], `tcb` | the states; the connection's layout in memory |
//! | `arrival` | a segment arrives: the common case first, then the steps of the RFC in its order |
//! | `syn_sent`, `acceptable`, `ack`, `receive` | those steps |
//! | `handshake`, `negotiate` | SYN-RECEIVED without a TCB; options of a SYN |
//! | `cookie` | SYN-RECEIVED without any memory at all |
//! | `close`, `time_wait`, `reset` | the ends of a connection |
//! | `window` | the receive window, its silly-window rule, and how its buffer grows |
//! | `transmit`, `sendable` | what to send next, and whether it is worth a segment |
//! | `settings` | settings that change while the connection lives |
//! | `timers`, `clock`, `rtt` | deadlines, their unit, the retransmission time-out |
//! | `congestion`, `recovery` | how much may be in flight; what is lost, and what to send again |
//! | `ecn`, `pacing` | marks of the path; when the next segment may go |
//! | `icmp`, `path` | errors of the path; how large a segment it carries |
//! | `isn`, `info` | initial sequence numbers; figures for people |
//!
//! # Reading list
//!
//! RFC 9293 (TCP), 7323 (window scale, timestamps, PAWS), 6298 (retransmission timer), 5681 (congestion
//! control), 9438 (CUBIC), 9406 (HyStart++), 8257 (DCTCP), 3465 (byte counting), 6582 (NewReno), 3042 (limited
//! transmit), 6928 (initial window of ten), 3168 and 8311 (ECN), 5961 (blind attacks), 6528 (initial sequence
//! numbers), 1337 and 6191 (TIME-WAIT), 5927 (ICMP), 4821 (path MTU probing);
//! for loss recovery 2018 and 2883 (SACK, D-SACK), 6675 (scoreboard), 8985 (RACK-TLP), 6937 and 9937 (PRR), 5682
//! (F-RTO), 3522 and 4015 (Eifel), 3708 (D-SACK's meaning).
//!
//! # Where it differs from the letter
//!
//! - The urgent pointer is ignored: urgent data is delivered in line (RFC 6093 tells applications not to use it).
//! - The retransmission time-out's floor is 200 ms above the smoothed round trip, not 1 s (RFC 6298, 2.4).
//! - Nagle's algorithm is off by default, and has Minshall's modification: only a small segment in flight holds back
//!   another one.
//! - SACK blocks travel on acknowledgments without data, so that they take no room from full segments.
//! - A time-out keeps what SACK has reported (RFC 6675, 5.1, against RFC 2018, 8), unless the peer shows that it has
//!   thrown it away or a second time-out follows without an answer.
//! - `SND.WL2` is not kept: it can never exceed `SND.UNA`, and no older ACK gets as far as the comparison.

#![no_std]
#![forbid(unsafe_code)]

pub mod config;
pub mod congestion;
pub mod state;

mod acceptable;
mod ack;
mod arrival;
mod clock;
mod close;
mod cookie;
mod ecn;
mod handshake;
mod icmp;
mod info;
mod isn;
mod negotiate;
mod outcome;
mod pacing;
mod path;
mod receive;
mod recovery;
mod reset;
mod rtt;
mod segment;
mod sendable;
mod settings;
mod syn_sent;
mod tcb;
mod time_wait;
mod timers;
mod transmit;
mod window;

#[cfg(test)]
extern crate std;
#[cfg(test)]
mod tests;

pub use config::{Config, Context, Keepalive};
pub use cookie::{Baked, Cookies};
pub use ecn::{EcnMode, UnknownEcnMode};
pub use handshake::{SynReceived, SynTimeout, SynVerdict};
pub use icmp::IcmpError;
pub use info::{Info, Repair};
pub use isn::{isn, timestamp_offset};
pub use outcome::{Accept, DropReason, Events, Held, Outcome, Pressure, Reply};
pub use path::{PathProbing, Probe};
pub use recovery::{Fit, Flight, FlightOf, NarrowFlight, WideFlight};
pub use reset::reset_for;
pub use segment::{Arrival, Outgoing};
pub use state::State;
pub use tcb::Tcb;
pub use time_wait::{TimeWait, TimeWaitVerdict};
