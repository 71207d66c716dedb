//! Linux answers.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout, set_tcp_congestion};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

use super::Congestion;
use super::request::{Request, Sender, proof_to_bytes};
use crate::netns::Namespace;
use crate::peer::{PATIENCE, tcp};

/// How often a server without a client looks whether it should stop.
const NAP: Duration = Duration::from_millis(50);

/// A server for each congestion control, on threads of their own; ends on drop.
pub struct LinuxServer {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl LinuxServer {
    /// Serves on `address` inside `namespace`.
    ///
    /// # Errors
    ///
    /// When the ports are taken.
    pub fn start(namespace: &Namespace, address: IpAddr) -> Result<Self> {
        let mut server = Self { stop: Arc::default(), ended: Arc::default(), threads: Vec::new() };
        for congestion in Congestion::ALL {
            let listener =
                namespace.enter(|| open(SocketAddr::new(address, congestion.port()), congestion))??;
            let (stop, ended) = (Arc::clone(&server.stop), Arc::clone(&server.ended));
            server.threads.push(std::thread::spawn(move || serve(&listener, &stop, &ended)));
        }
        Ok(server)
    }

    /// How many connections have ended, one way or another.
    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }
}

impl Drop for LinuxServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // What it had to say, it has said.
            let _ = thread.join();
        }
    }
}

fn open(address: SocketAddr, congestion: Congestion) -> Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    // Accepted connections inherit it.
    set_tcp_congestion(&socket, congestion.linux())
        .with_context(|| format!("Linux has no congestion control `{congestion}`"))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(NAP))?;
    bind(&socket, &address).with_context(|| format!("binding to {address}"))?;
    listen(&socket, 16)?;
    Ok(TcpListener::from(socket))
}

fn serve(listener: &TcpListener, stop: &AtomicBool, ended: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else { continue };
        if let Err(error) = answer(&mut stream) {
            // The client fails in turn, and says what was asked.
            eprintln!("Linux's server: {error:#}");
        }
        ended.fetch_add(1, Ordering::Release);
    }
}

fn answer(stream: &mut TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut request = [0; Request::LENGTH];
    stream.read_exact(&mut request).context("reading the request")?;
    let request = Request::from_bytes(&request)?;
    match request.sender {
        Sender::Server => {
            tcp::send(stream, request.pattern())?;
            ensure!(stream.read(&mut [0])? == 0, "the client goes on after its request");
        }
        Sender::Client => {
            let proof = tcp::receive(stream)?;
            stream.write_all(&proof_to_bytes(&proof)).context("sending the proof")?;
        }
    }
    Ok(())
}
