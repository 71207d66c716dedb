//! What an interface is to be, and what is wrong with it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::link::Layout;

/// The most queues of an interface: rings are counted in a byte by other implementations.
pub const QUEUES_MAX: usize = 255;
/// The most slots of a ring, as a binary logarithm.
pub const RING_LOG2_MAX: u8 = 14;
/// The fewest.
const RING_LOG2_MIN: u8 = 3;
/// The longest secret, in bytes: a zero follows it.
const SECRET_MAX: usize = 23;
/// The longest path or abstract name, in bytes: a zero precedes or follows it.
const SOCKET_MAX: usize = 107;

/// Which end of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Listens on the socket, and maps the memory that clients bring ("master").
    Server,
    /// Connects to the socket, and brings the memory: regions and rings ("slave").
    Client,
}

/// How far the other process is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// It may lie about everything. What it says is checked, its memory must be sealed against shrinking, and every
    /// frame is copied out of the shared memory before anybody looks at it.
    #[default]
    None,
    /// As far as a card with access to memory: it does not shorten its files, and does not change frames that it has
    /// given away. Then a client lends it the packet pool itself (a pool that is
    /// [shared](freeway_mem::PoolConfig::shared)), and no frame is copied on the client's side. What it says is
    /// checked all the same.
    Full,
}

/// Where the socket is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SocketName {
    /// A path. A server removes a socket that nobody listens on, and its own when it ends.
    Path(PathBuf),
    /// A name of Linux's abstract namespace, which needs no file: whoever shares the network namespace may connect.
    Abstract(String),
}

impl FromStr for SocketName {
    type Err = ConfigError;

    /// `@NAME` is abstract, all else a path.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let name = match text.strip_prefix('@') {
            Some(name) => Self::Abstract(name.to_owned()),
            None => Self::Path(text.into()),
        };
        name.check()?;
        Ok(name)
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

impl SocketName {
    fn check(&self) -> Result<(), ConfigError> {
        let bytes = match self {
            Self::Path(path) => path.as_os_str().as_encoded_bytes(),
            Self::Abstract(name) => name.as_bytes(),
        };
        if bytes.is_empty() || bytes.len() > SOCKET_MAX || bytes.contains(&0) {
            return Err(ConfigError::Socket(self.to_string()));
        }
        Ok(())
    }
}

/// One interface.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the interface is called here; the peer sees the first 31 bytes. Default `memif`.
    pub name: String,
    /// Where the socket is. Default `/run/freeway/memif.sock`.
    pub socket: SocketName,
    /// Which end this is. Default server.
    pub role: Role,
    /// The interface's number on that socket; each has one client. Default 0.
    pub id: u32,
    /// What a client must say to be let in, at most 23 bytes; empty for nothing. Default empty. It is compared in
    /// constant time, and is as secret as the socket: everyone who may trace either process reads it.
    pub secret: String,
    /// How far the peer is believed. Default not at all.
    pub trust: Trust,
    /// How many queues, one for each core, 1 to 255. Default 1. A peer that has fewer leaves the others idle.
    pub queues: usize,
    /// The slots of a ring, as a binary logarithm, 3 to 14. Default 10: 1,024 slots. A client's rings have so many, or
    /// as few as the server allows; a server allows so many. A ring costs 16 bytes a slot, and in a client that copies
    /// a buffer more.
    pub ring_log2: u8,
    /// The size of a copying client's buffers in bytes, a power of two from 64 to 65,536. Default 2,048; memory is
    /// twice this for each slot and queue. Longer frames go in several buffers.
    pub buffer_size: u32,
    /// The longest IP packet, in bytes. Default 1,500.
    pub mtu: u16,
    /// How much memory a client may bring, in bytes. Default 16 GiB. It is address space, not memory.
    pub region_bytes_max: u64,
    /// How long a handshake may take, and how long a client waits before it tries again. Default 1 s and 100 ms.
    pub patience: Patience,
}

