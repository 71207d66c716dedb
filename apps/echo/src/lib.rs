//! The echo, discard and character generator services, over TCP and UDP (RFC 862, 863, 864).
//!
//! Each service is a few functions on a connection or a datagram, generic over the application's connection
//! state, so that a server composes them with others by service number.
//!
//! The services answer strangers, so over UDP they send no more than they received (a forged source address
//! gains nothing), and nothing to the ports of such services (two of them would talk for ever).

#![forbid(unsafe_code)]

pub mod chargen;
pub mod discard;
pub mod echo;

/// Whether a datagram from this port is left unanswered: it comes from a service that would answer in turn.
pub const fn would_loop(port: u16) -> bool {
    matches!(port, 0 | 7 | 13 | 17 | 19 | 37)
}
