//! What can go wrong when interfaces are opened, and what to do about it.

use std::io;

use thiserror::Error;

use crate::config::{ConfigError, SocketName};

/// Why interfaces could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A server cannot listen.
    #[error(
        "cannot listen for memif clients at {socket} (if another process serves there, be its client with role=client; \
         if the folder is missing or closed, choose another path)"
    )]
    Listen {
        /// Where.
        socket: SocketName,
        /// What the system said.
        source: io::Error,
    },
    /// No descriptors, memory or threads.
    #[error("cannot set up a memif: {0}")]
    System(io::Error),
}
