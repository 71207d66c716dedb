//! The two set-ups that tests run in: a server right behind Linux, or one behind a bad path.
//!
//! ```text
//! direct    ┌─ host ───────────────────────────────┐
//!           │ Linux clients ── fw0 ══TAP══ freeway │
//!           └──────────────────────────────────────┘
//! impaired  ┌─ client ───────┐        ┌─ host ──────────────────────────────────┐
//!           │ Linux ── path1 ══ veth ══ path0 ── bridge ── fw0 ══TAP══ freeway  │
//!           └────────────────┘        └─────────────────────────────────────────┘
//! ```
//!
//! Linux is 198.18.0.1 and fdc1::1, Freeway 198.18.0.2 and fdc1::2, in both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use freeway_base::Seed;

use crate::impair::{Both, Bridge, Impairment, Link, Report, RunningBridge};
use crate::netns::Namespace;
use crate::privilege;
use crate::server::Server;

/// Where Freeway is.
pub const SERVER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
/// Where Freeway is.
pub const SERVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfdc1, 0, 0, 0, 0, 0, 0, 2));
/// Both, for tests that do the same over each.
pub const SERVERS: [IpAddr; 2] = [SERVER_V4, SERVER_V6];

/// The TAP device of the server.
pub const TAP: &str = "fw0";

/// Where clients live in the impaired set-up, and its other end.
const CLIENT_END: &str = "path1";
const BRIDGE_END: &str = "path0";

/// The services' ports.
pub mod port {
    /// RFC 862.
    pub const ECHO: u16 = 7;
    /// RFC 863.
    pub const DISCARD: u16 = 9;
    /// RFC 864.
    pub const CHARGEN: u16 = 19;
    /// RFC 9112.
    pub const HTTP: u16 = 80;
}

/// A server and a namespace whose Linux talks to it. Fields are dropped in order: whatever uses a namespace goes first.
pub struct Lab {
    bridge: Mutex<Option<RunningBridge>>,
    server: Server,
    client: Option<Namespace>,
    host: Namespace,
}

impl Lab {
    /// A server right behind Linux; `root` is what its HTTP service shows. None when `test` is to be skipped.
    ///
    /// # Errors
    ///
    /// When something of it does not start.
    ///
    /// # Panics
    ///
    /// In CI, when the test may not run.
    pub fn direct(test: &str, root: &Path) -> Result<Option<Self>> {
        if !privilege::granted(test) {
            return Ok(None);
        }
        let host = Namespace::new("host")?;
        let server = serve(&host, root)?;
        Ok(Some(Self { bridge: Mutex::default(), server, client: None, host }))
    }

    /// A server behind a path that does nothing bad yet: see [`impair`](Self::impair).
    ///
    /// # Errors
    ///
    /// When something of it does not start.
    ///
    /// # Panics
    ///
    /// In CI, when the test may not run.
    pub fn behind_path(test: &str, root: &Path) -> Result<Option<Self>> {
        Self::behind_path_of(test, |host| serve(host, root))
    }

    /// The same for a server that `start` starts in the namespace it is given, on the TAP device [`TAP`].
    ///
    /// # Errors
    ///
    /// When something of it does not start.
    ///
    /// # Panics
    ///
    /// In CI, when the test may not run.
    pub fn behind_path_of(
        test: &str,
        start: impl FnOnce(&Namespace) -> Result<Server>,
    ) -> Result<Option<Self>> {
        if !privilege::granted(test) {
            return Ok(None);
        }
        let (host, client) = (Namespace::new("host")?, Namespace::new("client")?);
        host.join(BRIDGE_END, &client, CLIENT_END)?;
        client.address(CLIENT_END, "198.18.0.1/24")?;
        client.address(CLIENT_END, "fdc1::1/64")?;
        let server = start(&host)?;
        // The host's own Linux must not take part: the bridge alone stands between the two.
        host.ip(&format!("address flush dev {TAP}"))?;
        for interface in [TAP, BRIDGE_END] {
            host.set(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1")?;
        }
        let lab = Self { bridge: Mutex::default(), server, client: Some(client), host };
        lab.impair(Both { forward: Impairment::default(), backward: Impairment::default() }, 1)?;
        Ok(Some(lab))
    }

    /// Puts another path between client and server; `forward` is what the server sends, `backward` what the client does.
    ///
    /// # Errors
    ///
    /// When an interface is gone.
    pub fn impair(&self, path: Both<Impairment>, seed: u64) -> Result<()> {
        if let Some(report) = self.change_path(path, seed)? {
            eprint!("the path before:\n{report}");
        }
        Ok(())
    }

    /// The same; returns what happened on the path before.
    ///
    /// # Errors
    ///
    /// When an interface is gone.
    pub fn change_path(&self, path: Both<Impairment>, seed: u64) -> Result<Option<Report>> {
        let mut running = self.bridge.lock().unwrap_or_else(PoisonError::into_inner);
        let before = running.take().map(RunningBridge::stop).transpose()?;
        let links = || Ok::<_, anyhow::Error>((Link::open(TAP)?, Link::open(BRIDGE_END)?));
        let (left, right) = self.host.enter(links)??;
        *running = Some(Bridge::new(left, right, path, Seed(seed)).start());
        Ok(before)
    }

    /// The namespace to run clients in.
    pub fn client(&self) -> &Namespace {
        self.client.as_ref().unwrap_or(&self.host)
    }

    /// The namespace the server is in.
    pub fn host(&self) -> &Namespace {
        &self.host
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The server, to ask whether it still runs.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Stops the server; returns the namespace it ran in, to see what it left there.
    ///
    /// # Errors
    ///
    /// When it does not end cleanly.
    pub fn stop(self) -> Result<Namespace> {
        let Self { bridge, server, client, host } = self;
        if let Some(bridge) = bridge.into_inner().unwrap_or_else(PoisonError::into_inner) {
            eprint!("the path:\n{}", bridge.stop()?);
        }
        server.stop().context("stopping the server")?;
        drop(client);
        Ok(host)
    }
}

/// `address` with the port of a service.
pub fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}

fn serve(host: &Namespace, root: &Path) -> Result<Server> {
    let (device, root) = (format!("tap:{TAP}"), root.display().to_string());
    Server::start(
        host,
        &[
            ["--dev", device.as_str()],
            ["--addr", "198.18.0.2/24"],
            ["--addr", "fdc1::2/64"],
            ["--echo", "7"],
            ["--discard", "9"],
            ["--chargen", "19"],
            ["--http", "80"],
            ["--root", root.as_str()],
        ]
        .concat(),
    )
}
