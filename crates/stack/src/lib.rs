//! One core's whole host: interfaces, neighbours, routes, UDP and TCP.
//!
//! A [`Stack`] is everything between the frames of a core's queues and the application on that core. It owns
//! its connections, shares nothing with another core, and knows neither sockets, threads nor a clock: frames
//! and the time come in, frames come out.
//!
//! ```text
//!            frames                               frames
//!              │ input(now, iface, burst)            ▲ tx_burst(iface, burst)
//!  ┌───────────▼─────────────────────────────────────┴──────────┐
//!  │ net    interfaces, ARP, NDP, routes, ICMP, fragments       │
//!  │─────────────────────────────────────────────────────────── │
//!  │ udp    sockets            tcp   flow table, connections,   │
//!  │        datagrams                SYN-RECEIVED, TIME-WAIT    │
//!  └───────────┬─────────────────────────────────────▲──────────┘
//!              ▼ dispatch(now, application)          │ write, close, connect
//!            events                                actions
//! ```
//!
//! The order of calls within one turn of a core is `input`, [`Stack::expire`], [`Stack::dispatch`],
//! [`Stack::output`], `tx_burst`. Nothing on that way allocates: every table is laid out in the arena when the
//! stack is built, and every table has a bound, a counter, and a policy at the bound.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod application;
pub mod config;
pub mod net;
pub mod rows;
pub mod stack;
pub mod steer;
pub mod tcp;
pub mod udp;

pub use application::{Application, CloseReason, CounterVisit, Ended};
pub use config::{ConfigError, StackConfig};
pub use stack::{Stack, StackCounters};
pub use tcp::{
    AcceptLimits, ConfigureError, Conn, ConnId, ConnectConfig, ConnectError, FastOpen, Lent, ListenConfig,
    ListenError, ListenerCounters, ListenerId, ListenerReport, Overflow, SynCookies,
};
