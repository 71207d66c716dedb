//! The per-core loop: poll, pin, idle, hand over between cores.
//!
//! A [`Core`] is one core's whole share of the data plane: a stack, an application, ports. It shares nothing
//! with other cores but rings of frames. [`Core::poll`] is one turn of it, and fits one screen:
//!
//! ```text
//!            ┌────────────────────────── Core::poll(now) ───────────────────────────┐
//!  ports ───►│ rx_burst ─► own? ─► stack.input ─► stack.expire ─► stack.dispatch ─┐ │
//!            │              │           ▲                          (application)  │ │
//!            │       no     ▼           │                                         ▼ │
//!  ports ◄───│         other cores'   this core's     tx_burst ◄──── stack.output   │
//!            │          mailboxes      mailboxes                                    │
//!            └──────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! [`Runtime`] runs a core on each of several pinned threads, puts them to sleep when there is nothing to do
//! ([`Idle`]), and shows their counters ([`CoreStats`]) without ever making them wait. A simulation needs none
//! of that: it calls `poll` itself, with a time of its own.
//!
//! | file | idea |
//! |---|---|
//! | `core` | the turn, and what one core owns |
//! | `link` | one interface of one core: bursts in, bursts out, leftovers |
//! | `mailbox` | frames that belong to another core |
//! | `post` | what an application writes to itself on other cores |
//! | `remote` | serving a device without a queue of it |
//! | `bell` | waking a core that sleeps, without a lost wake-up |
//! | `sleep`, `idle` | when and how a core rests |
//! | `runtime`, `start`, `running`, `stop` | threads: start all or none, end together |
//! | `look`, `observer` | what a core shows to whoever asks: sockets and frames, in rings that the asker brings |
//! | `affinity`, `clock` | where a thread runs, and what time it is |
//! | `stage`, `stats`, `board` | cycles and counters, and how a reader gets them |

#![forbid(unsafe_code)]

mod affinity;
mod bell;
mod board;
mod clock;
mod core;
mod idle;
mod link;
mod look;
mod mailbox;
mod observer;
mod post;
mod remote;
mod running;
mod runtime;
mod sleep;
mod stage;
mod start;
mod stats;
mod stop;
#[cfg(test)]
mod testing;

pub use crate::affinity::{allowed as allowed_cpus, pin};
pub use crate::bell::Bell;
pub use crate::clock::{Clock, Monotonic};
pub use crate::core::{Attachment, Core, Turn};
pub use crate::idle::{Idle, ParseIdleError};
pub use crate::mailbox::{MailConfig, Mailboxes, mesh};
pub use crate::observer::{Captured, Frames, LinkInfo, LookError, Observer, Rows};
pub use crate::post::{Letters, Post, PostConfig, PostCounters};
pub use crate::remote::{Relay, RemotePort, remote};
pub use crate::running::{CorePanic, Running, StatsReader};
pub use crate::runtime::{BuildError, Runtime, RuntimeConfig, Seat, StartError};
pub use crate::sleep::Woke;
pub use crate::stage::{Bursts, Stage, Stages};
pub use crate::stats::{CoreStats, Group, IdleCounters, MailCounters, TurnCounters, WakeCounters};
pub use crate::stop::StopHandle;
