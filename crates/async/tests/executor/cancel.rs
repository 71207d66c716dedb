//! What is dropped half-way has done nothing, or exactly half.

use std::io::ErrorKind;
use std::task::{Context, Poll, Waker};

use freeway::{CloseReason, Duration};
use freeway_async::{JoinError, TcpListener, TcpStream, sleep, spawn, timeout};
use futures_util::{AsyncReadExt, AsyncWriteExt};

use crate::tcp::echo;
use crate::world::{Slot, World, level, server_addr};

/// A read that is dropped again and again, at whatever moment, loses no byte.
#[test]
fn a_read_that_is_dropped_loses_nothing() {
    let server = || async {
        let listener = TcpListener::bind(7).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        for number in 0..200u8 {
            stream.write_all(&[number]).await.unwrap();
            sleep(Duration::from_micros(700)).await;
        }
    };
    let mut world = World::new(server, || async {
        let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
        let (mut heard, mut dropped) = (Vec::new(), 0);
        loop {
            let mut byte = [0];
            match timeout(Duration::from_micros(200), stream.read(&mut byte)).await {
                Ok(Ok(0)) => break,
                Ok(read) => heard.extend_from_slice(&byte[..read.unwrap()]),
                Err(_) => dropped += 1,
            }
        }
        assert_eq!(heard, (0..200u8).collect::<Vec<_>>());
        assert!(dropped > 100, "{dropped} reads were dropped");
    });
    world.finish(Duration::from_secs(5));
    world.assert_clean(0);
}

#[test]
fn an_accept_that_is_dropped_loses_nobody() {
    let server = || async {
        let listener = TcpListener::bind(7).unwrap();
        let mut accepted = 0;
        while accepted < 20 {
            if let Ok(stream) = timeout(Duration::from_micros(100), listener.accept()).await {
                stream.unwrap();
                accepted += 1;
            }
        }
    };
    let mut world = World::new(server, || async {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        }
    });
    world.finish(Duration::from_secs(5));
    world.assert_clean(0);
}

#[test]
fn a_connect_that_is_dropped_takes_the_connection_back() {
    let mut world = World::new(
        || async {},
        || async {
            // Nobody there answers, not even with a reset.
            let nowhere = "198.18.0.77:7".parse().unwrap();
            assert!(timeout(Duration::from_millis(300), TcpStream::connect(nowhere)).await.is_err());
            sleep(Duration::from_millis(100)).await;
        },
    );
    world.finish(Duration::from_secs(2));
    assert_eq!(world.client.stack().occupancy().connections.0, 0);
    assert_eq!(level(&world.client, "streams"), 0);
}

#[test]
fn a_cancelled_task_lets_go_of_its_connection() {
    let server = || async {
        let listener = TcpListener::bind(7).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let holder = spawn(async move {
            let _held = &stream;
            std::future::pending::<()>().await;
        })
        .unwrap();
        sleep(Duration::from_millis(50)).await;
        holder.cancel();
        assert!(holder.is_finished());
        assert_eq!(holder.await, Err(JoinError::Cancelled));
    };
    let mut world = World::new(server, || async {
        let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "an end in order");
    });
    world.finish(Duration::from_secs(2));
    assert_eq!(world.server.app().counters().cancelled, 1);
    world.assert_clean(0);
}

#[test]
fn a_stream_dropped_with_bytes_unread_is_reset() {
    let server = || async {
        let listener = TcpListener::bind(7).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        sleep(Duration::from_millis(50)).await;
        drop(stream);
    };
    let mut world = World::new(server, || async {
        let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
        stream.write_all(b"nobody reads this").await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
    world.finish(Duration::from_secs(2));
    world.assert_clean(0);
}

/// A future taken out of its executor and dropped between turns: its stream is closed in the next.
#[test]
fn what_is_dropped_between_turns_is_let_go_of_in_the_next() {
    let carried = Slot::new();
    let slot = carried.clone();
    let mut world = World::new(echo, move || async move {
        let listener = TcpListener::bind(9).unwrap();
        slot.put((TcpStream::connect(server_addr(7)).await.unwrap(), listener));
    });
    world.finish(Duration::from_secs(1));
    let (stream, listener) = carried.take().unwrap();
    assert!(stream.peer_addr().is_err(), "there is no stack between turns");
    let cx = Context::from_waker(Waker::noop());
    assert!(matches!(listener.poll_accept(&cx), Poll::Ready(Err(_))), "and nobody is lost by asking");
    drop((stream.into_split(), listener));
    world.assert_clean(1);
}

#[test]
fn the_end_of_an_executor_cancels_its_tasks() {
    let reason = Slot::new();
    let slot = reason.clone();
    let mut world = World::new(echo, move || async move {
        let stream = TcpStream::connect(server_addr(7)).await.unwrap();
        let reader = spawn(async move { stream.ended().await }).unwrap();
        slot.put(());
        std::future::pending::<CloseReason>().await;
        drop(reader);
    });
    world.run(Duration::from_millis(100));
    reason.take().expect("the connection is open");
    let World { server, client, .. } = world;
    // Neither order leaves a future that holds its own executor.
    drop(client);
    drop(server);
}
