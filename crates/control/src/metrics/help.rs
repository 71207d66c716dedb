//! What each counter means, by the words of its declaration.

use freeway_port::PortCounters;
use freeway_runtime::{IdleCounters, MailCounters, TurnCounters, WakeCounters};
use freeway_stack::net::NetCounters;
use freeway_stack::tcp::TcpCounters;
use freeway_stack::udp::UdpCounters;

/// Names and meanings of one group's counters.
type Words = &'static [(&'static str, &'static str)];

/// What the counters of all groups mean.
#[derive(Clone, Debug)]
pub struct Help {
    groups: Vec<(&'static str, Words)>,
}

impl Default for Help {
    fn default() -> Self {
        Self {
            groups: vec![
                ("turns", TurnCounters::HELP),
                ("idle", IdleCounters::HELP),
                ("wake", WakeCounters::HELP),
                ("mail", MailCounters::HELP),
                ("net", NetCounters::HELP),
                ("udp", UdpCounters::HELP),
                ("tcp", TcpCounters::HELP),
                ("port", PortCounters::HELP),
            ],
        }
    }
}

impl Help {
    /// Adds a group that an application counts.
    #[must_use]
    pub fn with(mut self, group: &'static str, words: Words) -> Self {
        self.groups.push((group, words));
        self
    }

    /// The meaning of a counter; what is known of it by its name, where its declaration is not.
    pub fn of(&self, group: &str, name: &str) -> String {
        let words = self.groups.iter().find(|(known, _)| *known == group).map(|(_, words)| *words);
        let found = words.and_then(|words| words.iter().find(|(known, _)| *known == name));
        match found {
            Some((_, meaning)) => meaning.trim().to_owned(),
            None => format!("{} of {group}.", name.replace('_', " ")),
        }
    }
}
