//! A filter as a core runs it: tests in a row, each of which says where to go on.
//!
//! ```text
//!   tcp port 80 and not host A        place   test             yes     no
//!                                       3     protocol tcp      2     leave      ◄─ begins here
//!                                       2     src port 80       1      ...
//!                                      ...    ...
//!                                       0     dst host A      leave   take
//! ```
//!
//! Jumps lead to lower places only, so a run ends after at most as many tests as there are.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use freeway_wire::ethernet::EtherType;
use freeway_wire::{MacAddr, Protocol};

use crate::facts::Facts;

/// Which end of a frame's way is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Where it comes from.
    Src,
    /// Where it goes to.
    Dst,
}

/// One thing to ask of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Test {
    /// It carries this behind its tags.
    EtherType(EtherType),
    /// It carries this in IP.
    Protocol(Protocol),
    /// It has a tag; of this VLAN.
    Vlan(Option<u16>),
    /// A station.
    Mac(Side, MacAddr),
    /// An address with these leading bits.
    Net(Side, IpAddr, u8),
    /// A port, of TCP or UDP, from the first to the second.
    Ports(Side, u16, u16),
    /// So many bytes, from the first to the second number.
    Len(u32, u32),
    /// To all stations.
    Broadcast,
    /// To a group of stations, all of them being one.
    Multicast,
    /// Those of some of TCP's flags (the first) that are set are just these (the second); or, with `false`, are not.
    TcpFlags(u8, u8, bool),
}

impl Test {
    /// Whether it is true of a frame.
    #[inline]
    pub fn holds(&self, facts: &Facts) -> bool {
        match *self {
            Self::EtherType(ethertype) => facts.ethertype == ethertype,
            Self::Protocol(protocol) => facts.protocol == Some(protocol),
            Self::Vlan(None) => facts.vlans[0].is_some(),
            Self::Vlan(wanted) => facts.vlans.contains(&wanted),
            Self::Mac(Side::Src, mac) => facts.src_mac == mac,
            Self::Mac(Side::Dst, mac) => facts.dst_mac == mac,
            Self::Net(side, network, prefix_len) => {
                facts.addresses.is_some_and(|both| is_in(of(side, both), network, prefix_len))
            }
            Self::Ports(side, low, high) => {
                facts.ports.is_some_and(|both| (low..=high).contains(&of(side, both)))
            }
            Self::Len(low, high) => (low as usize..=high as usize).contains(&facts.len),
            Self::Broadcast => facts.dst_mac.is_broadcast(),
            Self::Multicast => facts.dst_mac.is_multicast(),
            Self::TcpFlags(mask, value, equal) => {
                facts.tcp_flags.is_some_and(|flags| (flags & mask == value) == equal)
            }
        }
    }
}

#[inline]
fn of<T>(side: Side, (src, dst): (T, T)) -> T {
    match side {
        Side::Src => src,
        Side::Dst => dst,
    }
}

/// Whether `addr` begins with the first `prefix_len` bits of `network`.
#[inline]
fn is_in(addr: IpAddr, network: IpAddr, prefix_len: u8) -> bool {
    let prefix_len = u32::from(prefix_len);
    match (addr, network) {
        (IpAddr::V4(addr), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix_len)).unwrap_or(0);
            (addr.to_bits() ^ network.to_bits()) & mask == 0
        }
        (IpAddr::V6(addr), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix_len)).unwrap_or(0);
            (addr.to_bits() ^ network.to_bits()) & mask == 0
        }
        _ => false,
    }
}

/// A filter as a person wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expr {
    /// Everything.
    All,
    /// What one test is true of.
    Test(Test),
    /// What the other leaves.
    Not(Box<Self>),
    /// What both take.
    And(Box<Self>, Box<Self>),
    /// What one of them takes.
    Or(Box<Self>, Box<Self>),
}

impl Expr {
    /// Whether it takes a frame, by walking the tree: what a [`Program`] must say, too.
    pub fn takes(&self, facts: &Facts) -> bool {
        match self {
            Self::All => true,
            Self::Test(test) => test.holds(facts),
            Self::Not(inner) => !inner.takes(facts),
            Self::And(left, right) => left.takes(facts) && right.takes(facts),
            Self::Or(left, right) => left.takes(facts) || right.takes(facts),
        }
    }
}

/// A place: of a test, or one of the two ends.
type Place = u16;

/// The frame is taken.
const TAKE: Place = Place::MAX;
/// The frame is left.
const LEAVE: Place = Place::MAX - 1;

#[derive(Clone, Copy, Debug)]
struct Op {
    test: Test,
    yes: Place,
    no: Place,
}

/// A filter over frames, ready to run: instructions whose jumps lead forward only.
#[derive(Clone, Debug)]
pub struct Program {
    ops: Box<[Op]>,
    start: Place,
}

impl Program {
    /// What takes every frame.
    pub fn all() -> Self {
        Self::compile(&Expr::All)
    }

    /// The program of an expression that holds no more tests than the [parser](crate::TESTS_MAX) lets through.
    pub fn compile(expr: &Expr) -> Self {
        let mut ops = Vec::new();
        let start = place(expr, TAKE, LEAVE, &mut ops);
        Self { ops: ops.into(), start }
    }

    /// Whether the frame is wanted. Neither allocates nor panics, and ends after [`len`](Self::len) tests.
    #[inline]
    pub fn takes(&self, frame: &[u8]) -> bool {
        if self.ops.is_empty() {
            return self.start == TAKE;
        }
        self.run(&Facts::of(frame))
    }

