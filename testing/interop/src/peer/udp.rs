//! UDP clients.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::netns::Namespace;

/// How long an answer may take before the datagram is sent again.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// A socket in `namespace` that talks to `server` alone.
///
/// # Errors
///
/// When there is no route.
pub fn connect(namespace: &Namespace, server: SocketAddr) -> Result<UdpSocket> {
    namespace.enter(|| {
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server).with_context(|| format!("connecting to {server}"))?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(socket)
    })?
}

/// Sends `bytes` to an echo server and waits for the same bytes, with up to `tries` datagrams, as UDP may lose them.
///
/// # Errors
///
/// When no answer comes, or another one.
pub fn say_and_hear(socket: &UdpSocket, bytes: &[u8], tries: usize) -> Result<()> {
    let mut heard = vec![0; 65_536];
    for _ in 0..tries {
        socket.send(bytes).context("sending")?;
        if let Ok(length) = socket.recv(&mut heard) {
            ensure!(heard[..length] == *bytes, "sent {} bytes, {length} others came back", bytes.len());
            return Ok(());
        }
    }
    anyhow::bail!("no answer to {tries} datagram(s) of {} bytes", bytes.len())
}
