//! Datagrams.

use std::io::ErrorKind;

use freeway::Duration;
use freeway_async::{ExecutorConfig, UdpSocket, sleep, timeout};

use crate::world::{World, server_addr, small};

/// Answers each datagram in the buffer it came in.
async fn respond() {
    let socket = UdpSocket::bind(None, 7).unwrap();
    loop {
        let mut datagram = socket.receive().await.unwrap();
        datagram.packet.data_mut().reverse();
        socket.reply(datagram).unwrap();
    }
}

#[test]
fn a_datagram_is_answered_from_where_it_was_sent_to() {
    let mut world = World::new(respond, || async {
        let socket = UdpSocket::bind(None, 5_000).unwrap();
        let mut into = [0; 16];
        for said in [&b"abc"[..], b"", b"datagram"] {
            socket.send_to(said, server_addr(7)).unwrap();
            let (count, from) = socket.recv_from(&mut into).await.unwrap();
            assert_eq!(from, server_addr(7));
            assert!(into[..count].iter().eq(said.iter().rev()));
        }
    });
    world.finish(Duration::from_secs(1));
    assert_eq!(world.client.stack().occupancy().buffers.0, 0);
}

#[test]
fn a_full_queue_loses_the_newest() {
    let config = ExecutorConfig { socket_queue: 4, ..small() };
    let server = || async {
        let socket = UdpSocket::bind(None, 7).unwrap();
        assert_eq!(socket.receive().await.unwrap().packet.data(), b"first");
        sleep(Duration::from_millis(100)).await;
        for number in 0..4u8 {
            assert_eq!(socket.receive().await.unwrap().packet.data(), [number]);
        }
        assert!(timeout(Duration::from_millis(10), socket.receive()).await.is_err());
    };
    let mut world = World::with_config(config, server, || async {
        let socket = UdpSocket::bind(None, 5_000).unwrap();
        // Only a few datagrams wait for a neighbour's address: it is learnt first.
        socket.send_to(b"first", server_addr(7)).unwrap();
        sleep(Duration::from_millis(10)).await;
        for number in 0..10u8 {
            socket.send_to(&[number], server_addr(7)).unwrap();
        }
        sleep(Duration::from_millis(200)).await;
    });
    world.finish(Duration::from_secs(1));
    assert_eq!(world.server.app().counters().dropped_queue_full, 6);
    assert_eq!((world.server.app().tasks(), world.server.stack().occupancy().buffers.0), (0, 0));
}

#[test]
fn a_port_is_given_back_and_what_does_not_fit_is_refused() {
    let mut world = World::new(
        || async {},
        || async {
            let socket = UdpSocket::bind(None, 53).unwrap();
            assert_eq!(UdpSocket::bind(None, 53).err().unwrap().kind(), ErrorKind::AddrInUse);
            assert_eq!(UdpSocket::bind(None, 0).err().unwrap().kind(), ErrorKind::InvalidInput);
            let error = socket.send_to(&[0; 60_000], server_addr(7)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            drop(socket);
            drop(UdpSocket::bind(None, 53).unwrap());
        },
    );
    world.finish(Duration::from_secs(1));
}
