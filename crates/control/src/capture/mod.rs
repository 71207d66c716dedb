//! Frames of a running server as `freeway pcap` writes them: copied on the cores, put in order and written here.
//!
//! ```text
//!   core 0: filter ─► ring ─┐
//!   core 1: filter ─► ring ─┴─► by time ─► pcapng ─► admin socket ─► the client's file or pipe
//! ```

mod pcapng;
mod tell;

use serde::{Deserialize, Serialize};

pub(crate) use tell::tell;

/// Which frames, and how much of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// An expression of `freeway_filter`; empty for every frame.
    pub filter: String,
    /// Bytes of each frame at most; 0 for all of them.
    pub snap_len: u32,
    /// Frames after which it ends; 0 for no bound.
    pub count: u64,
    /// Milliseconds after which it ends; 0 for no bound.
    pub millis: u64,
    /// Frames that may wait on each core; 0 for 4,096.
    pub slots: u32,
}

/// What the client learns before the first byte of the capture.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Begun {
    /// The interfaces, one for each core that has one.
    pub interfaces: Vec<String>,
    /// Bytes of each frame at most.
    pub snap_len: u32,
}
