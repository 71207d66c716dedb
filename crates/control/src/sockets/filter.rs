//! Which sockets are wanted, as ss writes it: states, then tests on addresses and ports.
//!
//! ```text
//!   state established ( dst 198.18.0.0/24 or dst [2001:db8::]/32 ) and not sport = :80
//! ```
//!
//! | test | a socket whose |
//! |---|---|
//! | `state NAME`, `exclude NAME` | state is, is not this one or one of this group; several add up |
//! | `src ADDR[/LEN][:PORT]`, `dst ...` | own, peer's address is in this network, and has this port; `*` is any |
//! | `sport OP [:]PORT`, `dport ...` | own, peer's port is `=`, `!=`, `<`, `<=`, `>`, `>=` (or `eq`, `ne`, ...) this one |
//! | `core [=] N` | core is this one |
//!
//! `and` (`&`, `&&`, or nothing between two tests), `or` (`|`, `||`), `not` (`!`) and parentheses join them; `not` binds most,
//! `or` least.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use freeway_stack::rows::Row;
use thiserror::Error;

use super::states::States;

/// Tests in one filter, and parentheses in one another, at most.
const SIZE_MAX: usize = 256;

/// A filter that is not understood.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the filter: {0}")]
pub struct FilterError(String);

/// An address and how many of its leading bits count.
type Network = (IpAddr, u8);

/// Which sockets are shown, in the words of `ss`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// The states that it names, if it names any.
    pub states: Option<States>,
    test: Test,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Test {
    All,
    Place { is_peer: bool, network: Option<Network>, port: Option<u16> },
    Port { is_peer: bool, relation: Relation, port: u16 },
    Core(u32),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relation {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// Whether a socket of `core` is wanted, apart from its state.
    pub fn takes(&self, core: u32, row: &Row) -> bool {
        self.test.holds(core, row)
    }
}

impl Test {
    fn holds(&self, core: u32, row: &Row) -> bool {
        match self {
            Self::All => true,
            Self::Place { is_peer, network, port } => {
                let (addr, own) = end(row, *is_peer);
                network.is_none_or(|network| addr.is_some_and(|addr| is_in(addr, network)))
                    && port.is_none_or(|wanted| own == Some(wanted))
            }
            Self::Port { is_peer, relation, port } => {
                end(row, *is_peer).1.is_some_and(|own| match relation {
                    Relation::Equal => own == *port,
                    Relation::Unequal => own != *port,
                    Relation::Less => own < *port,
                    Relation::LessOrEqual => own <= *port,
                    Relation::Greater => own > *port,
                    Relation::GreaterOrEqual => own >= *port,
                })
            }
            Self::Core(wanted) => core == *wanted,
            Self::Not(inner) => !inner.holds(core, row),
            Self::And(left, right) => left.holds(core, row) && right.holds(core, row),
            Self::Or(left, right) => left.holds(core, row) || right.holds(core, row),
        }
    }
}

/// A socket's own end, or its peer's: neither address nor port where it has none.
fn end(row: &Row, is_peer: bool) -> (Option<IpAddr>, Option<u16>) {
    match (is_peer, row.peer) {
        (true, peer) => (peer.map(|peer| peer.ip()), peer.map(|peer| peer.port())),
        (false, _) => (row.local, Some(row.local_port)),
    }
}

fn is_in(addr: IpAddr, (network, len): Network) -> bool {
    let (a, b, width) = match (addr, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32u32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    (a ^ b).checked_shr(width - u32::from(len).min(width)).unwrap_or(0) == 0
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser { words: words(text), next: 0, states: None, size: 0 };
        parser.states()?;
        let test = if parser.peek().is_empty() { Test::All } else { parser.any()? };
        match parser.peek() {
            "" => Ok(Self { states: parser.states, test }),
            word @ ("state" | "exclude") => {
                Err(FilterError(format!("`{word}` stands before all other tests")))
            }
            word => Err(FilterError(format!("`{word}` has nothing to close"))),
        }
    }
}

/// Words and signs. A sign that could belong to two is the longer one.
fn words(text: &str) -> Vec<&str> {
    const SIGNS: [&str; 12] = ["&&", "||", "!=", "==", "<=", ">=", "&", "|", "!", "=", "<", ">"];
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = if matches!(first, '(' | ')') {
            1
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            sign.len()
        } else {
            rest.find(|c: char| c.is_whitespace() || "()&|!=<>".contains(c)).unwrap_or(rest.len())
        };
        let (word, left) = rest.split_at(len);
        all.push(word);
        rest = left.trim_start();
    }
    all
}

struct Parser<'a> {
    words: Vec<&'a str>,
    next: usize,
    states: Option<States>,
    size: usize,
}

