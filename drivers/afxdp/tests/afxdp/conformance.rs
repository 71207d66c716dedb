//! The suite of all ports, with a raw socket on Linux's end of a veth pair.
#![allow(clippy::unwrap_used)]

use freeway_afxdp::{Afxdp, AfxdpConfig, BusyPoll, CopyMode, Device, Mode, Steering, VethConfig, VethPair};
use freeway_port::Port;
use freeway_port::conformance;

use crate::namespace::in_namespace;
use crate::raw_socket::RawSocket;

fn lay(mtu: u16, mode: Mode) -> (Afxdp, RawSocket) {
    lay_with(mtu, mode, None)
}

fn lay_with(mtu: u16, mode: Mode, busy_poll: Option<BusyPoll>) -> (Afxdp, RawSocket) {
    let config = VethConfig { name: "fwtest0".into(), addresses: Vec::new(), mtu, queues: 1 };
    let pair = VethPair::create(&config).unwrap();
    let steering = Steering { whole_interface: true, ..Steering::default() };
    let config = AfxdpConfig { mode, copy: CopyMode::Copy, steering, busy_poll, ..AfxdpConfig::new("") };
    let device = Device::open_pair(config, pair).unwrap();
    assert_eq!(device.mode(), mode);
    (device.divide(1).remove(0).into_port(), RawSocket::open("fwtest0"))
}

#[test]
fn a_native_socket_conforms() {
    in_namespace("a_native_socket_conforms", || conformance::run(|| lay(1_500, Mode::Native)));
}

#[test]
fn a_generic_socket_conforms() {
    in_namespace("a_generic_socket_conforms", || conformance::run(|| lay(1_500, Mode::Generic)));
}

#[test]
fn a_socket_with_pages_for_buffers_conforms() {
    in_namespace("a_socket_with_pages_for_buffers_conforms", || {
        conformance::run(|| lay(3_400, Mode::Native));
    });
}

#[test]
fn a_jumbo_socket_conforms() {
    in_namespace("a_jumbo_socket_conforms", || conformance::run(|| lay(9_000, Mode::Native)));
}

#[test]
fn a_busy_polling_socket_conforms() {
    in_namespace("a_busy_polling_socket_conforms", || {
        let busy_poll = Some(BusyPoll { us: 20, budget: 64 });
        conformance::run(|| lay_with(1_500, Mode::Native, busy_poll));
    });
}

/// Native, generic, and busy polling; with the peer's frames from another thread of the same namespace.
#[test]
fn no_wake_up_is_lost() {
    in_namespace("no_wake_up_is_lost", || {
        let busy_poll = Some(BusyPoll { us: 20, budget: 64 });
        for (mode, busy_poll) in [(Mode::Native, None), (Mode::Generic, None), (Mode::Native, busy_poll)] {
            let (mut port, peer) = lay_with(1_500, mode, busy_poll);
            let pool = conformance::pool_for(port.info(), 4_096);
            port.attach(&pool).unwrap();
            conformance::no_wake_up_is_lost(port, &pool, || peer);
        }
    });
}