/// How long to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// For a handshake, from its first word to its last. Default 1 s.
    pub handshake: Duration,
    /// Before a client connects again after it failed or lost its server. Default 100 ms.
    pub reconnect: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(1), reconnect: Duration::from_millis(100) }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "memif".into(),
            socket: SocketName::Path("/run/freeway/memif.sock".into()),
            role: Role::Server,
            id: 0,
            secret: String::new(),
            trust: Trust::None,
            queues: 1,
            ring_log2: 10,
            buffer_size: 2_048,
            mtu: 1_500,
            region_bytes_max: 16 << 30,
            patience: Patience::default(),
        }
    }
}

impl Config {
    /// Whether the values make sense.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.socket.check()?;
        if !(1..=QUEUES_MAX).contains(&self.queues) {
            return Err(ConfigError::Queues(self.queues));
        }
        if !(RING_LOG2_MIN..=RING_LOG2_MAX).contains(&self.ring_log2) {
            return Err(ConfigError::Ring(self.ring_log2));
        }
        if !self.buffer_size.is_power_of_two() || !(64..=65_536).contains(&self.buffer_size) {
            return Err(ConfigError::Buffer(self.buffer_size));
        }
        if self.secret.len() > SECRET_MAX || self.secret.contains('\0') {
            return Err(ConfigError::Secret);
        }
        if self.role == Role::Client
            && Layout::new(self.queues, self.ring_log2, self.buffer_size, |_| true).is_none()
        {
            return Err(ConfigError::TooLarge);
        }
        Ok(())
    }
}

/// What is wrong with a [`Config`].
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ConfigError {
    /// The socket's name.
    #[error("'{0}' cannot name a socket: 1 to 107 bytes, none of them zero")]
    Socket(String),
    /// The number of queues.
    #[error("a memif has 1 to 255 queues, not {0}")]
    Queues(usize),
    /// The size of the rings.
    #[error("a memif ring has 2^3 to 2^14 slots, not 2^{0}")]
    Ring(u8),
    /// The size of the buffers.
    #[error("a memif buffer has a power of two between 64 and 65536 bytes, not {0}")]
    Buffer(u32),
    /// The secret.
    #[error("a memif secret has at most 23 bytes, none of them zero")]
    Secret,
    /// All rings and buffers together.
    #[error("memif rings and buffers must not take more than 4 GiB: fewer queues, slots, or smaller buffers")]
    TooLarge,
    /// Two servers of the same number on one socket.
    #[error("two memif servers on {socket} have the id {id}: give one of them another")]
    SameId {
        /// The socket.
        socket: SocketName,
        /// The number.
        id: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_make_no_sense_are_refused() {
        let default = Config::default;
        assert_eq!(default().check(), Ok(()));
        for queues in [0, 256] {
            assert_eq!(Config { queues, ..default() }.check(), Err(ConfigError::Queues(queues)));
        }
        for ring_log2 in [2, 15] {
            assert_eq!(Config { ring_log2, ..default() }.check(), Err(ConfigError::Ring(ring_log2)));
        }
        for buffer_size in [0, 63, 100, 131_072] {
            assert_eq!(Config { buffer_size, ..default() }.check(), Err(ConfigError::Buffer(buffer_size)));
        }
        assert_eq!(Config { secret: "x".repeat(24), ..default() }.check(), Err(ConfigError::Secret));
        let huge =
            Config { role: Role::Client, queues: 255, ring_log2: 14, buffer_size: 65_536, ..default() };
        assert_eq!(huge.check(), Err(ConfigError::TooLarge));
    }

    #[test]
    fn sockets_are_paths_or_abstract() {
        assert_eq!("@fw".parse(), Ok(SocketName::Abstract("fw".into())));
        assert_eq!("/run/fw".parse(), Ok(SocketName::Path("/run/fw".into())));
        for bad in ["", "@", &"x".repeat(108)] {
            assert!(bad.parse::<SocketName>().is_err(), "{bad}");
        }
    }
}