impl<'a> Parser<'a> {
    /// The next word; empty at the end.
    fn peek(&self) -> &'a str {
        self.words.get(self.next).copied().unwrap_or("")
    }

    fn take(&mut self, any_of: &[&str]) -> bool {
        let found = any_of.contains(&self.peek());
        self.next += usize::from(found);
        found
    }

    fn wanted(&mut self, what: &str) -> Result<&'a str, FilterError> {
        let word = self.peek();
        self.next += 1;
        if word.is_empty() { Err(FilterError(format!("{what} is missing at its end"))) } else { Ok(word) }
    }

    fn states(&mut self) -> Result<(), FilterError> {
        loop {
            let adds = match self.peek() {
                "state" => true,
                "exclude" => false,
                _ => return Ok(()),
            };
            self.next += 1;
            let name = self.wanted("a state")?;
            let named = States::by_name(name).ok_or_else(|| {
                FilterError(format!(
                    "`{name}` is no state: established, syn-sent, syn-recv, fin-wait-1, fin-wait-2, time-wait, closed, \
                     close-wait, last-ack, listening, closing, or one of the groups all, connected, synchronized, bucket, big"
                ))
            })?;
            self.states = Some(match (self.states, adds) {
                (None, true) => named,
                (None, false) => States::all().difference(named),
                (Some(states), true) => states.union(named),
                (Some(states), false) => states.difference(named),
            });
        }
    }

    fn any(&mut self) -> Result<Test, FilterError> {
        let mut left = self.both()?;
        while self.take(&["or", "|", "||"]) {
            left = Test::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Test, FilterError> {
        let mut left = self.one()?;
        while self.take(&["and", "&", "&&"])
            || matches!(self.peek(), "src" | "dst" | "sport" | "dport" | "core" | "not" | "!" | "(")
        {
            left = Test::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Test, FilterError> {
        self.size += 1;
        if self.size > SIZE_MAX {
            return Err(FilterError(format!("it comes to more than {SIZE_MAX} tests")));
        }
        match self.wanted("a test")? {
            "not" | "!" => Ok(Test::Not(Box::new(self.one()?))),
            "(" => {
                let inner = self.any()?;
                if self.take(&[")"]) { Ok(inner) } else { Err(FilterError("a `)` is missing".to_owned())) }
            }
            word @ ("src" | "dst") => {
                let relation = self.relation().unwrap_or(Relation::Equal);
                let place = self.wanted("an address")?;
                let (network, port) = place_of(place).ok_or_else(|| {
                    FilterError(format!(
                        "`{place}` is no address: such as 198.18.0.0/24, 198.18.0.1:80, [2001:db8::]/32, [2001:db8::1]:80, *:80"
                    ))
                })?;
                let test = Test::Place { is_peer: word == "dst", network, port };
                match relation {
                    Relation::Equal => Ok(test),
                    Relation::Unequal => Ok(Test::Not(Box::new(test))),
                    _ => Err(FilterError("addresses are compared by = and != only".to_owned())),
                }
            }
            word @ ("sport" | "dport") => {
                let relation = self.relation().unwrap_or(Relation::Equal);
                let text = self.wanted("a port")?;
                let digits = text.strip_prefix(':').unwrap_or(text);
                let port = digits
                    .parse()
                    .map_err(|_| FilterError(format!("`{text}` is no port: give its number, such as :80")))?;
                Ok(Test::Port { is_peer: word == "dport", relation, port })
            }
            "core" => {
                self.take(&["=", "=="]);
                let text = self.wanted("a core's number")?;
                let core = text.parse().map_err(|_| FilterError(format!("`{text}` is no core's number")))?;
                Ok(Test::Core(core))
            }
            word @ ("state" | "exclude") => {
                Err(FilterError(format!("`{word}` stands before all other tests")))
            }
            word => Err(FilterError(format!(
                "`{word}` is no test: src, dst, sport, dport, core, not, or before all others state and exclude"
            ))),
        }
    }

    fn relation(&mut self) -> Option<Relation> {
        let relation = match self.peek() {
            "=" | "==" | "eq" => Relation::Equal,
            "!=" | "ne" | "neq" => Relation::Unequal,
            "<" | "lt" => Relation::Less,
            "<=" | "le" | "leq" => Relation::LessOrEqual,
            ">" | "gt" => Relation::Greater,
            ">=" | "ge" | "geq" => Relation::GreaterOrEqual,
            _ => return None,
        };
        self.next += 1;
        Some(relation)
    }
}

/// An address with its prefix, a port: what is there of them.
fn place_of(text: &str) -> Option<(Option<Network>, Option<u16>)> {
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return Some((Some(whole(addr.ip())), Some(addr.port())));
    }
    if let Some(network) = network(text) {
        return Some((Some(network), None));
    }
    let (addr, port) = text.rsplit_once(':')?;
    let network = if matches!(addr, "" | "*") { None } else { Some(network(addr)?) };
    match port {
        "*" => Some((network, None)),
        port => Some((network, Some(port.parse().ok()?))),
    }
}

fn network(text: &str) -> Option<Network> {
    let (addr, len) = match text.rsplit_once('/') {
        Some((addr, len)) => (addr, Some(len.parse().ok()?)),
        None => (text, None),
    };
    let addr: IpAddr =
        addr.strip_prefix('[').and_then(|addr| addr.strip_suffix(']')).unwrap_or(addr).parse().ok()?;
    let (addr, all) = whole(addr);
    Some((addr, len.unwrap_or(all))).filter(|(_, len)| *len <= all)
}

const fn whole(addr: IpAddr) -> Network {
    (addr, if addr.is_ipv4() { 32 } else { 128 })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use freeway_stack::rows::Stage;
    use freeway_tcp::State;

    use super::*;

    fn row(local: &str, peer: Option<&str>) -> Row {
        let local: SocketAddr = local.parse().unwrap();
        Row {
            stage: Stage::Tcp(State::Established),
            local: Some(local.ip()).filter(|addr| !addr.is_unspecified()),
            local_port: local.port(),
            peer: peer.map(|peer| peer.parse().unwrap()),
            service: 0,
            receive_queue: 0,
            send_queue: 0,
            remaining: None,
            info: None,
        }
    }

    #[test]
    fn sockets_are_taken_as_ss_takes_them() {
        let http = row("198.18.0.2:80", Some("198.18.0.77:40000"));
        let v6 = row("[2001:db8::2]:443", Some("[2001:db8:1::9]:50000"));
        let listener = row("0.0.0.0:80", None);
        for (filter, expected) in [
            ("", [true, true, true]),
            ("sport = :80", [true, false, true]),
            ("sport 80", [true, false, true]),
            ("sport != :80", [false, true, false]),
            ("dport > :40000", [false, true, false]),
            ("dport >= 40000 and dport lt 50000", [true, false, false]),
            ("dst 198.18.0.0/24", [true, false, false]),
            ("dst 198.18.0.77", [true, false, false]),
            ("dst 198.18.0.77:40000", [true, false, false]),
            ("dst 198.18.0.77:40001", [false, false, false]),
            ("dst [2001:db8:1::]/48", [false, true, false]),
            ("dst 2001:db8:1::/48", [false, true, false]),
            ("dst [2001:db8:1::9]:50000", [false, true, false]),
            ("src *:80", [true, false, true]),
            ("src :80", [true, false, true]),
            ("src 198.18.0.0/15:80", [true, false, false]),
            ("dst != 198.18.0.77", [false, true, true]),
            ("not dst 198.18.0.77", [false, true, true]),
            ("sport = :80 dport = :40000", [true, false, false]),
            ("( sport = :443 or sport = :80 ) and dst 0.0.0.0/0", [true, false, false]),
            ("sport = :443 or sport = :80 and dst 0.0.0.0/0", [true, true, false]),
            ("sport=:443|(sport=:80&dst 0.0.0.0/0)", [true, true, false]),
            ("!(sport == 80)", [false, true, false]),
            ("core 5", [true, true, true]),
            ("core = 4", [false, false, false]),
        ] {
            let parsed: Filter = filter.parse().unwrap_or_else(|error| panic!("{filter}: {error}"));
            let taken = [&http, &v6, &listener].map(|row| parsed.takes(5, row));
            assert_eq!(taken, expected, "{filter}");
            assert_eq!(parsed.states, None);
        }
    }

    #[test]
    fn states_add_up_and_stand_first() {
        let states = |text: &str| text.parse::<Filter>().unwrap().states.unwrap();
        assert_eq!(states("state established"), States::ESTABLISHED);
        assert_eq!(
            states("state established state syn-sent sport = :1"),
            States::ESTABLISHED | States::SYN_SENT
        );
        assert_eq!(states("exclude listening"), States::all().difference(States::LISTEN));
        assert_eq!(
            states("state connected exclude time-wait").bits(),
            (States::CONNECTED - States::TIME_WAIT).bits()
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (filter, part) in [
            ("state open", "no state"),
            ("sport = :http", "no port"),
            ("dst 198.18.0.0/40", "no address"),
            ("dst < 198.18.0.1", "= and != only"),
            ("(sport 80", "`)` is missing"),
            ("sport 80 )", "nothing to close"),
            ("banana", "no test"),
            ("sport", "missing"),
            ("sport 80 or", "missing"),
            ("sport 80 state listening", "before all other"),
            ("core x", "core's number"),
        ] {
            let error = filter.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains(part), "{filter}: {error}");
        }
        assert!(
            "!".repeat(100_000).parse::<Filter>().is_err() && "(".repeat(100_000).parse::<Filter>().is_err()
        );
    }
}
