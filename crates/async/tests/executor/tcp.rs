//! Streams: echo, frames, halves, flow control, refusal, bounds.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::rc::Rc;

use freeway::{CloseReason, Duration};
use freeway_async::{JoinHandle, TcpListener, TcpStream, sleep, spawn, timeout, yield_now};
use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt, stream::FuturesUnordered};

use crate::world::{Slot, World, level, server_addr, small};

/// Serves echo by copies, a task for each connection.
pub async fn echo() {
    let listener = TcpListener::bind(7).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let _ = spawn(async move {
            let (mut reader, mut writer) = stream.into_split();
            let _ = futures_util::io::copy(&mut reader, &mut writer).await;
        })
        .map(JoinHandle::detach);
    }
}

/// Serves echo by frames.
async fn echo_frames() {
    let listener = TcpListener::bind(7).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        spawn(async move {
            while let Some(frame) = stream.receive().await.unwrap() {
                stream.send(frame).await.unwrap();
            }
        })
        .unwrap()
        .detach();
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|place| (place * 31 / 7) as u8).collect()
}

/// Sends a megabyte, finishes, and hears all of it again.
async fn ask(len: usize) {
    let stream = TcpStream::connect(server_addr(7)).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let sender = spawn(async move {
        writer.write_all(&pattern(len)).await.unwrap();
        writer.close().await.unwrap();
        writer
    })
    .unwrap();
    let mut heard = Vec::new();
    reader.read_to_end(&mut heard).await.unwrap();
    assert!(heard == pattern(len), "{} of {len} bytes", heard.len());
    let stream = reader.unsplit(sender.await.unwrap()).map_err(drop).unwrap();
    assert_eq!(timeout(Duration::from_secs(2), stream.ended()).await, Ok(CloseReason::Finished));
}

#[test]
fn a_megabyte_comes_back_and_nothing_is_left() {
    let mut world = World::new(echo, || ask(1_000_000));
    world.finish(Duration::from_secs(20));
    world.assert_clean(1);
}

#[test]
fn frames_go_back_without_a_copy() {
    let mut world = World::new(echo_frames, || ask(300_000));
    world.finish(Duration::from_secs(20));
    world.assert_clean(1);
}

#[test]
fn thousands_of_tasks_and_connections_at_once() {
    let config = freeway_async::ExecutorConfig { max_tasks: 4_096, max_streams: 2_048, ..small() };
    let mut world = World::with_config(config, echo, || async {
        let mut clients: FuturesUnordered<_> = (0..2_000u32)
            .map(|number| {
                spawn(async move {
                    let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
                    for round in 0..3 {
                        let said = [number.to_be_bytes(), u32::to_be_bytes(round)].concat();
                        stream.write_all(&said).await.unwrap();
                        let mut heard = [0; 8];
                        stream.read_exact(&mut heard).await.unwrap();
                        assert_eq!(heard, said[..]);
                    }
                    number
                })
                .unwrap()
            })
            .collect();
        let mut sum = 0;
        while let Some(number) = clients.next().await {
            sum += number.unwrap();
        }
        assert_eq!(sum, 1_999 * 1_000);
    });
    world.finish(Duration::from_secs(60));
    assert_eq!(world.server.app().counters().spawned, 2_001);
    world.assert_clean(1);
}

#[test]
fn one_direction_ends_before_the_other() {
    let server = || async {
        let listener = TcpListener::bind(7).unwrap();
        let (mut stream, peer) = listener.accept().await.unwrap();
        assert_eq!((stream.peer_addr().unwrap(), stream.local_addr().unwrap()), (peer, server_addr(7)));
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        heard.reverse();
        stream.write_all(&heard).await.unwrap();
        stream.close().await.unwrap();
        assert_eq!(stream.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    };
    let mut world = World::new(server, || async {
        let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
        stream.write_all(b"abc").await.unwrap();
        stream.finish().unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "cba");
    });
    world.finish(Duration::from_secs(5));
    world.assert_clean(0);
}

#[test]
fn several_buffers_are_one_write_and_one_read() {
    let mut world = World::new(echo, || async {
        let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
        let said = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
        assert_eq!(stream.write_vectored(&said).await.unwrap(), 7);
        let (mut first, mut second) = ([0; 2], [0; 9]);
        let mut into = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(stream.read_vectored(&mut into).await.unwrap(), 7);
        assert_eq!((&first, &second[..5]), (b"on", &b"e two"[..]));
    });
    world.finish(Duration::from_secs(5));
}

