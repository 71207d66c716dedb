//! A client and a server with an impaired path between them; the server is Freeway or Linux, all else is the same.
//!
//! ```text
//!   ┌─ client ───────────┐        ┌─ middle ─────────────────┐          ┌─ server ───────────┐
//!   │ Linux ── c0 ══════════ veth ══ left ── bridge ── right ════ veth ═══ s0 ── Linux      │
//!   └────────────────────┘        │                          │          └────────────────────┘
//!                                 │                 or right ══ TAP ══ Freeway
//!                                 └──────────────────────────┘
//! ```
//!
//! The client is 198.18.0.1 and 2001:db8::1, the server 198.18.0.2 and 2001:db8::2. No interface offloads anything, and
//! Linux remembers nothing of earlier connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use freeway::{Cidr, CloseReason};
use freeway_base::Seed;

use super::Congestion;
use super::client::{ask, connect_with};
use super::freeway::{Ending, FreewayServer, Settings};
use super::linux::LinuxServer;
use super::request::Request;
use crate::impair::{Both, Bridge, Impairment, Link, Report};
use crate::netns::Namespace;

/// Where the server is.
pub const SERVER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
/// Where the server is.
pub const SERVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

const CLIENT: &str = "c0";
const LEFT: &str = "left";
const RIGHT: &str = "right";
const SERVER: &str = "s0";
const PREFIXES: [(&str, &str, &str); 2] =
    [("198.18.0.1/24", "198.18.0.2/24", "198.18.0.2"), ("2001:db8::1/64", "2001:db8::2/64", "2001:db8::2")];

/// How long after the client's end the server's may come.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Who serves.
#[derive(Clone, Debug)]
pub enum Host {
    /// Linux.
    Linux,
    /// Freeway, set up like that.
    Freeway(Box<Settings>),
}

/// Who serves, running.
enum Server {
    Linux { server: LinuxServer, _namespace: Namespace },
    Freeway(FreewayServer),
}

/// What a transfer goes through.
#[derive(Clone, Debug)]
pub struct Trip {
    /// Where the server is: [`SERVER_V4`] or [`SERVER_V6`].
    pub server: IpAddr,
    /// The congestion control of both ends.
    pub congestion: Congestion,
    /// The path, `forward` from the client to the server.
    pub path: Both<Impairment>,
    /// The path's chances.
    pub seed: u64,
    /// What flows.
    pub request: Request,
}

/// How a transfer went.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// How long the bytes took: see [`ask`].
    pub elapsed: Duration,
    /// What the path did meanwhile.
    pub path: Report,
    /// Freeway's end of it; `None` where Linux served.
    pub ending: Option<Ending>,
    /// What `ss -tein` showed of the client's socket while the bytes flowed, if it was asked.
    pub seen: Option<String>,
}

/// The set-up. Fields are dropped in order: whatever uses a namespace goes first.
pub struct Road {
    server: Server,
    client: Namespace,
    middle: Namespace,
}

