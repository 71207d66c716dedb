//! The suite of all ports, in each role and with and without copies.
#![allow(clippy::unwrap_used)]

use freeway_mem::PoolConfig;
use freeway_memif::{Config, Memif, Role};
use freeway_port::Port;
use freeway_port::conformance::{self, PortPeer};

use crate::lab::{config, meet, open_one, pair, path, pool, pool_of, trusting};

/// A cable with the server at the near end, or the client.
fn lay(server_is_near: bool, change: impl Fn(&mut Config)) -> (Memif, PortPeer<Memif>) {
    let (mut server, mut client) = pair(change);
    let pool = pool(16, false);
    meet(&pool, &mut [&mut server, &mut client]);
    let (near, far) = if server_is_near { (server, client) } else { (client, server) };
    (near, PortPeer::new(far))
}

#[test]
fn a_server_conforms() {
    conformance::run(|| lay(true, |_| ()));
}

#[test]
fn a_client_conforms() {
    conformance::run(|| lay(false, |_| ()));
}

#[test]
fn a_jumbo_pair_with_small_buffers_conforms() {
    // Frames of 9,018 bytes take 18 slots.
    let change = |config: &mut Config| {
        (config.mtu, config.buffer_size, config.ring_log2) = (9_000, 512, 12);
    };
    conformance::run(|| lay(true, change));
    conformance::run(|| lay(false, change));
}

/// A client that lends the very pool it is given to receive into.
#[test]
fn a_client_that_lends_conforms() {
    for mtu in [1_500, 4_000] {
        conformance::run_attached(|| {
            let (mut server, mut client) = pair(|config| {
                trusting(config);
                config.mtu = mtu;
            });
            let headroom = u32::from(PoolConfig::default().headroom);
            let buffer_size = (client.info().frame_max() as u32 + headroom + 1).next_power_of_two();
            let lent =
                pool_of(&PoolConfig { buffers: 4_096, buffer_size, shared: true, ..PoolConfig::default() });
            meet(&lent, &mut [&mut client]);
            assert_eq!(client.lent(), 1_024, "a quarter, as many as the ring has slots");
            meet(&pool(16, false), &mut [&mut server]);
            (client, PortPeer::new(server), lent)
        });
    }
}

#[test]
fn no_wake_up_is_lost_in_either_role() {
    for near in [Role::Server, Role::Client] {
        let socket = path();
        let far = if near == Role::Server { Role::Client } else { Role::Server };
        let mut port = open_one(&config(near, socket.clone())).into_port();
        let pool = conformance::pool_for(port.info(), 4_096);
        port.attach(&pool).unwrap();
        // A port stays on the thread that it is attached on.
        let peer = || PortPeer::new(open_one(&config(far, socket)).into_port());
        conformance::no_wake_up_is_lost(port, &pool, peer);
    }
}
