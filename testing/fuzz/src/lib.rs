//! What the fuzzers call, and the replay of what they found.
//!
//! A fuzz target is a function here, so that a plain `cargo test` on the stable toolchain calls it too, with the
//! corpus and with mutations of it. The coverage-guided fuzzer is a thin wrapper in `targets/`, a package of its own
//! that needs a nightly toolchain:
//!
//! ```text
//! targets/fuzz_targets/tcp.rs ──► freeway_fuzz::targets::tcp ◄── tests/replay.rs
//!          │                                                        │
//!          └── finds ──► corpus/tcp/* ────── read by ───────────────┘
//! ```
//!
//! A target panics when something is wrong, and only then.

#![forbid(unsafe_code)]

mod conversation;
pub mod corpus;
mod host;
pub mod mutate;
mod script;
pub mod targets;
