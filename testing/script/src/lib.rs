//! Segment-by-segment scenarios against the stack.
//!
//! A scenario is a text file: what the peer sends (`>`), what the host must answer (`<`), what the application
//! does, and when. Its file name says what it shows. Time is virtual, sequence numbers are relative to each
//! side's initial one, and the host is the real [`Stack`](freeway_stack::Stack) behind real Ethernet frames.
//! Every scenario runs over IPv4 and over IPv6.
//!
//! ```text
//! listen 80
//! > S 0 win 65535 mss 1460          # the peer's SYN
//! < SA 0 ack 1 mss 1460/1440        # must be answered at once; IPv4's value, IPv6's value
//! > A 1 ack 1 win 65535
//! event accepted
//! > PA 1:101 ack 1 win 65535        # 100 bytes
//! event readable 100
//! read 100
//! quiet                             # nothing yet: the ACK is delayed
//! wait 40ms
//! < A 1 ack 101
//! ```
//!
//! | line | meaning |
//! |---|---|
//! | `only ipv4`, `only ipv6` | the scenario is for one version; a line that begins with `ipv4:` or `ipv6:` is too |
//! | `set KEY VALUE` | TCP's settings for what opens after it, and the host's before anything else; of the flow `port N`, `from ADDR`, `to ADDR`, `iss N` |
//! | `flow NAME` | what follows is about another flow, from a port of its own |
//! | `listen PORT [at ADDR]`, `unlisten PORT`, `connect PORT [from ADDR]` | passive and active opens |
//! | `listen PORT fails WHY`, `connect ADDR fails WHY` | the call must be refused |
//! | `> FLAGS SEQ[:END] WORDS [\| IP]` | the peer sends; `>>` sends together with the next |
//! | `> icmp NAME [VALUE] [quoting SEQ[:END]] [cut N] [port N] [\| IP]` | an ICMP message about a segment of the host's |
//! | `> ip PROTOCOL HEX [\| IP]` | any packet |
//! | `< FLAGS SEQ[:END] WORDS [\| IP]` | the host must send exactly that next; what is not named is not checked |
//! | `< icmp NAME [VALUE] [\| IP]` | the host must send that ICMP message next |
//! | `quiet` | the host must have nothing more to send |
//! | `wait TIME` | time passes: the stack is run at each of its deadlines on the way |
//! | `write N`, `read N`, `shutdown`, `close`, `abort` | the application acts; what it reads must be what the peer sent |
//! | `event NAME [N]` | the application must have heard that next |
//! | `state NAME` | the TCB's state; `CLOSED` when there is none |
//! | `count GROUP.NAME N` | a counter of the stack's must have that value |
//! | `holds TABLE N` | `connections`, `half-open`, `time-wait` or `items` must hold so many |
//! | `anew` | the host's next SYN counts as its first |
//!
//! WORDS: `ack N`, `win N`, `urg N`, `mss N`, `wscale N`, `sackok`, `sack A:B …`, `nosack`, `ts VAL ECR`, `anyts`,
//! `cookie HEX`, `askcookie`;
//! expected: `only` (no other options), `ticks N` (the timestamp has gone on by so much), `after TIME..TIME` (since the
//! segment expected before); sent: `ts VAL last` (echoes the host's last), `opts HEX` (all options), `doff N`,
//! `reserved N`, `badsum`, `zerosum`, `junk` (other bytes than the stream has there).
//!
//! IP: `from ADDR`, `to ADDR`, `ttl N`, `ecn none|ect0|ect1|ce`, `dscp N`; sent: `mac STATION`, `parts A-B,C-D,E-`
//! (fragments, in this order), `ident N`, `ipopts HEX`, `ext NUMBER HEX`, `ipversion N`, `iplen N`, `ihl N`,
//! `badipsum`. ADDR: `peer`, `host`, `second` (of the host's), `stranger`, `nobody` (who does not answer),
//! `broadcast`, `everybody`, `group`, `loopback`, `unspecified`, or an address.
//!
//! At the end nothing may be left that the host sent or the application heard. Some things hold for every segment
//! of the host's and need no word: sums, reserved bits, options of SYNs, padding, addresses, ports, no congestion
//! mark and no urgent data.

#![forbid(unsafe_code)]

mod application;
mod expect;
mod flow;
mod host;
mod neighbors;
mod observe;
mod packet;
mod parse;
mod run;
mod segment;
mod settings;
mod version;
mod words;

pub use parse::{ParseError, Scenario, Step};
pub use run::{Failure, run};
pub use segment::{Icmp, IpWords, Segment, Sum};
pub use version::Version;
