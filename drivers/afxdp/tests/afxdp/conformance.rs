//! The suite of all ports, with a raw socket on Linux's end of a veth pair.
#![allow(clippy::unwrap_used)]

use freeway_afxdp::{Afxdp, AfxdpConfig, BusyPoll, CopyMode, Device, Mode, Steering, VethConfig, VethPair};
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
