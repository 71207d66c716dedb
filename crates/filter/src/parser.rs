//! From an expression's text to its tree.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::str::FromStr;

use freeway_wire::ethernet::EtherType;
use freeway_wire::{MacAddr, Protocol};
use thiserror::Error;

use crate::lexer::{Token, tokens};
use crate::program::{Expr, Program, Side, Test};

/// Tests in one expression at most.
pub const TESTS_MAX: usize = 256;

/// Parentheses in one another at most.
const DEPTH_MAX: usize = 64;

/// An expression that is not understood.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("the filter at column {column}: {reason}")]
pub struct FilterError {
    /// Where, counted from 1 in bytes.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl FromStr for Expr {
    type Err = FilterError;

    /// The tree of an expression; an empty one takes everything.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut parser =
            Parser { tokens: tokens(text), next: 0, end: text.len(), tests: 0, depth: 0, last: None };
        if parser.tokens.is_empty() {
            return Ok(Self::All);
        }
        let expr = parser.expr()?;
        match parser.peek() {
            None => Ok(expr),
            Some(token) => Err(parser.wrong_at(
                token.at,
                format!(
                    "`{}` does not go on from what is before it: join tests by `and` or `or`",
                    token.text
                ),
            )),
        }
    }
}

impl FromStr for Program {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Ok(Self::compile(&text.parse()?))
    }
}

/// What stands before an address or a number.
#[derive(Clone, Copy, Debug)]
struct Words<'a> {
    /// A protocol that it is to be of.
    protocol: Option<Token<'a>>,
    sides: Sides,
    kind: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sides {
    Src,
    Dst,
    Either,
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Host,
    Net,
    Port,
    PortRange,
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    /// The text's length: where something is missing.
    end: usize,
    tests: usize,
    depth: usize,
    /// What the operand before this one said.
    last: Option<Words<'a>>,
}

type Parsed = Result<Expr, FilterError>;

