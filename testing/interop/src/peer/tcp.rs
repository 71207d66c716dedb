//! TCP clients.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::net::sockopt::set_socket_linger;

use super::PATIENCE;
use super::pattern::{Pattern, Proof, Prover};
use crate::netns::Namespace;

/// Bytes a call moves at most.
const CHUNK: usize = 64 * 1024;

/// Connects from inside `namespace`.
///
/// # Errors
///
/// When the server refuses or does not answer.
pub fn connect(namespace: &Namespace, server: SocketAddr) -> Result<TcpStream> {
    namespace.enter(|| connect_here(server))?
}

/// Opens `count` connections and keeps them all.
///
/// # Errors
///
/// When one of them fails, with its number.
pub fn connect_many(namespace: &Namespace, server: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    namespace.enter(|| {
        (1..=count)
            .map(|number| connect_here(server).with_context(|| format!("connection {number} of {count}")))
            .collect()
    })?
}

fn connect_here(server: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&server, PATIENCE).with_context(|| format!("connecting to {server}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends all of `bytes` and then ends this direction; returns what was sent.
///
/// # Errors
///
/// When the server resets the connection or stops taking bytes.
pub fn send(stream: &mut TcpStream, mut bytes: impl Read) -> Result<Proof> {
    let (mut prover, mut buffer) = (Prover::default(), vec![0; CHUNK]);
    loop {
        let length = bytes.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        stream.write_all(&buffer[..length]).context("sending")?;
        prover.add(&buffer[..length]);
    }
    stream.shutdown(Shutdown::Write).context("ending the sending direction")?;
    Ok(prover.finish())
}

/// Receives until the server ends its direction; returns what came.
///
/// # Errors
///
/// When the server resets the connection or falls silent.
pub fn receive(stream: &mut TcpStream) -> Result<Proof> {
    let (mut prover, mut buffer) = (Prover::default(), vec![0; CHUNK]);
    loop {
        match stream.read(&mut buffer).context("receiving")? {
            0 => return Ok(prover.finish()),
            length => prover.add(&buffer[..length]),
        }
    }
}

/// Receives exactly `length` bytes, handing each piece to `look`.
///
/// # Errors
///
/// When the server ends or falls silent before, or `look` objects.
pub fn receive_exactly(
    stream: &mut TcpStream,
    length: u64,
    mut look: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut left = length;
    while left > 0 {
        let room = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let got =
            stream.read(&mut buffer[..room]).with_context(|| format!("receiving, {left} bytes to come"))?;
        ensure!(got > 0, "the server ended {left} bytes too early");
        look(&buffer[..got])?;
        left -= got as u64;
    }
    Ok(())
}

/// Sends `length` bytes to an echo server while reading them back, ends its own direction, and compares.
///
/// # Errors
///
/// When what came back is not what was sent.
pub fn echo(stream: &TcpStream, seed: u64, length: u64) -> Result<()> {
    let mut sending = stream.try_clone()?;
    let mut receiving = stream.try_clone()?;
    let (sent, received) = std::thread::scope(|scope| {
        let sender = scope.spawn(move || send(&mut sending, Pattern::new(seed, length)));
        let received = receive(&mut receiving);
        (sender.join(), received)
    });
    let Ok(sent) = sent else { bail!("the sender panicked") };
    let (sent, received) = (sent?, received?);
    ensure!(sent.length == length, "sent {} bytes of {length}", sent.length);
    ensure!(sent == received, "sent {sent:?}, got back {received:?}");
    Ok(())
}

/// Sends `bytes` to an echo server and reads as many back, leaving the connection open.
///
/// # Errors
///
/// When something else comes back.
pub fn say_and_hear(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes).context("sending")?;
    let mut heard = vec![0; bytes.len()];
    stream.read_exact(&mut heard).context("receiving")?;
    ensure!(heard == bytes, "the echo differs");
    Ok(())
}

/// Ends the connection by a reset: closing with a linger time of 0 sends RST (RFC 9293, 3.10.5).
///
/// # Errors
///
/// When the socket does not take the option.
pub fn reset(stream: TcpStream) -> Result<()> {
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

/// Whether the server has closed or reset the connection, seen within `patience`; bytes that still come are skipped.
///
/// # Errors
///
/// When the socket fails otherwise.
pub fn is_ended(stream: &mut TcpStream, patience: Duration) -> Result<bool> {
    stream.set_read_timeout(Some(patience))?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(error) => {
                return match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::TimedOut | ErrorKind::BrokenPipe => Ok(true),
                    ErrorKind::WouldBlock => Ok(false),
                    _ => Err(error.into()),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    /// A loopback connection whose far end `serve` has.
    fn with_server(serve: impl FnOnce(TcpStream) + Send, client: impl FnOnce(TcpStream)) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || serve(listener.accept().unwrap().0));
            client(connect_here(address).unwrap());
        });
    }

    fn copy(mut stream: TcpStream, spoil: bool) {
        let mut buffer = [0; 4_096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if spoil {
                buffer[0] ^= 1;
            }
            stream.write_all(&buffer[..length]).unwrap();
        }
    }

    #[test]
    fn an_echo_that_is_right_passes() {
        with_server(|stream| copy(stream, false), |stream| echo(&stream, 1, 1_000_003).unwrap());
    }

    #[test]
    fn an_echo_that_is_wrong_fails() {
        with_server(|stream| copy(stream, true), |stream| assert!(echo(&stream, 1, 1_000_003).is_err()));
    }

    #[test]
    fn an_echo_that_ends_early_fails() {
        with_server(drop, |stream| assert!(echo(&stream, 1, 1_000_003).is_err()));
        let short = |mut stream: TcpStream| stream.write_all(b"short").unwrap();
        with_server(short, |mut stream| assert!(receive_exactly(&mut stream, 6, |_| Ok(())).is_err()));
    }

    #[test]
    fn a_reset_is_a_reset_at_the_other_end() {
        let serve = |mut stream: TcpStream| {
            let error = stream.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        };
        with_server(serve, |stream| reset(stream).unwrap());
    }

    #[test]
    fn an_end_is_seen_and_silence_is_none() {
        with_server(drop, |mut stream| assert!(is_ended(&mut stream, PATIENCE).unwrap()));
        let wait_for_end = |mut stream: TcpStream| drop(stream.read(&mut [0]));
        with_server(wait_for_end, |mut stream| {
            assert!(!is_ended(&mut stream, Duration::from_millis(20)).unwrap());
        });
    }
}
