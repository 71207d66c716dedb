//! Sockets as `freeway ss` shows them: which are wanted, and what is said of each.
//!
//! Cores show the tables that may hold what is wanted, a slice a turn; the filter runs on the thread that serves the
//! asking client.

mod filter;
mod row;
mod states;
mod tell;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use filter::{Filter, FilterError};
pub use row::{Details, Netid, Socket};
pub use states::States;
pub(crate) use tell::tell;

/// Which sockets, and how much of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// A filter as ss writes them; empty for no other bound than those below.
    pub filter: String,
    /// The states that are shown if the filter names none: [`States`] as a number.
    pub states: u16,
    /// TCP's.
    pub tcp: bool,
    /// UDP's.
    pub udp: bool,
    /// Those of IPv4.
    pub ipv4: bool,
    /// Those of IPv6.
    pub ipv6: bool,
    /// With all that TCP knows of each.
    pub details: bool,
    /// Only how many there are.
    pub summary: bool,
}

/// How many sockets there were.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Sockets that the filter took.
    pub sockets: u64,
    /// The same by state, TCP's.
    pub tcp: BTreeMap<String, u64>,
    /// UDP's.
    pub udp: u64,
}