#[test]
fn a_writer_waits_for_a_reader_and_for_no_one_else() {
    let written = Slot::new();
    let (slot, gate) = (written.clone(), Slot::new());
    let open = gate.clone();
    let server = move || async move {
        let listener = TcpListener::bind(7).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        while open.take().is_none() {
            sleep(Duration::from_millis(10)).await;
        }
        let mut heard = vec![0; 4 << 20];
        stream.read_exact(&mut heard).await.unwrap();
    };
    let mut world = World::new(server, move || async move {
        let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
        let bytes = pattern(4 << 20);
        let mut total = 0;
        while total < bytes.len() {
            total += stream.write(&bytes[total..]).await.unwrap();
            slot.put(total);
        }
    });
    world.run(Duration::from_secs(2));
    let stuck = written.take().unwrap();
    let polls = world.client.app().counters().polls;
    assert!((1_000..3 << 20).contains(&stuck), "{stuck} bytes went to a peer that does not read");
    world.run(Duration::from_secs(1));
    assert!(written.take().is_none() && world.client.app().counters().polls == polls, "the writer sleeps");
    gate.put(());
    world.finish(Duration::from_secs(20));
    assert_eq!(written.take(), Some(4 << 20));
    world.assert_clean(0);
}

#[test]
fn nobody_listens_there() {
    let mut world = World::new(
        || async {},
        || async {
            let error = TcpStream::connect(server_addr(99)).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let error = TcpStream::connect("203.0.113.1:7".parse().unwrap()).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        },
    );
    world.finish(Duration::from_secs(5));
    world.assert_clean(0);
}

#[test]
fn a_port_has_one_listener_until_that_is_dropped() {
    let mut world = World::new(
        || async {},
        || async {
            let first = TcpListener::bind(80).unwrap();
            assert_eq!(TcpListener::bind(80).err().unwrap().kind(), ErrorKind::AddrInUse);
            assert_eq!(TcpListener::bind(0).err().unwrap().kind(), ErrorKind::InvalidInput);
            drop(first);
            assert_eq!(TcpListener::bind(80).unwrap().port(), 80);
        },
    );
    world.finish(Duration::from_secs(1));
}

#[test]
fn a_reset_is_no_end() {
    let server = || async {
        let listener = TcpListener::bind(7).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        yield_now().await;
        stream.abort();
    };
    let mut world = World::new(server, || async {
        let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(stream.write(b"more").await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(stream.ended().await, CloseReason::Reset);
    });
    world.finish(Duration::from_secs(5));
    world.assert_clean(0);
}

#[test]
fn who_is_not_accepted_is_reset_when_the_listener_goes() {
    let server = || async {
        let listener = TcpListener::bind(7).unwrap();
        sleep(Duration::from_millis(200)).await;
        assert_eq!(listener.report().unwrap().backlog, 3);
    };
    let mut world = World::new(server, || async {
        let streams = [(); 3].map(|()| spawn(TcpStream::connect(server_addr(7))).unwrap());
        for stream in streams {
            let stream = stream.await.unwrap().unwrap();
            assert_eq!(stream.ended().await, CloseReason::Reset);
        }
    });
    world.finish(Duration::from_secs(5));
    world.assert_clean(0);
}

#[test]
fn who_left_before_being_accepted_is_left_out() {
    let server = || async {
        let listener = TcpListener::bind(7).unwrap();
        sleep(Duration::from_millis(300)).await;
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "still here");
        assert!(timeout(Duration::from_millis(100), listener.accept()).await.is_err());
    };
    let mut world = World::new(server, || async {
        for _ in 0..10 {
            TcpStream::connect(server_addr(7)).await.unwrap().abort();
        }
        let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
        stream.write_all(b"still here").await.unwrap();
    });
    world.finish(Duration::from_secs(5));
    world.assert_clean(0);
}

#[test]
fn past_the_bound_of_streams_connections_are_reset_and_later_ones_served() {
    let config = freeway_async::ExecutorConfig { max_streams: 8, ..small() };
    let held = Rc::new(std::cell::Cell::new(0));
    let count = Rc::clone(&held);
    let server = move || async move {
        let listener = TcpListener::bind(7).unwrap();
        let mut streams = Vec::new();
        while let Ok(accepted) = timeout(Duration::from_millis(500), listener.accept()).await {
            streams.push(accepted.unwrap().0);
            count.set(streams.len());
        }
        drop(streams);
        echo_once(&listener).await;
    };
    async fn echo_once(listener: &TcpListener) {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        futures_util::io::copy(&mut reader, &mut writer).await.unwrap();
    }
    let mut world = World::with_config(config, server, || async {
        // The client's own bound comes first for the ninth, so they come and go in two crowds.
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(TcpStream::connect(server_addr(7)).await.unwrap());
        }
        assert!(TcpStream::connect(server_addr(7)).await.is_err());
        drop(held);
        sleep(Duration::from_secs(2)).await;
        let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
        stream.write_all(b"again").await.unwrap();
        stream.close().await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "again");
    });
    world.finish(Duration::from_secs(10));
    assert_eq!(held.get(), 8);
    assert_eq!(world.client.app().counters().refused_streams_full, 1);
    world.assert_clean(0);
    assert_eq!(level(&world.server, "streams_max"), 8);
}