    /// The same for a frame that has been read.
    #[inline]
    pub fn run(&self, facts: &Facts) -> bool {
        let mut at = self.start;
        while let Some(op) = self.ops.get(usize::from(at)) {
            at = if op.test.holds(facts) { op.yes } else { op.no };
        }
        at == TAKE
    }

    /// How many tests it has.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether it looks at nothing.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// Lays out what decides `expr` and then goes on to `yes` or `no`; returns where it begins.
fn place(expr: &Expr, yes: Place, no: Place, ops: &mut Vec<Op>) -> Place {
    match expr {
        Expr::All => yes,
        Expr::Test(test) => {
            ops.push(Op { test: *test, yes, no });
            (ops.len() - 1) as Place
        }
        Expr::Not(inner) => place(inner, no, yes, ops),
        Expr::And(left, right) => {
            let right = place(right, yes, no, ops);
            place(left, right, no, ops)
        }
        Expr::Or(left, right) => {
            let right = place(right, yes, no, ops);
            place(left, yes, right, ops)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use core::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn facts() -> impl Strategy<Value = Facts> {
        let addr = prop_oneof![
            (0u32..8).prop_map(|low| IpAddr::V4(Ipv4Addr::from_bits(0xc612_0000 + low))),
            (0u128..8).prop_map(|low| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + low))),
        ];
        let pair = (addr.clone(), addr);
        let rest = (0u8..4, proptest::option::of((0u16..4, 0u16..4)), proptest::option::of(any::<u8>()));
        (proptest::option::of(pair), rest, proptest::option::of(0u16..3), 14usize..20).prop_map(
            |(addresses, (protocol, ports, tcp_flags), vlan, len)| Facts {
                len,
                dst_mac: MacAddr([protocol; 6]),
                src_mac: MacAddr([2; 6]),
                vlans: [vlan, None],
                ethertype: EtherType(u16::from(protocol)),
                addresses,
                protocol: Some(Protocol(protocol)),
                ports,
                tcp_flags,
            },
        )
    }

    fn test() -> impl Strategy<Value = Test> {
        let side = prop_oneof![Just(Side::Src), Just(Side::Dst)];
        prop_oneof![
            (0u16..4).prop_map(|n| Test::EtherType(EtherType(n))),
            (0u8..4).prop_map(|n| Test::Protocol(Protocol(n))),
            proptest::option::of(0u16..3).prop_map(Test::Vlan),
            (side.clone(), 0u8..4).prop_map(|(side, n)| Test::Mac(side, MacAddr([n; 6]))),
            (side.clone(), 0u32..8, 28u8..=32).prop_map(|(side, low, len)| Test::Net(
                side,
                Ipv4Addr::from_bits(0xc612_0000 + low).into(),
                len
            )),
            (side, 0u16..4, 0u16..4).prop_map(|(side, low, high)| Test::Ports(side, low, high)),
            (14u32..20, 14u32..20).prop_map(|(low, high)| Test::Len(low, high)),
            Just(Test::Multicast),
            (any::<u8>(), any::<u8>(), any::<bool>()).prop_map(|(mask, value, equal)| Test::TcpFlags(
                mask,
                value & mask,
                equal
            )),
        ]
    }

    fn expr() -> impl Strategy<Value = Expr> {
        let leaf = prop_oneof![9 => test().prop_map(Expr::Test), 1 => Just(Expr::All)];
        leaf.prop_recursive(6, 48, 2, |inner| {
            let pair = (inner.clone(), inner.clone());
            prop_oneof![
                inner.prop_map(|inner| Expr::Not(inner.into())),
                pair.clone().prop_map(|(a, b)| Expr::And(a.into(), b.into())),
                pair.prop_map(|(a, b)| Expr::Or(a.into(), b.into())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn the_program_says_what_the_tree_says(expr in expr(), facts in facts()) {
            let program = Program::compile(&expr);
            prop_assert_eq!(program.run(&facts), expr.takes(&facts));
            // What makes every run end.
            for (place, op) in (0u16..).zip(&program.ops) {
                prop_assert!((op.yes < place || op.yes >= LEAVE) && (op.no < place || op.no >= LEAVE));
            }
        }

        #[test]
        fn any_bytes_are_read(frame in proptest::collection::vec(any::<u8>(), 0..120)) {
            prop_assert_eq!(Facts::of(&frame).len, frame.len());
        }
    }

    #[test]
    fn prefixes_of_any_length_are_compared() {
        let v4 = |text: &str| IpAddr::V4(text.parse().unwrap());
        let v6 = |text: &str| IpAddr::V6(text.parse().unwrap());
        assert!(
            is_in(v4("198.18.5.9"), v4("198.18.0.0"), 15) && !is_in(v4("198.20.0.0"), v4("198.18.0.0"), 15)
        );
        assert!(is_in(v4("1.2.3.4"), v4("198.18.0.0"), 0) && !is_in(v4("1.2.3.4"), v4("1.2.3.5"), 32));
        assert!(is_in(v6("2001:db8::5"), v6("2001:db8::"), 64) && is_in(v6("::"), v6("ffff::"), 0));
        assert!(!is_in(v6("2001:db8::5"), v6("2001:db8::4"), 128) && !is_in(v4("1.2.3.4"), v6("::"), 0));
    }

    #[test]
    fn a_program_for_everything_looks_at_nothing() {
        assert!(Program::all().is_empty() && Program::all().takes(&[]));
        assert!(!Program::compile(&Expr::Not(Expr::All.into())).takes(&[]));
    }
}
