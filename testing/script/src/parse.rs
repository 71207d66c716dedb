//! From text to steps.

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use crate::segment::{Icmp, IpWords, Segment};
use crate::version::Version;
use crate::words::{Words, hex, number, split, time_span};

/// A scenario: its steps with the lines they stand on.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub(crate) version: Version,
    pub(crate) steps: Vec<(usize, Step)>,
}

/// One line of a scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A setting of the host or the peer.
    Set(String, Vec<String>),
    /// What follows is about the flow of that name.
    Flow(String),
    /// The host's next SYN counts as its first.
    Anew,
    /// The host listens.
    Listen(u16, Option<IpAddr>),
    /// It must not be able to.
    CannotListen(u16, String),
    /// The host stops listening.
    Unlisten(u16),
    /// The host opens a connection to this port of the peer, from an address of its own choice or from that one.
    Connect(u16, Option<IpAddr>),
    /// It must not be able to open one to that address.
    CannotConnect(IpAddr, String),
    /// The peer sends; `true`: together with what follows.
    Inject(Segment, bool),
    /// The peer, or somebody on the way, sends an ICMP message.
    InjectIcmp(Icmp),
    /// The peer sends a packet of that protocol with these bytes.
    InjectIp(u8, Vec<u8>, IpWords),
    /// The host must send.
    Expect(Segment),
    /// The host must send an ICMP message.
    ExpectIcmp(Icmp),
    /// The host must have nothing to send.
    Quiet,
    /// Time passes.
    Wait(Duration),
    /// The application writes that many bytes.
    Write(usize),
    /// The application reads that many bytes, which must be there and what the peer sent.
    Read(usize),
    /// The application finishes sending.
    Shutdown,
    /// The application closes.
    Close,
    /// The application aborts.
    Abort,
    /// The application must have heard this next.
    Event(String),
    /// The connection must be in this state.
    State(String),
    /// A counter must have this value.
    Count(String, u64),
    /// A table must hold so many.
    Holds(String, u32),
}

/// A line that is none.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl Scenario {
    /// The versions that a scenario is for: both, unless a line `only ipv4` or `only ipv6` says otherwise.
    pub fn versions(text: &str) -> Vec<Version> {
        let is_for = |version: &Version| {
            let others = Version::ALL.into_iter().filter(|other| other != version);
            others
                .into_iter()
                .all(|other| !text.lines().any(|line| line.trim() == format!("only {}", other.name())))
        };
        Version::ALL.into_iter().filter(is_for).collect()
    }

    /// Reads a scenario as it is over `version`.
    ///
    /// # Errors
    ///
    /// The first line that cannot be read.
    pub fn parse(text: &str, version: Version) -> Result<Self, ParseError> {
        let mut steps = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let words = split(line, version);
            let Some((verb, words)) = words.split_first() else { continue };
            // A line for one version only.
            let (verb, words) = match (verb.strip_suffix(':'), words.split_first()) {
                (Some(name), Some(_)) if Version::ALL.iter().any(|v| v.name() == name && *v != version) => {
                    continue;
                }
                (Some(name), Some((verb, words))) if name == version.name() => (verb, words),
                _ => (verb, words),
            };
            let step = step(verb, words, version).map_err(|what| ParseError { line: index + 1, what })?;
            steps.extend(step.map(|step| (index + 1, step)));
        }
        Ok(Self { version, steps })
    }
}

