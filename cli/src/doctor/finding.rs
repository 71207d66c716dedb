//! What a check says.

use std::fmt;

use serde_json::{Value, json};

/// How things stand, from well to bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum State {
    /// As it should be.
    Good,
    /// Worth knowing; it may matter or not.
    Note,
    /// The machine does not say.
    Unknown,
    /// It works, at a price.
    Slow,
    /// Something does not work.
    Missing,
}

impl State {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 5] = [Self::Good, Self::Note, Self::Unknown, Self::Slow, Self::Missing];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Unknown => "unknown",
            Self::Slow => "slow",
            Self::Missing => "missing",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Finding {
    /// What it belongs to: `memory`, or an interface.
    pub(crate) group: String,
    /// What was looked at.
    pub(crate) name: &'static str,
    pub(crate) state: State,
    /// How it is.
    pub(crate) says: String,
    /// What that costs.
    pub(crate) costs: Option<String>,
    /// The command that mends it.
    pub(crate) mend: Option<String>,
}

impl Finding {
    fn new(group: &str, name: &'static str, state: State, says: impl Into<String>) -> Self {
        Self { group: group.to_owned(), name, state, says: says.into(), costs: None, mend: None }
    }

    pub(crate) fn good(group: &str, name: &'static str, says: impl Into<String>) -> Self {
        Self::new(group, name, State::Good, says)
    }

    pub(crate) fn note(group: &str, name: &'static str, says: impl Into<String>) -> Self {
        Self::new(group, name, State::Note, says)
    }

    pub(crate) fn unknown(group: &str, name: &'static str, says: impl Into<String>) -> Self {
        Self::new(group, name, State::Unknown, says)
    }

    pub(crate) fn slow(
        group: &str,
        name: &'static str,
        says: impl Into<String>,
        costs: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self::new(group, name, State::Slow, says).costs(costs).mend(mend)
    }

    pub(crate) fn missing(
        group: &str,
        name: &'static str,
        says: impl Into<String>,
        costs: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self::new(group, name, State::Missing, says).costs(costs).mend(mend)
    }

    pub(crate) fn costs(mut self, costs: impl Into<String>) -> Self {
        self.costs = Some(costs.into());
        self
    }

    pub(crate) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = Some(mend.into());
        self
    }

    pub(crate) fn json(&self) -> Value {
        let Self { group, name, state, says, costs, mend } = self;
        json!({
            "group": group, "name": name, "state": state.to_string(),
            "says": says, "costs": costs, "mend": mend,
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<8} {:<18} {}", self.state, self.name, self.says)?;
        let below = |f: &mut fmt::Formatter<'_>, what: &str, text: &Option<String>| match text {
            Some(text) => writeln!(f, "{:11}{what:<18} {text}", ""),
            None => Ok(()),
        };
        below(f, "  costs", &self.costs)?;
        below(f, "  mend", &self.mend)
    }
}
