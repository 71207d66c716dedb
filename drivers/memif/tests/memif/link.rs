//! Connections that come and go.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use freeway_mem::{RxBurst, TxBurst};
use freeway_memif::{Config, OpenError, Reason, Role, SocketName, open};
use freeway_port::{Armed, Port, RxQueue, TxQueue};

use crate::lab::{
    PATIENCE, config, ended, meet, open_one, pair, path, pool, receive, send, trusting, until, ups_and_downs,
};

#[test]
fn frames_before_there_is_a_peer_are_dropped_and_counted() {
    let pool = pool(16, false);
    let mut port = open_one(&config(Role::Client, path())).into_port();
    assert!(send(&mut port, &pool, b"frame"));
    assert_eq!(port.rx_burst(&pool, &mut RxBurst::new()), 0);
    assert!(matches!(port.arm(), Armed::Fd(_)));
    port.disarm();
    assert_eq!((port.counters().tx_dropped_no_link, ups_and_downs(&port)), (1, (0, 0)));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_client_finds_its_server_again() {
    let (pool, socket) = (pool(64, false), path());
    let mut client = open_one(&config(Role::Client, socket.clone())).into_port();
    for round in 1..=3 {
        let mut server = open_one(&config(Role::Server, socket.clone())).into_port();
        until("the link", || {
            client.rx_burst(&pool, &mut RxBurst::new());
            server.rx_burst(&pool, &mut RxBurst::new());
            client.counters().link_ups == round && server.counters().link_ups == 1
        });
        assert!(client.status().peer().ends_with("/server"), "{}", client.status().peer());
        assert!(send(&mut server, &pool, b"to the client") && send(&mut client, &pool, b"to the server"));
        assert_eq!(receive(&mut client, &pool).unwrap(), b"to the client");
        assert_eq!(receive(&mut server, &pool).unwrap(), b"to the server");
        assert!(server.status().peer().ends_with("/client"));
        drop(server);
        until("the end", || {
            client.rx_burst(&pool, &mut RxBurst::new());
            client.counters().link_downs == round
        });
        assert!(!client.status().is_up());
    }
    assert_eq!(client.status().ended(Reason::PeerDisconnected) + client.status().ended(Reason::PeerGone), 3);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_server_takes_the_next_client() {
    let (pool, socket) = (pool(64, false), path());
    let mut server = open_one(&config(Role::Server, socket.clone())).into_port();
    for round in 1..=3 {
        let mut client = open_one(&config(Role::Client, socket.clone())).into_port();
        until("the link", || {
            client.rx_burst(&pool, &mut RxBurst::new());
            server.rx_burst(&pool, &mut RxBurst::new());
            server.counters().link_ups == round && client.counters().link_ups == 1
        });
        assert!(send(&mut client, &pool, &[round as u8; 60]));
        drop(client);
        assert_eq!(receive(&mut server, &pool).unwrap(), [round as u8; 60], "sent before the end");
        until("the end", || {
            server.rx_burst(&pool, &mut RxBurst::new());
            server.counters().link_downs == round
        });
    }
}

#[test]
fn packets_lent_to_a_peer_that_ends_come_home() {
    let shared = pool(1_024, true);
    let (mut server, mut client) = pair(trusting);
    meet(&shared, &mut [&mut server, &mut client]);
    // The packets to receive into, and some that the server does not read.
    client.rx_burst(&shared, &mut RxBurst::new());
    let mut burst: TxBurst = (0..32)
        .map(|_| {
            let mut packet = shared.alloc().unwrap();
            packet.append(60).unwrap().fill(1);
            packet.share()
        })
        .collect();
    assert_eq!(client.tx_burst(&mut burst), 32);
    assert_eq!(shared.in_use(), 1_024 / 4 + 32);
    drop(server);
    until("the end", || {
        client.rx_burst(&shared, &mut RxBurst::new());
        shared.in_use() == 0
    });
    assert_eq!(ups_and_downs(&client), (1, 1));
}

#[test]
fn one_socket_serves_many_interfaces_told_apart_by_id_and_secret() {
    let (pool, socket) = (pool(64, false), path());
    let server = |id, secret: &str| Config {
        id,
        secret: secret.into(),
        name: format!("server{id}"),
        ..config(Role::Server, socket.clone())
    };
    let servers = open(&[server(1, "one"), server(2, "two"), server(3, "")]).unwrap();
    let mut servers: Vec<_> =
        servers.into_iter().map(|mut queues| queues.pop().unwrap().into_port()).collect();
    let client = |id, secret: &str| {
        open_one(&Config { id, secret: secret.into(), ..config(Role::Client, socket.clone()) }).into_port()
    };
    let mut clients = [client(1, "one"), client(2, "two"), client(3, "ignored")];
    for (server, client) in servers.iter_mut().zip(&mut clients) {
        meet(&pool, &mut [server, client]);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert!(send(client, &pool, &[number as u8; 60]));
    }
    for (number, server) in servers.iter_mut().enumerate() {
        assert_eq!(receive(server, &pool).unwrap(), [number as u8; 60]);
    }
    drop(clients);
    until("the ends", || servers.iter().all(|server| !server.status().is_up()));
    for (id, secret, reason) in
        [(1, "two", Reason::Secret), (2, "", Reason::Secret), (9, "", Reason::UnknownId)]
    {
        let stranger = client(id, secret);
        until("being turned away", || ended(stranger.status(), Reason::PeerDisconnected));
        // Whoever is turned away is counted for the first interface.
        assert!(servers[0].status().ended(reason) > 0, "{reason}");
        assert!(!stranger.status().is_up());
    }
}

#[test]
fn a_second_client_is_told_that_the_interface_is_taken() {
    let socket = path();
    let server = open_one(&config(Role::Server, socket.clone())).into_port();
    let first = open_one(&config(Role::Client, socket.clone())).into_port();
    assert!(first.status().wait_for(true, PATIENCE));
    let second = open_one(&config(Role::Client, socket)).into_port();
    until("being turned away", || ended(second.status(), Reason::PeerDisconnected));
    assert!(server.status().ended(Reason::Busy) > 0);
    assert!(first.status().is_up() && !second.status().is_up());
    drop(first);
    assert!(second.status().wait_for(true, PATIENCE), "the next one is let in");
}

#[test]
fn abstract_names_need_no_file() {
    let pool = pool(64, false);
    let name = SocketName::Abstract(format!("freeway-memif-test-{}", std::process::id()));
    let (mut server, mut client) = pair(|config| config.socket = name.clone());
    meet(&pool, &mut [&mut server, &mut client]);
    assert!(send(&mut server, &pool, b"frame"));
    assert_eq!(receive(&mut client, &pool).unwrap(), b"frame");
    assert!(matches!(open(&[Config { socket: name, ..Config::default() }]), Err(OpenError::Listen { .. })));
}

#[test]
fn queues_do_not_mix_and_a_peer_with_fewer_leaves_the_others_idle() {
    let (pool, socket) = (pool(256, false), path());
    let queues = |role, queues| Config { queues, ring_log2: 5, ..config(role, socket.clone()) };
    let ports = |config: Config| {
        let queues = open(&[config]).unwrap().pop().unwrap();
        queues.into_iter().map(freeway_memif::MemifQueue::into_port).collect::<Vec<_>>()
    };
    let mut servers = ports(queues(Role::Server, 3));
    for count in [3, 2] {
        let mut clients = ports(queues(Role::Client, count));
        assert!(clients[0].status().wait_for(true, PATIENCE));
        for (number, (server, client)) in servers.iter_mut().zip(&mut clients).enumerate() {
            server.rx_burst(&pool, &mut RxBurst::new());
            client.rx_burst(&pool, &mut RxBurst::new());
            assert!(send(client, &pool, &[number as u8; 60]) && send(server, &pool, &[number as u8; 61]));
        }
        for (number, (server, client)) in servers.iter_mut().zip(&mut clients).enumerate() {
            assert_eq!(receive(server, &pool).unwrap(), [number as u8; 60]);
            assert_eq!(receive(client, &pool).unwrap(), [number as u8; 61]);
        }
        if count == 2 {
            let before = servers[2].counters().tx_dropped_no_link;
            assert!(send(&mut servers[2], &pool, &[9; 60]));
            assert_eq!(servers[2].counters().tx_dropped_no_link, before + 1);
        }
        drop(clients);
        until("the end", || {
            servers.iter_mut().for_each(|server| {
                server.rx_burst(&pool, &mut RxBurst::new());
            });
            servers.iter().all(|server| server.counters().link_ups == server.counters().link_downs)
        });
    }
}

#[test]
fn a_sleeping_port_is_woken_when_its_link_comes_and_goes() {
    use rustix::event::{PollFd, PollFlags, poll};
    let (pool, socket) = (pool(64, false), path());
    let mut client = open_one(&config(Role::Client, socket.clone())).into_port();
    client.rx_burst(&pool, &mut RxBurst::new());
    let sleeps = |client: &mut freeway_memif::Memif, at_most: Duration| {
        let woken = match client.arm() {
            Armed::Ready => true,
            Armed::Fd(fd) => {
                let at_most = rustix::event::Timespec { tv_sec: at_most.as_secs() as i64, tv_nsec: 0 };
                poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&at_most)).unwrap() > 0
            }
            Armed::Never => panic!("frames do arrive"),
        };
        client.disarm();
        client.rx_burst(&pool, &mut RxBurst::new());
        woken
    };
    // While the thread that keeps the link holds it, the port is ready and gets nothing.
    let mut sleeps_until = |what: &str, expected| {
        let begun = std::time::Instant::now();
        while ups_and_downs(&client) != expected {
            assert!(begun.elapsed() < PATIENCE, "{what}, and the port does not get to know");
            assert!(sleeps(&mut client, PATIENCE), "{what}, and nothing woke it");
            std::thread::yield_now();
        }
    };
    let server = open_one(&config(Role::Server, socket));
    sleeps_until("the link came", (1, 0));
    drop(server);
    sleeps_until("the link went", (1, 1));
}

#[test]
fn two_servers_of_one_id_on_one_socket_are_refused() {
    let one = config(Role::Server, path());
    let error = open(&[one.clone(), one]).unwrap_err();
    assert!(error.to_string().contains("have the id 0"), "{error}");
}
