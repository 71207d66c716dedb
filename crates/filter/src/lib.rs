//! Which frames a person wants to see: an expression like tcpdump's, compiled to a flat program that a core runs.
//!
//! ```text
//!   "tcp port 80 and not host 198.18.0.1"
//!        │ lexer ─► parser ─► Expr (a tree) ─► Program (tests in a row, each with two jumps)
//!        ▼
//!   Program::takes(frame) ─► Facts::of(frame), read once ─► tests, until one says take or leave
//! ```
//!
//! # The language
//!
//! | primitive | a frame that |
//! |---|---|
//! | `ip`, `ip6`, `arp` | carries that protocol |
//! | `tcp`, `udp`, `icmp`, `icmp6` | carries that protocol in IP, behind IPv6's extension headers too |
//! | `host ADDR` | comes from or goes to ADDR; of ARP, asks about it or tells of it |
//! | `net PREFIX` | the same for a network, such as `198.18.0.0/15` |
//! | `ether host MAC` | comes from or goes to that station |
//! | `port N`, `portrange A-B` | comes from or goes to such a port of TCP or UDP |
//! | `vlan`, `vlan N` | has a tag, has the tag of VLAN N |
//! | `less N`, `greater N` | is at most, at least N bytes long |
//! | `broadcast`, `multicast` | goes to all stations of the link, to a group of them |
//! | `tcp[tcpflags] & tcp-syn != 0` | has one of these flags (or, with `== F`, just those of them): `tcp-fin`, `-syn`, `-rst`, `-push`, `-ack`, `-urg`, `-ece`, `-cwr`, joined by `\|` in parentheses |
//!
//! Before `host`, `net`, `port` and `portrange` stands, if wanted, a protocol (`tcp dst port 80`, `arp host ...`) and a
//! direction: `src`, `dst`, `src or dst` (which is the default), `src and dst`. `host` itself may be left out.
//! `and` (`&&`), `or` (`||`), `not` (`!`) and parentheses join primitives. As in pcap-filter(7), `not` binds most and `and`
//! and `or` bind alike, from the left; and an operand that is a bare address or number takes what the one before it
//! said: `port 80 or 443`.
//!
//! Other than there, tags of VLANs are looked through: `tcp` is a segment in a VLAN, too. What is known of a frame ends
//! where it is cut short or fragmented: later fragments have no ports.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod facts;
mod lexer;
mod parser;
mod program;

pub use facts::Facts;
pub use parser::{FilterError, TESTS_MAX};
pub use program::{Expr, Program, Side, Test};
