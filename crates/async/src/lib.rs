//! Sockets and timers to await, on a core's own executor.
//!
//! [`Executor`] is a [`freeway::Application`] that runs tasks instead of callbacks. It stays on its core and shares nothing
//! with others: tasks are `!Send`, there is no lock, and a task is polled in the turn in which what it waits for arrived.
//!
//! | item | what it is |
//! |---|---|
//! | [`TcpListener`], [`TcpStream`], [`ReadHalf`], [`WriteHalf`] | TCP, with `futures-io`'s traits; frames without a copy by [`receive`](TcpStream::receive) and [`send`](TcpStream::send) |
//! | [`UdpSocket`] | UDP |
//! | [`sleep()`], [`timeout()`], [`interval()`] | the core's time, which a simulation moves by hand |
//! | [`spawn()`], [`JoinHandle`], [`yield_now()`] | tasks of this core |
//! | [`shutdown()`], [`ShutdownHandle`], [`quiesce()`] | ending in order |
//! | `hyper` (feature) | hyper's `rt` traits |
//!
//! # Example
//!
//! An echo server and its client, each on a core of its own, joined by a [`pipe`](freeway::port::pipe) on a clock that the
//! example moves by hand:
//!
//! ```
//! use freeway::port::{PipeConfig, pipe};
//! use freeway::{Duration, HostConfig, Instant, Interface, Mailboxes, Secrets};
//! use freeway_async::{Executor, ExecutorConfig, TcpListener, TcpStream, spawn};
//! use futures_util::{AsyncReadExt, AsyncWriteExt};
//!
//! async fn serve() {
//!     let listener = TcpListener::bind(7).expect("nobody else listens on port 7");
//!     while let Ok((stream, _peer)) = listener.accept().await {
//!         let echo = async move {
//!             let (mut reader, mut writer) = stream.into_split();
//!             futures_util::io::copy(&mut reader, &mut writer).await
//!         };
//!         // Past `max_tasks` the connection is closed, and the next one tried.
//!         let _ = spawn(echo).map(freeway_async::JoinHandle::detach);
//!     }
//! }
//!
//! async fn ask() {
//!     let mut stream = TcpStream::connect("198.18.0.2:7".parse().unwrap()).await.expect("it listens");
//!     stream.write_all(b"hello").await.expect("there is room");
//!     stream.close().await.expect("it is open");
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer).await.expect("it answers");
//!     assert_eq!(answer, "hello");
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut now = Instant::ZERO;
//! let (left, right) = pipe(&PipeConfig::default())?;
//! let config = HostConfig::new(Secrets::random()?).max_connections(100).buffers(512);
//!
//! let (mail, interface) = (Mailboxes::single()?, Interface::new(left).address("198.18.0.2/24".parse()?));
//! let app = Executor::new(&mail, ExecutorConfig::default(), serve);
//! let mut server = config.build(mail, now, app, [interface])?;
//! let (mail, interface) = (Mailboxes::single()?, Interface::new(right).address("198.18.0.3/24".parse()?));
//! let app = Executor::new(&mail, ExecutorConfig::default(), ask);
//! let mut client = config.build(mail, now, app, [interface])?;
//!
//! client.start(now);
//! while client.app().tasks() > 0 {
//!     client.poll(now);
//!     server.poll(now);
//!     now += Duration::from_micros(10);
//!     assert!(now < Instant::from_secs(1), "the answer is late");
//! }
//! assert_eq!(client.app().counters().panicked, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//!
//! - **Bounds.** Everything is sized by [`ExecutorConfig`] at start; at a bound the operation fails or waits, and is counted
//!   under `async` among the core's counters. Spawning allocates the future; reading, writing, waking, sleeping allocate
//!   nothing.
//! - **Panics.** A task that panics is gone: its [`JoinHandle`] says so, its streams are reset, and the core goes on. In a
//!   program built with `panic = "abort"`, as the `freeway` command is, a panic ends the process.
//! - **Other threads.** A waker may be used from any thread: a channel's far end, say. What it wakes runs on its core, which
//!   is woken if it sleeps. Everything else stays where it was made: a stream polled elsewhere returns an error.
//! - **Fairness.** A poll cannot find more than this turn brought, so a loop over reads ends; a task that computes for long
//!   delays its core and should [`yield_now()`].

#![forbid(unsafe_code)]

mod current;
mod executor;
mod handle;
#[cfg(feature = "hyper")]
mod hyper;
mod listeners;
mod ready;
mod shutdown;
mod sockets;
mod streams;
mod task;
mod tasks;
mod tcp;
mod time;
mod timers;
mod udp;

pub use crate::executor::{Executor, ExecutorConfig, ExecutorCounters};
#[cfg(feature = "hyper")]
pub use crate::hyper::{HyperExecutor, HyperIo, HyperTimer};
pub use crate::shutdown::{ShutdownHandle, quiesce, shutdown};
pub use crate::streams::Place;
pub use crate::task::{JoinError, JoinHandle, SpawnError, spawn, yield_now};
pub use crate::tcp::{ReadHalf, TcpListener, TcpStream, WriteHalf};
pub use crate::time::{Elapsed, Interval, Sleep, interval, now, sleep, sleep_until, timeout};
pub use crate::udp::UdpSocket;
