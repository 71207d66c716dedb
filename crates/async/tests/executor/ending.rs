//! Ending in order, and panics.

use std::io::ErrorKind;

use freeway::Duration;
use freeway_async::{JoinError, JoinHandle, TcpListener, TcpStream, now, quiesce, shutdown, sleep, spawn};
use futures_util::future::{Either, select};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use std::pin::pin;

use crate::world::{Slot, World, server_addr};

/// Serves until it is asked to end; then answers what is under way.
async fn serve(done: Slot<bool>) {
    let listener = TcpListener::bind(7).unwrap();
    loop {
        let (accept, word) = (pin!(listener.accept()), pin!(shutdown()));
        let Either::Left((accepted, _)) = select(accept, word).await else { break };
        let (mut stream, _) = accepted.unwrap();
        let task = spawn(async move {
            let mut said = [0; 4];
            stream.read_exact(&mut said).await.unwrap();
            sleep(Duration::from_millis(200)).await;
            stream.write_all(&said).await.unwrap();
        });
        task.unwrap().detach();
    }
    drop(listener);
    done.put(quiesce(Duration::from_secs(2)).await);
}

#[test]
fn what_is_under_way_is_answered_and_what_is_new_is_refused() {
    let done = Slot::new();
    let slot = done.clone();
    let mut world = World::new(
        move || serve(slot),
        || async {
            let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
            stream.write_all(b"ping").await.unwrap();
            sleep(Duration::from_millis(150)).await;
            let error = TcpStream::connect(server_addr(7)).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard, "ping");
        },
    );
    world.run(Duration::from_millis(100));
    let handle = world.server.app().shutdown_handle();
    std::thread::spawn(move || handle.shut_down()).join().unwrap();
    world.finish(Duration::from_secs(3));
    world.run(Duration::from_millis(100));
    assert_eq!(done.take(), Some(true));
    world.assert_clean(0);
}

#[test]
fn waiting_for_the_end_has_an_end() {
    let done = Slot::new();
    let slot = done.clone();
    let mut world = World::new(
        || async {},
        move || async move {
            let stuck = spawn(std::future::pending::<()>()).unwrap();
            let begun = now();
            assert!(!quiesce(Duration::from_millis(100)).await);
            assert!(now().since(begun) < Duration::from_millis(120));
            stuck.cancel();
            slot.put(quiesce(Duration::from_millis(100)).await);
        },
    );
    world.finish(Duration::from_secs(1));
    assert_eq!(done.take(), Some(true));
}

#[test]
fn a_panic_ends_its_task_resets_its_stream_and_nothing_else() {
    let server = || async {
        let listener = TcpListener::bind(7).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let task = spawn(async move {
                let mut said = [0; 4];
                stream.read_exact(&mut said).await.unwrap();
                stream.write_all(b"half of").await.unwrap();
                assert_ne!(&said, b"boom", "it was asked for");
                stream.write_all(b" it").await.unwrap();
            });
            task.map(JoinHandle::detach).unwrap();
        }
    };
    let mut world = World::new(server, || async {
        let mut heard = Vec::new();
        let mut victim = TcpStream::connect(server_addr(7)).await.unwrap();
        victim.write_all(b"boom").await.unwrap();
        let error = victim.read_to_end(&mut heard).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "not an end that looks whole");
        let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        heard.clear();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"half of it");
    });
    while world.client.app().tasks() > 0 {
        world.turn();
    }
    assert_eq!(world.server.app().counters().panicked, 1);
    assert_eq!(world.client.app().counters().panicked, 0);
    world.assert_clean(1);
}

#[test]
fn who_waits_for_a_task_hears_of_its_panic() {
    let heard = Slot::new();
    let slot = heard.clone();
    let mut world = World::new(
        || async {},
        move || async move {
            let task = spawn(async { panic!("number {}", 7) }).unwrap();
            slot.put(task.await);
        },
    );
    world.run(Duration::from_millis(1));
    assert_eq!(heard.take(), Some(Err::<(), _>(JoinError::Panicked("number 7".into()))));
}
