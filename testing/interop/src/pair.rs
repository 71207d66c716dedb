//! A server on one end of a veth pair by AF_XDP, Linux on the other, as Linux makes such a pair: with all offloads.
//!
//! ```text
//!   ┌─ client ────────────┐        ┌─ host ───────────────────────────────────┐
//!   │ Linux ── c0 ═════════ veth ═══ s0 ── XDP program ──┬─ freeway           │
//!   │          198.18.0.1 │        │                     └─ Linux             │
//!   └─────────────────────┘        └──────────────────────────────────────────┘
//! ```
//!
//! Freeway is 198.18.0.2 and fdc1::2, or Linux on s0 is, and shares the addresses.

use anyhow::Result;

use crate::netns::Namespace;
use crate::privilege;
use crate::server::Server;

/// Linux's end.
pub const CLIENT: &str = "c0";
/// Freeway's end.
pub const SERVER: &str = "s0";

/// Two namespaces and the veth pair between them.
pub struct Pair {
    /// Where clients run.
    pub client: Namespace,
    /// Where servers run.
    pub host: Namespace,
}

impl Pair {
    /// Lays a pair with so many queues each way and that MTU. None when `test` is to be skipped.
    ///
    /// # Errors
    ///
    /// When something of it cannot be made.
    ///
    /// # Panics
    ///
    /// In CI, when the test may not run.
    pub fn lay(test: &str, queues: u32, mtu: u32) -> Result<Option<Self>> {
        if !privilege::granted(test) {
            return Ok(None);
        }
        let (client, host) = (Namespace::new("client")?, Namespace::new("host")?);
        let many = format!("numrxqueues {queues} numtxqueues {queues}");
        client.ip(&format!(
            "link add {CLIENT} {many} type veth peer name {SERVER} netns {} {many}",
            host.name()
        ))?;
        for (namespace, end) in [(&client, CLIENT), (&host, SERVER)] {
            namespace.ip(&format!("link set {end} mtu {mtu} up"))?;
        }
        client.address(CLIENT, "198.18.0.1/24")?;
        client.address(CLIENT, "fdc1::1/64")?;
        Ok(Some(Self { client, host }))
    }

    /// Gives Linux on Freeway's end the addresses that clients know.
    ///
    /// # Errors
    ///
    /// When it has them already.
    pub fn share(&self) -> Result<()> {
        self.host.address(SERVER, "198.18.0.2/24")?;
        self.host.address(SERVER, "fdc1::2/64")
    }

    /// Starts a server with addresses of its own on `device` (`afxdp:s0`, and settings).
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn serve(&self, device: &str, more: &[&str]) -> Result<Server> {
        let own = ["--dev", device, "--addr", "198.18.0.2/24", "--addr", "fdc1::2/64"];
        Server::start(&self.host, &[&own, more].concat())
    }
}
