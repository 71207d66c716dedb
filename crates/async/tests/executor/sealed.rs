//! Once its connections are open, an executor allocates nothing: reads, writes, wake-ups, sleeps, time-outs.

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use freeway::Duration;
use freeway_async::{TcpListener, TcpStream, UdpSocket, sleep, spawn, timeout};
use futures_util::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, server_addr};

#[global_allocator]
static HEAP: AllocDisabler = AllocDisabler;

#[test]
fn nothing_is_allocated_while_streams_and_sockets_talk() {
    let server = || async {
        let udp = UdpSocket::bind(None, 7).unwrap();
        spawn(async move {
            loop {
                let datagram = udp.receive().await.unwrap();
                udp.reply(datagram).unwrap();
            }
        })
        .unwrap()
        .detach();
        let listener = TcpListener::bind(7).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            spawn(async move {
                let mut bytes = [0; 2_048];
                while let Ok(Ok(count @ 1..)) = timeout(Duration::from_secs(9), stream.read(&mut bytes)).await
                {
                    stream.write_all(&bytes[..count]).await.unwrap();
                }
            })
            .unwrap()
            .detach();
        }
    };
    let mut world = World::new(server, || async {
        for number in 0..50u64 {
            spawn(async move {
                let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
                let mut bytes = [number as u8; 1_500];
                loop {
                    stream.write_all(&bytes).await.unwrap();
                    stream.read_exact(&mut bytes).await.unwrap();
                    assert!(bytes.iter().all(|&byte| byte == number as u8));
                    sleep(Duration::from_micros(number * 37)).await;
                }
            })
            .unwrap()
            .detach();
        }
        let socket = UdpSocket::bind(None, 5_000).unwrap();
        let mut into = [0; 64];
        loop {
            socket.send_to(b"ping", server_addr(7)).unwrap();
            assert_eq!(socket.recv_from(&mut into).await.unwrap().0, 4);
        }
    });
    world.run(Duration::from_secs(1));
    let before = world.client.app().counters().polls;
    assert_no_alloc(|| world.run(Duration::from_secs(2)));
    let counters = world.client.app().counters();
    assert!(counters.polls > before + 10_000 && counters.panicked == 0, "{counters:?}");
    assert_eq!(world.server.app().counters().panicked, 0);
}