impl<'a> Parser<'a> {
    // ---- tokens ----

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.next).copied()
    }

    fn is_next(&self, words: &[&str]) -> bool {
        self.peek().is_some_and(|token| words.contains(&token.text))
    }

    fn take(&mut self, words: &[&str]) -> Option<Token<'a>> {
        let token = self.peek().filter(|token| words.contains(&token.text))?;
        self.next += 1;
        Some(token)
    }

    fn wanted(&mut self, what: &str) -> Result<Token<'a>, FilterError> {
        let token = self.peek().ok_or_else(|| self.wrong_at(self.end, format!("{what} is missing")))?;
        self.next += 1;
        Ok(token)
    }

    fn wrong_at(&self, at: usize, reason: impl Into<String>) -> FilterError {
        FilterError { column: at + 1, reason: reason.into() }
    }

    fn wrong(&self, token: Token<'_>, reason: &str) -> FilterError {
        self.wrong_at(token.at, format!("`{}` {reason}", token.text))
    }

    fn test(&mut self, test: Test) -> Parsed {
        self.tests += 1;
        if self.tests > TESTS_MAX {
            return Err(self.wrong_at(self.end, format!("it comes to more than {TESTS_MAX} tests")));
        }
        Ok(Expr::Test(test))
    }

    // ---- operators ----

    fn expr(&mut self) -> Parsed {
        let mut left = self.operand()?;
        loop {
            if self.take(&["and", "&&"]).is_some() {
                left = Expr::And(Box::new(left), Box::new(self.operand()?));
            } else if self.take(&["or", "||"]).is_some() {
                left = Expr::Or(Box::new(left), Box::new(self.operand()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn operand(&mut self) -> Parsed {
        let mut negate = false;
        while self.take(&["not", "!"]).is_some() {
            negate = !negate;
        }
        let operand = if let Some(open) = self.take(&["("]) {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(self.wrong(
                    open,
                    &format!("is the {}th in one another: {DEPTH_MAX} are the most", self.depth),
                ));
            }
            let inner = self.expr()?;
            if self.take(&[")"]).is_none() {
                let at = self.peek().map_or(self.end, |token| token.at);
                return Err(self.wrong_at(at, "a `)` is missing"));
            }
            self.depth -= 1;
            inner
        } else {
            self.primitive()?
        };
        Ok(if negate { Expr::Not(Box::new(operand)) } else { operand })
    }

    // ---- primitives ----

    fn primitive(&mut self) -> Parsed {
        let first = self.wanted("a test")?;
        match first.text {
            "vlan" => self.vlan(),
            "less" => {
                let most = self.number("a length")?;
                self.test(Test::Len(0, most))
            }
            "greater" => {
                let least = self.number("a length")?;
                self.test(Test::Len(least, u32::MAX))
            }
            "broadcast" => self.test(Test::Broadcast),
            "multicast" => self.test(Test::Multicast),
            "tcp[tcpflags]" | "tcp[13]" => self.tcp_flags(),
            "ether" => self.ether(),
            "ip" | "ip6" | "arp" | "tcp" | "udp" | "icmp" | "icmp6" => {
                if !self.is_next(&["src", "dst", "host", "net", "port", "portrange"]) {
                    self.last = None;
                    return self.protocol(first);
                }
                self.described(Some(first))
            }
            "src" | "dst" | "host" | "net" | "port" | "portrange" => {
                self.next -= 1;
                self.described(None)
            }
            "and" | "or" | "&&" | "||" | ")" => Err(self.wrong(first, "stands where a test is wanted")),
            // A bare address or number goes on with what the operand before it said.
            _ => {
                self.next -= 1;
                match self.last {
                    Some(words) => self.value(words),
                    None if looks_like_address(first.text) => {
                        self.value(Words { protocol: None, sides: Sides::Either, kind: What::Host })
                    }
                    None => Err(self.wrong(
                        first,
                        "is no test: begin with ip, ip6, arp, tcp, udp, icmp, icmp6, host, net, port, portrange, src, dst, \
                         vlan, ether, less, greater, broadcast, multicast or not",
                    )),
                }
            }
        }
    }

    fn protocol(&mut self, name: Token<'_>) -> Parsed {
        self.test(match name.text {
            "ip" => Test::EtherType(EtherType::IPV4),
            "ip6" => Test::EtherType(EtherType::IPV6),
            "arp" => Test::EtherType(EtherType::ARP),
            "tcp" => Test::Protocol(Protocol::TCP),
            "udp" => Test::Protocol(Protocol::UDP),
            "icmp" => Test::Protocol(Protocol::ICMP),
            _ => Test::Protocol(Protocol::ICMPV6),
        })
    }

    fn vlan(&mut self) -> Parsed {
        self.last = None;
        let number =
            self.peek().and_then(|token| token.text.parse::<u16>().ok().map(|number| (token, number)));
        match number {
            Some((token, number)) if number > 4_094 => {
                Err(self.wrong(token, "is no VLAN: they are numbered from 0 to 4094"))
            }
            Some((_, number)) => {
                self.next += 1;
                self.test(Test::Vlan(Some(number)))
            }
            None => self.test(Test::Vlan(None)),
        }
    }

    fn ether(&mut self) -> Parsed {
        self.last = None;
        if self.take(&["broadcast"]).is_some() {
            return self.test(Test::Broadcast);
        }
        if self.take(&["multicast"]).is_some() {
            return self.test(Test::Multicast);
        }
        let sides = self.sides();
        self.take(&["host"]);
        let token = self.wanted("a MAC address")?;
        let mac: MacAddr = token
            .text
            .parse()
            .map_err(|_| self.wrong(token, "is no MAC address, such as 02:00:00:00:00:01"))?;
        self.sided(sides, |side| Test::Mac(side, mac))
    }

    /// `& FLAGS != 0` or `& FLAGS == FLAGS`, behind `tcp[tcpflags]`.
    fn tcp_flags(&mut self) -> Parsed {
        self.last = None;
        let sign = self.wanted("`&`")?;
        if sign.text != "&" {
            return Err(self.wrong(sign, "stands where `&` is wanted, as in tcp[tcpflags] & tcp-syn != 0"));
        }
        let mask = self.flags()?;
        let sign = self.wanted("`!=` or `==`")?;
        let value = match sign.text {
            "!=" | "=" | "==" => self.flags()?,
            _ => return Err(self.wrong(sign, "stands where `!=` or `==` is wanted")),
        };
        self.test(Test::TcpFlags(mask, value, sign.text != "!="))
    }

    /// Flags by name, joined by `|` in parentheses, or a number.
    fn flags(&mut self) -> Result<u8, FilterError> {
        if self.take(&["("]).is_none() {
            return self.flag();
        }
        let mut all = self.flag()?;
        while self.take(&["|"]).is_some() {
            all |= self.flag()?;
        }
        let close = self.wanted("`)`")?;
        if close.text == ")" { Ok(all) } else { Err(self.wrong(close, "stands where `|` or `)` is wanted")) }
    }

    fn flag(&mut self) -> Result<u8, FilterError> {
        const NAMES: [&str; 8] =
            ["tcp-fin", "tcp-syn", "tcp-rst", "tcp-push", "tcp-ack", "tcp-urg", "tcp-ece", "tcp-cwr"];
        let token = self.wanted("a flag")?;
        match NAMES.iter().position(|name| *name == token.text) {
            Some(bit) => Ok(1 << bit),
            None => number_of(token.text).ok_or_else(|| {
                self.wrong(
                    token,
                    "is no flag: tcp-fin, tcp-syn, tcp-rst, tcp-push, tcp-ack, tcp-urg, tcp-ece, tcp-cwr",
                )
            }),
        }
    }

    fn sides(&mut self) -> Sides {
        let (first, other, alone) = match self.peek().map(|token| token.text) {
            Some("src") => ("src", "dst", Sides::Src),
            Some("dst") => ("dst", "src", Sides::Dst),
            _ => return Sides::Either,
        };
        self.take(&[first]);
        let joined = |place: usize| self.tokens.get(place).map_or("", |token| token.text);
        let sides = match (joined(self.next), joined(self.next + 1)) {
            ("or" | "||", word) if word == other => Sides::Either,
            ("and" | "&&", word) if word == other => Sides::Both,
            _ => return alone,
        };
        // `src host A and dst port 1` joins two tests, and there a word stands between.
        self.next += 2;
        sides
    }

    /// A direction, a kind and its value.
    fn described(&mut self, protocol: Option<Token<'a>>) -> Parsed {
        let sides = self.sides();
        let kind = match self.take(&["host", "net", "port", "portrange"]).map(|token| token.text) {
            Some("net") => What::Net,
            Some("port") => What::Port,
            Some("portrange") => What::PortRange,
            _ => What::Host,
        };
        self.value(Words { protocol, sides, kind })
    }

    fn value(&mut self, words: Words<'a>) -> Parsed {
        let Words { protocol, sides, kind } = words;
        self.last = Some(words);
        let expr = match kind {
            What::Host => {
                let token = self.wanted("an address")?;
                let addr: IpAddr = token
                    .text
                    .parse()
                    .map_err(|_| self.wrong(token, "is no address; names are not looked up"))?;
                let len = if addr.is_ipv4() { 32 } else { 128 };
                self.sided(sides, |side| Test::Net(side, addr, len))?
            }
            What::Net => {
                let token = self.wanted("a network")?;
                let (network, len) = prefix(token.text).map_err(|reason| self.wrong(token, reason))?;
                self.sided(sides, |side| Test::Net(side, network, len))?
            }
            What::Port => {
                let token = self.wanted("a port")?;
                let port: u16 = token
                    .text
                    .parse()
                    .map_err(|_| self.wrong(token, "is no port: give a number from 0 to 65535"))?;
                self.sided(sides, |side| Test::Ports(side, port, port))?
            }
            What::PortRange => {
                let token = self.wanted("two ports")?;
                let range = token
                    .text
                    .split_once('-')
                    .and_then(|(low, high)| Some((low.parse::<u16>().ok()?, high.parse::<u16>().ok()?)));
                let Some((low, high)) = range.filter(|(low, high)| low <= high) else {
                    return Err(self.wrong(token, "is no range of ports, such as 8000-8999"));
                };
                self.sided(sides, |side| Test::Ports(side, low, high))?
            }
        };
        let Some(protocol) = protocol else { return Ok(expr) };
        let is_port = matches!(kind, What::Port | What::PortRange);
        let fits = match protocol.text {
            "tcp" | "udp" => is_port,
            "ip" | "ip6" => true,
            "arp" => !is_port,
            _ => false,
        };
        if !fits {
            return Err(self.wrong(
                protocol,
                "has nothing of the kind: ports are of tcp and udp, addresses of ip, ip6 and arp",
            ));
        }
        Ok(Expr::And(Box::new(self.protocol(protocol)?), Box::new(expr)))
    }

    fn sided(&mut self, sides: Sides, test: impl Fn(Side) -> Test) -> Parsed {
        let (src, dst) = (Box::new(Expr::Test(test(Side::Src))), Box::new(Expr::Test(test(Side::Dst))));
        self.tests += 1;
        self.test(test(Side::Src))?;
        Ok(match sides {
            Sides::Src => *src,
            Sides::Dst => *dst,
            Sides::Either => Expr::Or(src, dst),
            Sides::Both => Expr::And(src, dst),
        })
    }

    fn number(&mut self, what: &str) -> Result<u32, FilterError> {
        let token = self.wanted(what)?;
        token.text.parse().map_err(|_| self.wrong(token, "is no number of bytes"))
    }
}

fn number_of(text: &str) -> Option<u8> {
    match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn looks_like_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// A network and the length of its prefix, with nothing behind it; an address alone is a network of one.
fn prefix(text: &str) -> Result<(IpAddr, u8), &'static str> {
    let (addr, len) = match text.split_once('/') {
        Some((addr, len)) => (addr, Some(len)),
        None => (text, None),
    };
    let addr: IpAddr = addr.parse().map_err(|_| "is no network, such as 198.18.0.0/15 or 2001:db8::/32")?;
    let bits: u8 = if addr.is_ipv4() { 32 } else { 128 };
    let len = match len {
        Some(len) => len.parse().ok().filter(|len| *len <= bits).ok_or("has a prefix of no such length")?,
        None => bits,
    };
    let behind = match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    };
    if behind.checked_shl(u32::from(len)).unwrap_or(0) != 0 {
        return Err("has bits behind its prefix: give the network's own address");
    }
    Ok((addr, len))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alloc::string::ToString;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::facts::Facts;

    /// A frame of TCP or UDP over IPv4, in a VLAN if wanted.
    fn frame(vlan: Option<u16>, protocol: u8, src: [u8; 4], dst: [u8; 4], ports: (u16, u16)) -> Vec<u8> {
        let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
        if let Some(vlan) = vlan {
            bytes.extend([0x81, 0]);
            bytes.extend(vlan.to_be_bytes());
        }
        bytes.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
        bytes.extend(src);
        bytes.extend(dst);
        bytes.extend(ports.0.to_be_bytes());
        bytes.extend(ports.1.to_be_bytes());
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12, 0xff, 0xff, 0, 0, 0, 0]);
        bytes
    }

    fn takes(filter: &str, frame: &[u8]) -> bool {
        let expr: Expr = filter.parse().unwrap_or_else(|error| panic!("{filter}: {error}"));
        let taken = Program::compile(&expr).takes(frame);
        assert_eq!(taken, expr.takes(&Facts::of(frame)));
        taken
    }

    const A: [u8; 4] = [198, 18, 0, 1];
    const B: [u8; 4] = [198, 18, 0, 2];

    #[test]
    fn each_primitive_takes_its_frames_and_no_others() {
        let tcp = frame(None, 6, A, B, (4_000, 80));
        let udp = frame(Some(7), 17, B, A, (53, 5_353));
        // What takes the segment and leaves the datagram; then the other way round.
        for filter in [
            "tcp",
            "not udp",
            "! vlan",
            "port 80",
            "dst port 80",
            "tcp dst port 80",
            "portrange 80-90",
            "src 198.18.0.1",
            "src host 198.18.0.1 and dst host 198.18.0.2",
            "src net 198.18.0.0/31 and dst net 198.18.0.2/31",
            "ip and tcp port 80",
            "less 54",
            "tcp[tcpflags] & (tcp-syn|tcp-ack) == 0x12",
            "tcp[tcpflags] & tcp-syn != 0",
            "tcp[13] & tcp-fin == 0",
            "port 443 or 80",
            "tcp and (port 1 or port 80)",
            "ip port 80",
        ] {
            assert!(takes(filter, &tcp) && !takes(filter, &udp), "{filter}");
        }
        for filter in [
            "udp",
            "vlan",
            "vlan 7",
            "vlan 7 and udp port 53",
            "src port 53",
            "not tcp",
            "greater 58",
            "dst 198.18.0.1 && udp",
            "udp portrange 5000-6000",
        ] {
            assert!(takes(filter, &udp) && !takes(filter, &tcp), "{filter}");
        }
        for filter in [
            "",
            "ip",
            "host 198.18.0.1",
            "198.18.0.2",
            "host 198.18.0.9 or 198.18.0.2",
            "net 198.18.0.0/15",
            "src or dst host 198.18.0.1",
            "src and dst net 198.18.0.0/24",
            "ether host 02:00:00:00:00:01",
            "ether src 02:00:00:00:00:01",
            "greater 14 and less 1500",
        ] {
            assert!(takes(filter, &tcp) && takes(filter, &udp), "{filter}");
        }
        for filter in [
            "ip6",
            "arp",
            "icmp",
            "icmp6",
            "vlan 8",
            "port 81",
            "net 198.20.0.0/16",
            "broadcast",
            "multicast",
            "host 2001:db8::1",
            "ether dst 02:00:00:00:00:01",
            "ip6 host 198.18.0.1",
            "udp port 80",
            "arp host 198.18.0.1",
        ] {
            assert!(!takes(filter, &tcp) && !takes(filter, &udp), "{filter}");
        }
    }

    #[test]
    fn and_and_or_bind_alike_from_the_left() {
        let tcp = frame(None, 6, A, B, (4_000, 80));
        assert!(!takes("tcp or udp and vlan", &tcp));
        assert!(takes("tcp or (udp and vlan)", &tcp));
        assert!(takes("not udp and tcp", &tcp), "not binds most");
        assert!(takes("not not tcp", &tcp));
    }

    #[test]
    fn arp_and_ipv6_are_read() {
        let mut arp = vec![0xff; 6];
        arp.extend([2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1]);
        arp.extend(A);
        arp.extend([0; 6]);
        arp.extend(B);
        for filter in ["arp", "broadcast", "ether multicast", "arp src host 198.18.0.1", "dst 198.18.0.2"] {
            assert!(takes(filter, &arp), "{filter}");
        }
        assert!(!takes("ip or tcp or port 80", &arp));

        let v6 = |last| [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 16, 60, 64];
        bytes.extend(v6(1));
        bytes.extend(v6(2));
        // Destination options, then UDP.
        bytes.extend([17, 0, 1, 4, 0, 0, 0, 0, 0, 53, 1, 2, 0, 8, 0, 0]);
        for filter in ["ip6", "udp", "udp src port 53", "src net 2001:db8::/64 and dst 2001:db8::2"] {
            assert!(takes(filter, &bytes), "{filter}");
        }
        assert!(!takes("ip or tcp or host 2001:db8::3", &bytes));
    }

    #[test]
    fn a_mistake_is_shown_where_it_is() {
        for (filter, column, part) in [
            ("tcp prot 80", 5, "prot"),
            ("host nowhere", 6, "not looked up"),
            ("port http", 6, "no port"),
            ("port 80000", 6, "no port"),
            ("net 198.18.0.1/15", 5, "behind its prefix"),
            ("net 198.18.0.0/33", 5, "no such length"),
            ("(tcp", 5, "`)` is missing"),
            ("tcp and", 8, "missing"),
            ("and tcp", 1, "where a test is wanted"),
            ("icmp port 80", 1, "nothing of the kind"),
            ("vlan 5000", 6, "no VLAN"),
            ("portrange 9-1", 11, "range"),
            ("banana", 1, "no test"),
            ("tcp)", 4, "does not go on"),
            ("tcp[tcpflags] == 2", 15, "`&`"),
        ] {
            let error = filter.parse::<Program>().unwrap_err();
            assert_eq!(error.column, column, "{filter}: {error}");
            assert!(error.to_string().contains(part), "{filter}: {error}");
        }
    }

    /// Words of the language, and others.
    fn soup() -> impl Strategy<Value = String> {
        const WORDS: [&str; 34] = [
            "ip",
            "ip6",
            "arp",
            "tcp",
            "udp",
            "icmp",
            "host",
            "net",
            "port",
            "portrange",
            "src",
            "dst",
            "vlan",
            "ether",
            "less",
            "greater",
            "and",
            "or",
            "not",
            "&&",
            "||",
            "!",
            "(",
            ")",
            "80",
            "1-2",
            "198.18.0.1",
            "198.18.0.0/15",
            "2001:db8::/32",
            "tcp[tcpflags]",
            "&",
            "!=",
            "tcp-syn",
            "\u{e9}",
        ];
        proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..12)
            .prop_map(|words| words.join(" "))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4_000) })]

        #[test]
        fn any_text_is_understood_or_refused_within_it(text in prop_oneof![soup(), any::<String>()]) {
            let tcp = frame(Some(7), 6, A, B, (4_000, 80));
            match text.parse::<Expr>() {
                Ok(expr) => {
                    let program = Program::compile(&expr);
                    prop_assert!(program.len() <= TESTS_MAX);
                    prop_assert_eq!(program.takes(&tcp), expr.takes(&Facts::of(&tcp)));
                }
                Err(error) => prop_assert!((1..=text.len() + 1).contains(&error.column), "{}", error),
            }
        }
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let many = |count: usize| vec!["port 1"; count].join(" or ");
        assert_eq!(many(TESTS_MAX / 2).parse::<Program>().unwrap().len(), TESTS_MAX);
        assert!(many(TESTS_MAX / 2 + 1).parse::<Program>().is_err());
        let nested = |depth| "(".repeat(depth) + "tcp" + &")".repeat(depth);
        assert!(nested(DEPTH_MAX).parse::<Program>().is_ok() && nested(100_000).parse::<Program>().is_err());
    }
}
