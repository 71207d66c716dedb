//! Real threads and the real clock: wake-ups from elsewhere, cores that sleep, an end from outside.

use std::sync::mpsc;
use std::thread;

use freeway::port::{Pipe, PipeConfig, pipe};
use freeway::{
    BuildError, HostConfig, Idle, Interface, Memory, Runtime, RuntimeConfig, Seat, Secrets, Seed, StopHandle,
};
use freeway_async::{Executor, ShutdownHandle, TcpStream, quiesce, shutdown, spawn};
use futures_channel::{mpsc as channel, oneshot};
use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};

use crate::tcp::echo;
use crate::world::{server_addr, small};

/// A core on a thread of its own, which sleeps whenever it can.
fn start<M, F>(port: Pipe, addr: &'static str, main: M) -> (freeway::Running, ShutdownHandle)
where
    M: FnOnce(StopHandle) -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let runtime = Runtime::new(RuntimeConfig { idle: Idle::Sleep, ..RuntimeConfig::default() }).unwrap();
    let (tell, told) = mpsc::channel();
    let running = runtime
        .start([move |seat: Seat| -> Result<_, BuildError> {
            let (stop, now) = (seat.stop.clone(), seat.now());
            let app = Executor::new(&seat.mailboxes, small(), move || main(stop));
            tell.send(app.shutdown_handle())?;
            let mut host = HostConfig::new(Secrets::from_seed(Seed(7)))
                .max_connections(64)
                .buffers(1_024)
                .memory(Memory::Heap);
            host.stack.large_pool.buffers = 2;
            let interface = Interface::new(port).address(addr.parse()?);
            Ok(host.build(seat.mailboxes, now, app, [interface])?)
        }])
        .unwrap();
    (running, told.recv().unwrap())
}

#[test]
fn two_cores_that_sleep_talk_to_each_other() {
    let (left, right) = pipe(&PipeConfig::default()).unwrap();
    let (server, _) = start(left, "198.18.0.2/24", |_| echo());
    let (tell, told) = mpsc::channel();
    let (client, _) = start(right, "198.18.0.3/24", move |stop| async move {
        let mut stream = TcpStream::connect(server_addr(7)).await.unwrap();
        for round in 0..200u32 {
            stream.write_all(&round.to_be_bytes()).await.unwrap();
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(u32::from_be_bytes(heard), round);
        }
        tell.send(()).unwrap();
        stop.stop();
    });
    let stats = client.join().unwrap();
    told.try_recv().expect("all rounds were played");
    assert_eq!(stats[0].get("async", "panicked"), Some(0));
    let stats = server.stop().unwrap();
    assert!(stats[0].get("idle", "sleeps").unwrap() > 0);
}

/// A number at a time goes from a thread to a task of a core that sleeps, and back: a wake-up that was lost would stop it.
#[test]
fn a_thread_wakes_a_task_of_a_core_that_sleeps() {
    const ROUNDS: u32 = 5_000;
    let (left, _right) = pipe(&PipeConfig::default()).unwrap();
    let (mut there, mut numbers) = channel::channel::<u32>(1);
    let (back, answers) = mpsc::channel();
    let (running, _) = start(left, "198.18.0.2/24", move |stop| async move {
        while let Some(number) = numbers.next().await {
            back.send(number).unwrap();
        }
        stop.stop();
    });
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let mut rounds = 0;
    while rounds < ROUNDS && std::time::Instant::now() < deadline {
        there.try_send(rounds).unwrap();
        let heard = answers.recv_timeout(std::time::Duration::from_secs(20)).expect("a wake-up was lost");
        assert_eq!(heard, rounds);
        rounds += 1;
    }
    assert!(rounds > 50, "only {rounds} rounds: too few to find a race");
    drop(there);
    let stats = running.join().unwrap();
    assert!(stats[0].get("idle", "woken_by_fd").unwrap() > 0, "{:?}", stats[0]);
}

#[test]
fn a_thread_asks_a_core_that_sleeps_to_end() {
    let (left, _right) = pipe(&PipeConfig::default()).unwrap();
    let (running, handle) = start(left, "198.18.0.2/24", |stop| async move {
        let (send, heard) = oneshot::channel();
        spawn(async move {
            shutdown().await;
            send.send(()).unwrap();
        })
        .unwrap()
        .detach();
        shutdown().await;
        heard.await.unwrap();
        assert!(quiesce(freeway::Duration::from_secs(5)).await);
        stop.stop();
    });
    thread::sleep(std::time::Duration::from_millis(30));
    handle.shut_down();
    let stats = running.join().unwrap();
    assert_eq!(stats[0].get("async", "panicked"), Some(0));
    assert_eq!(stats[0].get("async_tables", "tasks"), Some(0));
}
