//! Bulk transfers that Freeway and Linux serve alike, so that one can be held against the other.
//!
//! A client (always Linux) connects, says in a [`Request`] who sends how much, and the bytes flow one way. Both ends know
//! the bytes by their seed, so both ends prove them by SHA-256.
//!
//! - [`request`]: what goes over the wire;
//! - [`client`]: Linux asks;
//! - [`linux`]: Linux answers;
//! - [`freeway`]: Freeway answers, in this process, on a TAP device of a namespace;
//! - [`road`]: either of them behind the same impaired path.

pub mod client;
pub mod freeway;
pub mod linux;
pub mod request;
pub mod road;

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, bail};

pub use request::{Request, Sender};

/// Congestion control that both stacks know. Each is served on a port of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Congestion {
    /// RFC 9438.
    Cubic,
    /// RFC 5681 and RFC 6582.
    NewReno,
}

impl Congestion {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cubic, Self::NewReno];

    /// The port it is served on.
    pub const fn port(self) -> u16 {
        match self {
            Self::Cubic => 5_001,
            Self::NewReno => 5_002,
        }
    }

    /// Linux's name for it.
    pub const fn linux(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::NewReno => "reno",
        }
    }

    /// Freeway's.
    pub const fn freeway(self) -> ::freeway::tcp::congestion::Algorithm {
        match self {
            Self::Cubic => ::freeway::tcp::congestion::Algorithm::Cubic,
            Self::NewReno => ::freeway::tcp::congestion::Algorithm::NewReno,
        }
    }
}

impl fmt::Display for Congestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.linux())
    }
}

impl FromStr for Congestion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match Self::ALL.into_iter().find(|known| known.linux() == text) {
            Some(known) => Ok(known),
            None => bail!("`{text}` is neither cubic nor reno"),
        }
    }
}