impl Road {
    /// Lays it.
    ///
    /// # Errors
    ///
    /// Without root, or when something of it does not start.
    pub fn lay(host: &Host) -> Result<Self> {
        let (client, middle) = (Namespace::new("client")?, Namespace::new("middle")?);
        // No address of its own: the bridge alone stands between the two.
        for scope in ["all", "default"] {
            middle.set(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
        }
        client.join(CLIENT, &middle, LEFT)?;
        settle(&client, CLIENT, |(own, ..)| *own)?;
        let server = match host {
            Host::Linux => {
                let namespace = Namespace::new("server")?;
                namespace.join(SERVER, &middle, RIGHT)?;
                settle(&namespace, SERVER, |(_, theirs, _)| *theirs)?;
                // Any address: both versions reach it.
                let server = LinuxServer::start(&namespace, IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
                Server::Linux { server, _namespace: namespace }
            }
            Host::Freeway(settings) => {
                let addresses = PREFIXES
                    .iter()
                    .map(|(_, theirs, _)| theirs.parse::<Cidr>().map_err(|error| anyhow!("{error}")))
                    .collect::<Result<Vec<_>>>()?;
                let server = FreewayServer::start(&middle, RIGHT, &addresses, settings)?;
                middle.without_offloads(RIGHT)?;
                Server::Freeway(server)
            }
        };
        let road = Self { server, client, middle };
        road.introduce()?;
        Ok(road)
    }

    /// Where the client lives.
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// Sends a transfer over the road. With `look`, `ss` is asked about it on the way.
    ///
    /// # Errors
    ///
    /// When it does not arrive unharmed, or the server ends the connection in another way than by closing it.
    pub fn send(&self, trip: &Trip, look: bool) -> Result<Arrived> {
        let links = || Ok::<_, anyhow::Error>((Link::open(LEFT)?, Link::open(RIGHT)?));
        let (left, right) = self.middle.enter(links)??;
        let bridge = Bridge::new(left, right, trip.path.clone(), Seed(trip.seed)).start();
        let ended_before = self.ended_on_linux();
        let server = SocketAddr::new(trip.server, trip.congestion.port());
        let mut stream = connect_with(&self.client, server, trip.congestion.linux())?;
        let (elapsed, seen) = std::thread::scope(|scope| {
            let transfer = scope.spawn(|| ask(&mut stream, trip.request));
            let seen = look.then(|| self.watch(|| transfer.is_finished()));
            let elapsed = transfer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (elapsed, seen)
        });
        let elapsed = elapsed.with_context(|| format!("{trip:?}"))?;
        drop(stream);
        let ending = self.ending(ended_before)?;
        let path = bridge.stop()?;
        if let Some(Ending { reason, .. }) = ending {
            ensure!(reason == CloseReason::Finished, "Freeway's end: {reason:?}, {trip:?}");
        }
        Ok(Arrived { elapsed, path, ending, seen: seen.transpose()? })
    }

    /// Takes everything back.
    ///
    /// # Errors
    ///
    /// When Freeway had ended by itself.
    pub fn close(self) -> Result<()> {
        match self.server {
            Server::Freeway(server) => server.stop(),
            Server::Linux { .. } => Ok(()),
        }
    }

    /// Lets both ends find each other before anything is lost.
    fn introduce(&self) -> Result<()> {
        let links = || Ok::<_, anyhow::Error>((Link::open(LEFT)?, Link::open(RIGHT)?));
        let (left, right) = self.middle.enter(links)??;
        let nothing = Both { forward: Impairment::default(), backward: Impairment::default() };
        let bridge = Bridge::new(left, right, nothing, Seed(0)).start();
        for (.., server) in PREFIXES {
            self.client.run(&format!("ping -q -c 3 -i 0.1 -W 5 {server}"))?;
        }
        bridge.stop().map(drop)
    }

    /// Connections that a Linux server has seen the end of.
    fn ended_on_linux(&self) -> u64 {
        match &self.server {
            Server::Linux { server, .. } => server.ended(),
            Server::Freeway(_) => 0,
        }
    }

    /// Waits for the server's end of the connection, so that nothing of it meets the next one; tells Freeway's.
    fn ending(&self, ended_before: u64) -> Result<Option<Ending>> {
        let over = Instant::now() + END_WITHIN;
        loop {
            match &self.server {
                Server::Linux { server, .. } if server.ended() > ended_before => return Ok(None),
                Server::Linux { .. } => {}
                Server::Freeway(server) => {
                    if let Some(ending) = server.endings().pop() {
                        return Ok(Some(ending));
                    }
                }
            }
            ensure!(Instant::now() < over, "the server's end did not come in {END_WITHIN:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The last that `ss` says of the client's connections until `is_over`.
    fn watch(&self, is_over: impl Fn() -> bool) -> Result<String> {
        let mut seen = String::new();
        while !is_over() {
            let shown = self.client.run("ss -teinH state established")?;
            if !shown.trim().is_empty() {
                seen = shown;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(seen)
    }
}

/// Gives Linux in `namespace` its addresses on `interface`, and makes it as forgetful as a fresh machine.
fn settle(
    namespace: &Namespace,
    interface: &str,
    own: impl Fn(&(&'static str, &'static str, &'static str)) -> &'static str,
) -> Result<()> {
    for prefix in &PREFIXES {
        namespace.address(interface, own(prefix))?;
    }
    // Thresholds of earlier connections are not to decide over later ones.
    namespace.set("net/ipv4/tcp_no_metrics_save", "1")?;
    // Ask for explicit congestion notification, as Freeway does.
    namespace.set("net/ipv4/tcp_ecn", "1")
}