fn step(verb: &str, words: &[String], version: Version) -> Result<Option<Step>, String> {
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    Ok(Some(match (verb, texts.as_slice()) {
        ("only", ["ipv4" | "ipv6"]) => return Ok(None),
        ("set", [key, values @ ..]) if !values.is_empty() => {
            Step::Set((*key).to_owned(), values.iter().map(|&value| value.to_owned()).collect())
        }
        ("flow", [name]) => Step::Flow((*name).to_owned()),
        ("anew", []) => Step::Anew,
        ("listen", [port]) => Step::Listen(number(port)?, None),
        ("listen", [port, "at", address]) => Step::Listen(number(port)?, Some(version.address(address)?)),
        ("listen", [port, "fails", why]) => Step::CannotListen(number(port)?, (*why).to_owned()),
        ("unlisten", [port]) => Step::Unlisten(number(port)?),
        ("connect", [port]) => Step::Connect(number(port)?, None),
        ("connect", [port, "from", address]) => Step::Connect(number(port)?, Some(version.address(address)?)),
        ("connect", [address, "fails", why]) => {
            Step::CannotConnect(version.address(address)?, (*why).to_owned())
        }
        (">", ["icmp", ..]) => Step::InjectIcmp(Icmp::parse(&mut Words::new(&words[1..]), version)?),
        (">", ["ip", protocol, bytes, rest @ ..]) => {
            let ip = match rest {
                [] => IpWords { ident: 1, ..IpWords::default() },
                ["|", ..] => IpWords::parse(&mut Words::new(&words[4..]), version)?,
                [word, ..] => return Err(format!("'{word}' stands where '|' should")),
            };
            Step::InjectIp(number(protocol)?, hex(bytes)?, ip)
        }
        (">", _) => Step::Inject(Segment::parse(&mut Words::new(words), version)?, false),
        (">>", _) => Step::Inject(Segment::parse(&mut Words::new(words), version)?, true),
        ("<", ["icmp", ..]) => Step::ExpectIcmp(Icmp::parse(&mut Words::new(&words[1..]), version)?),
        ("<", _) => Step::Expect(Segment::parse(&mut Words::new(words), version)?),
        ("quiet", []) => Step::Quiet,
        ("wait", [time]) => Step::Wait(time_span(time)?),
        ("write", [count]) => Step::Write(number(count)?),
        ("read", [count]) => Step::Read(number(count)?),
        ("shutdown", []) => Step::Shutdown,
        ("close", []) => Step::Close,
        ("abort", []) => Step::Abort,
        ("event", words) if !words.is_empty() => Step::Event(words.join(" ")),
        ("state", [name]) => Step::State((*name).to_owned()),
        ("count", [name, value]) => Step::Count((*name).to_owned(), number(value)?),
        ("holds", [table, value]) => Step::Holds((*table).to_owned(), number(value)?),
        _ => return Err(format!("'{verb} {}' is no step", texts.join(" "))),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use freeway_wire::tcp::Flags;

    #[test]
    fn steps_are_read() {
        let text = "listen 80 # a comment\n\n> SA 1:3 ack 5 win 7 mss 9/8 sackok ts 1 2\nwait 40ms\nevent closed Finished";
        let steps = Scenario::parse(text, Version::Ipv4).unwrap().steps;
        assert_eq!(steps[0], (1, Step::Listen(80, None)));
        let expected = Segment {
            flags: Some(Flags::SYN | Flags::ACK),
            seq: Some(1),
            len: 2,
            ack: Some(5),
            window: Some(7),
            mss: Some(9),
            sack_permitted: true,
            timestamps: Some((1, 2)),
            ..Segment::default()
        };
        assert_eq!(steps[1], (3, Step::Inject(expected, false)));
        assert_eq!(steps[2], (4, Step::Wait(Duration::from_millis(40))));
        assert_eq!(steps[3], (5, Step::Event("closed Finished".into())));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for line in [
            "fly 1",
            "> X 0",
            "> A 3:1",
            "wait 4y",
            "listen 70000",
            "> A 1 ack",
            "> A 1 | fog 1",
            "> icmp fog",
            "> A 1 opts 0",
            "> A 1 | parts 8",
            "> A 1 sack",
            "> ip 99 00 ttl 3",
            "set x",
            "only ipv5",
        ] {
            let text = format!("\n{line}");
            assert_eq!(Scenario::parse(&text, Version::Ipv4).unwrap_err().line, 2, "{line}");
        }
    }

    #[test]
    fn a_line_may_be_for_one_version() {
        let text = "ipv4: wait 1s\nipv6: wait 2s\nwait 3s";
        let waits = |version| Scenario::parse(text, version).unwrap().steps;
        let wait = |line, seconds| (line, Step::Wait(Duration::from_secs(seconds)));
        assert_eq!(waits(Version::Ipv4), [wait(1, 1), wait(3, 3)]);
        assert_eq!(waits(Version::Ipv6), [wait(2, 2), wait(3, 3)]);
        assert_eq!(Scenario::versions("quiet"), Version::ALL);
        assert_eq!(Scenario::versions("# why\nonly ipv6\n"), [Version::Ipv6]);
    }
}
