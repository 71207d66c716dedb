//! Linux asks for a transfer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::net::sockopt::{Timeout, set_socket_timeout, set_tcp_congestion, set_tcp_nodelay};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};

use super::request::{PROOF_LENGTH, Request, Sender, proof_to_bytes};
use crate::netns::Namespace;
use crate::peer::{PATIENCE, tcp};

/// Connects from inside `namespace`, with Linux's congestion control of that name.
///
/// It is named before the connection opens: an algorithm that paces leaves its pacing behind when it is changed later.
///
/// # Errors
///
/// When there is no such algorithm, or nobody answers.
pub fn connect_with(namespace: &Namespace, server: SocketAddr, congestion: &str) -> Result<TcpStream> {
    namespace.enter(|| {
        let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_tcp_congestion(&socket, congestion)
            .with_context(|| format!("Linux has no congestion control `{congestion}`"))?;
        for timeout in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, timeout, Some(PATIENCE))?;
        }
        set_tcp_nodelay(&socket, true)?;
        connect(&socket, &server).with_context(|| format!("connecting to {server}"))?;
        Ok(TcpStream::from(socket))
    })?
}

/// Has `request` done over `stream` and checks the bytes; returns how long they took, from the request to the last byte or,
/// where the client sends, to the server's proof.
///
/// # Errors
///
/// When the bytes differ, or the connection ends or falls silent.
pub fn ask(stream: &mut TcpStream, request: Request) -> Result<Duration> {
    let expected = request.proof();
    let start = Instant::now();
    stream.write_all(&request.to_bytes()).context("asking")?;
    let elapsed = match request.sender {
        Sender::Server => {
            let got = tcp::receive(stream)?;
            let elapsed = start.elapsed();
            ensure!(got == expected, "received {got:?} in place of {expected:?}");
            elapsed
        }
        Sender::Client => {
            let sent = tcp::send(stream, request.pattern())?;
            ensure!(sent == expected, "the pattern of {request:?} is not what it was");
            let mut proof = [0; PROOF_LENGTH];
            stream.read_exact(&mut proof).context("waiting for the server's proof")?;
            let elapsed = start.elapsed();
            ensure!(proof == proof_to_bytes(&expected), "the server received other bytes than {expected:?}");
            // Its end too, so that nothing of this connection meets the next one.
            ensure!(stream.read(&mut [0])? == 0, "the server goes on after its proof");
            elapsed
        }
    };
    Ok(elapsed)
}
