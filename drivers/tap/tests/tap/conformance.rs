//! The suite of all ports, with a raw socket on Linux's end.
#![allow(clippy::unwrap_used)]

use freeway_port::Port;
use freeway_port::conformance;
use freeway_tap::{LinuxEnd, Tap, configure};

use crate::namespace::in_namespace;
use crate::raw_socket::RawSocket;

fn lay(mtu: u16) -> (Tap, RawSocket) {
    let mut taps = Tap::open("fwtest0", 1).unwrap();
    configure(&mut taps, &LinuxEnd { mtu, ..LinuxEnd::default() }).unwrap();
    (taps.pop().unwrap(), RawSocket::open("fwtest0"))
}

#[test]
fn a_tap_conforms() {
    in_namespace("a_tap_conforms", || conformance::run(|| lay(1_500)));
}

#[test]
fn a_jumbo_tap_conforms() {
    in_namespace("a_jumbo_tap_conforms", || conformance::run(|| lay(9_000)));
}

#[test]
fn no_wake_up_is_lost() {
    in_namespace("no_wake_up_is_lost", || {
        let (mut port, peer) = lay(1_500);
        let pool = conformance::pool_for(port.info(), 4_096);
        port.attach(&pool).unwrap();
        conformance::no_wake_up_is_lost(port, &pool, || peer);
    });
}
