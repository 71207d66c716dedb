//! What an application imports.
//!
//! Freeway carries packets from a device to an application and back without leaving the thread: one core polls
//! its queues, runs the frames through a TCP/IP stack of its own, runs the application on what came of it, and
//! sends what both have to say. Nothing is shared between cores, so an application is written as if there were
//! only one.
//!
//! # The event interface
//!
//! An [`Application`] is told what happened, once a turn, after everything that arrived has gone through TCP:
//!
//! | event | what happened |
//! |---|---|
//! | [`start`](Application::start) | the core is about to run: listen, bind, connect |
//! | [`accepted`](Application::accepted) | a peer opened a connection |
//! | [`connected`](Application::connected) | a connection opened by [`Stack::connect`] is established |
//! | [`readable`](Application::readable) | bytes are there, or the peer has finished |
//! | [`writable`](Application::writable) | there is room again after a write came short |
//! | [`timer`](Application::timer) | the time set by [`Conn::set_timer`] has come |
//! | [`closed`](Application::closed) | the connection is over, and why |
//! | [`datagram`](Application::datagram) | a UDP datagram arrived |
//! | [`turn`](Application::turn) | a turn goes by, whatever happened |
//!
//! Events are levels, not edges: however many segments a burst held for one connection, it is readable once.
//! What belongs to a connection ([`Application::Conn`]) lies beside its TCB, in the same cache lines; what
//! belongs to the core is the application itself, and needs no lock.
//!
//! *Reading* costs no copy: [`Conn::peek`] shows the bytes in the frame they came in, [`Conn::receive`] takes
//! that frame. *Writing* takes a copy ([`Conn::write`]), or writes straight into a frame ([`Conn::reserve`],
//! [`Conn::commit`]), or lends memory of the application's own ([`Conn::lend`]). *Flow control* is explicit: what
//! is not read closes the peer's window, and what is written is taken as far as there is room.
//!
//! # An echo server and its client
//!
//! Both run on this thread, joined by a [`pipe`](port::pipe) in place of a device, on a clock that the example
//! moves by hand: exactly what a simulation does.
//!
//! ```
//! use freeway::port::{PipeConfig, pipe};
//! use freeway::{
//!     Application, Conn, ConnectConfig, Duration, HostConfig, Instant, Interface, ListenConfig, Mailboxes, Secrets, Stack,
//! };
//!
//! /// Sends back every frame of payload as it came, without a copy.
//! struct Echo;
//!
//! impl Application for Echo {
//!     type Conn = ();
//!
//!     fn start(&mut self, stack: &mut Stack<()>, _now: Instant) {
//!         stack.listen(&ListenConfig::new(7)).expect("nobody else listens on port 7");
//!     }
//!
//!     fn readable(&mut self, mut conn: Conn<'_, ()>) {
//!         while let Some(frame) = conn.receive() {
//!             conn.send(frame);
//!         }
//!         if conn.at_end() {
//!             conn.close();
//!         }
//!     }
//! }
//!
//! /// Says hello and waits for the answer.
//! #[derive(Default)]
//! struct Hello {
//!     heard: Vec<u8>,
//! }
//!
//! impl Application for Hello {
//!     type Conn = ();
//!
//!     fn start(&mut self, stack: &mut Stack<()>, _now: Instant) {
//!         let server = "198.18.0.2:7".parse().expect("an address and a port");
//!         stack.connect(&ConnectConfig::new(server)).expect("the route is there");
//!     }
//!
//!     fn connected(&mut self, mut conn: Conn<'_, ()>) {
//!         conn.write(b"hello");
//!     }
//!
//!     fn readable(&mut self, mut conn: Conn<'_, ()>) {
//!         self.heard.extend_from_slice(conn.peek());
//!         conn.consume(usize::MAX);
//!         conn.close();
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut now = Instant::ZERO;
//! let (left, right) = pipe(&PipeConfig::default())?;
//! let config = HostConfig::new(Secrets::random()?).max_connections(100).buffers(512);
//!
//! let server = Interface::new(left).address("198.18.0.2/24".parse()?);
//! let mut server = config.build(Mailboxes::single()?, now, Echo, [server])?;
//! let client = Interface::new(right).address("198.18.0.3/24".parse()?);
//! let mut client = config.build(Mailboxes::single()?, now, Hello::default(), [client])?;
//!
//! while client.app().heard != b"hello" {
//!     client.poll(now);
//!     server.poll(now);
//!     now += Duration::from_micros(10);
//!     assert!(now < Instant::from_secs(1), "the answer is late");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Several cores
//!
//! [`Runtime`] runs one such core on each of several pinned threads. Every core gets its own stack, its own
//! application and its own queues; a listener that each of them opens is one service on all of them, and a flow
//! always meets the same core.
//!
//! ```no_run
//! # use freeway::port::{PipeConfig, pipe};
//! # use freeway::{Application, BuildError, Conn, HostConfig, Interface, Runtime, RuntimeConfig, Seat, Secrets};
//! # struct Echo;
//! # impl Application for Echo {
//! #     type Conn = ();
//! #     fn readable(&mut self, _conn: Conn<'_, ()>) {}
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let queues = [pipe(&PipeConfig::default())?.0, pipe(&PipeConfig::default())?.0];
//! let config = HostConfig::new(Secrets::random()?);
//! let runtime = Runtime::new(RuntimeConfig::pinned([1, 2]))?;
//! let builders = queues.into_iter().map(|queue| {
//!     let config = config.clone();
//!     move |seat: Seat| -> Result<_, BuildError> {
//!         let interface = Interface::new(queue).address("198.18.0.2/24".parse()?);
//!         let now = seat.now();
//!         Ok(config.build(seat.mailboxes, now, Echo, [interface])?)
//!     }
//! });
//! let running = runtime.start(builders)?;
//! let stop = running.stop_handle(); // for a signal handler
//! running.join()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod host;

/// Rings of values from one thread to another, for what an application has outside of the data path.
pub mod ring {
    pub use freeway_mem::ring::{Consumer, Producer, spsc};
}

pub use freeway_base::{Duration, HashKey, Instant, Rng, Seed};
pub use freeway_mem as mem;
pub use freeway_mem::{HugePages, Packet, PacketPool, RxBurst, SharedPacket, TxBurst};
pub use freeway_port as port;
pub use freeway_runtime::{
    Bell, BuildError, Clock, Core, CorePanic, CoreStats, Idle, Letters, MailConfig, Mailboxes, Monotonic,
    Observer, Post, PostConfig, PostCounters, Relay, RemotePort, Running, Runtime, RuntimeConfig, Seat,
    Stage, StartError, StatsReader, StopHandle, Turn, Woke, allowed_cpus, mesh, remote,
};
pub use freeway_stack::net::{Cidr, IcmpKind, IfaceId, Route, Unreachable};
pub use freeway_stack::rows::Tables;
pub use freeway_stack::udp::{BindError, Datagram, ReplyTo, UdpId};
pub use freeway_stack::{
    AcceptLimits, Application, CloseReason, ConfigureError, Conn, ConnId, ConnectConfig, ConnectError,
    CounterVisit, Ended, FastOpen, Lent, ListenConfig, ListenError, ListenerCounters, ListenerId,
    ListenerReport, Overflow, Stack, StackConfig, SynCookies,
};
pub use freeway_tcp as tcp;
pub use freeway_tcp::Config as TcpConfig;

pub use crate::host::{HostConfig, HostError, Interface, Memory, Secrets};
