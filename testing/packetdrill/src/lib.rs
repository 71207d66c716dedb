//! The stack as a shared object that packetdrill drives (`--so_filename=libfreeway_packetdrill.so`).
//!
//! packetdrill runs scripts of system calls, injected packets and expected packets. Here is what it needs around
//! the stack: a host whose one cable ends in the tool, a clock that the tool moves, and Linux's socket calls on
//! top of the event interface that every application of Freeway uses.
//!
//! ```text
//!   packetdrill ──► abi ──► system ──► world ──► open, stream, datagram, close, options, poll, epoll, pipe
//!                  (C)      (lock,       │
//!                            blocking)   ▼
//!                                      host ──► Core: the stack as everywhere
//!                                        │        └──► cable: raw packets, a neighbour that always answers
//!                                        └──► clock
//! ```
//!
//! | file | idea |
//! |---|---|
//! | [`abi`] | the table of 33 words, and pointers turned into slices: all of the crate's `unsafe` |
//! | `flags` | the string of `--so_flags` |
//! | `system`, `quiet` | one lock, calls that wait, and who lets time pass |
//! | `world`, `socket` | descriptors and what they stand for; what the stack's events do to sockets |
//! | `host`, `cable`, `icmp` | the stack, its cable, and what the path says of connections |
//! | `open`, `stream`, `datagram`, `close` | system calls on sockets |
//! | `options`, `tcp_options`, `info`, `chrono` | their options, and figures |
//! | `offload` | segments put together as segmentation offload would show them, and PSH where Linux sets it |
//! | `reports` | the error queue: what became of writes |
//! | `poll`, `epoll`, `pipe` | readiness; pipes and splicing |
//! | `address`, `errno` | socket addresses as bytes; failures |
//!
//! The README beside this crate says how to run it.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod abi;
mod address;
mod cable;
mod chrono;
mod close;
mod datagram;
mod epoll;
mod errno;
mod flags;
mod host;
mod icmp;
mod info;
mod offload;
mod open;
mod options;
mod pipe;
mod poll;
mod quiet;
mod reports;
mod socket;
mod stream;
mod system;
mod tcp_options;
mod world;
