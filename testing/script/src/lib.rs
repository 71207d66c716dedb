//! Segment-by-segment scenarios against the stack.
//!
//! A scenario is a text file: what the peer sends (`>`), what the host must answer (`<`), what the application
//! does, and when. Its file name says what it shows. Time is virtual, sequence numbers are relative to each
//! side's initial one, and the host is the real [`Stack`](freeway_stack::Stack) behind real Ethernet frames.
//!
//! ```text
//! listen 80
//! > S 0 win 65535 mss 1460          # the peer's SYN
//! < SA 0 ack 1 mss 1460             # must be answered at once
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
//! | `set KEY VALUE` | before anything else: `timestamps on`, `wscale off`, `nagle on`, `delack off`, `quickacks 0`, `window 65535`, `iss N` of the peer, `port N` that the peer sends to |
//! | `listen PORT`, `connect PORT` | passive or active open |
//! | `> FLAGS SEQ[:END] [ack N] [win N] [mss N] [wscale N] [sackok] [ts VAL ECR] [badsum]` | the peer sends |
//! | `< FLAGS SEQ[:END] …` | the host must send exactly that next; what is not named is not checked |
//! | `quiet` | the host must have nothing more to send |
//! | `wait TIME` | time passes: the stack is run at each of its deadlines on the way |
//! | `write N`, `read N`, `shutdown`, `close`, `abort` | the application acts |
//! | `event NAME [N]` | the application must have heard that next |
//! | `state NAME` | the TCB's state; `CLOSED` when there is none |

#![forbid(unsafe_code)]

mod host;
mod parse;
mod run;

pub use parse::{ParseError, Scenario, Segment, Step};
pub use run::{Failure, run};
