//! Freeway answers, in this process, on a TAP device of a namespace.

use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use freeway::port::Capture;
use freeway::tcp::Info;
use freeway::{
    Application, BuildError, Cidr, CloseReason, Conn, Ended, HostConfig, Idle, Instant, Interface,
    ListenConfig, Running, Runtime, RuntimeConfig, Seat, Secrets, Stack, TcpConfig,
};
use freeway_tap::{LinuxEnd, Tap, configure};

use super::Congestion;
use super::request::{Request, Sender, proof_to_bytes};
use crate::netns::Namespace;
use crate::peer::pattern::{Pattern, Prover};

/// Bytes made, or left over, at a time.
const CHUNK: usize = 64 * 1024;

/// How Freeway is set up for transfers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// TCP's, the congestion control aside: each port has its own.
    pub tcp: TcpConfig,
    /// Bytes that a connection may have queued for sending: see `StackConfig::send_buffer`. `None` is the stack's default.
    pub send_buffer: Option<u32>,
    /// Segments that a connection may hold out of order: see `StackConfig::max_out_of_order`. `None` is the stack's
    /// default.
    pub out_of_order: Option<u16>,
    /// Where every frame of the device goes, in and out.
    pub capture: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tcp: TcpConfig { mss: u16::MAX, ..TcpConfig::default() },
            send_buffer: None,
            out_of_order: None,
            capture: None,
        }
    }
}

/// How a connection of Freeway's ended.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// Why.
    pub reason: CloseReason,
    /// What it knew of itself when its application last looked.
    pub info: Option<Info>,
}

/// A running host with a server for each congestion control; ends on drop.
pub struct FreewayServer {
    running: Option<Running>,
    endings: Arc<Mutex<Vec<Ending>>>,
}

impl FreewayServer {
    /// Makes the TAP device `tap` inside `namespace` and serves on `addresses` behind it.
    ///
    /// # Errors
    ///
    /// When the device, the file of the capture, or the host cannot be made.
    pub fn start(namespace: &Namespace, tap: &str, addresses: &[Cidr], settings: &Settings) -> Result<Self> {
        let device = namespace.enter(|| -> Result<Tap> {
            let mut taps = Tap::open(tap, 1)?;
            configure(&mut taps, &LinuxEnd::default())?;
            taps.pop().context("a device of one queue")
        })??;
        let mut host = HostConfig::new(Secrets::random()?).max_connections(64).buffers(8_192);
        host.stack.max_syn_received = 64;
        host.stack.max_time_wait = 64;
        if let Some(send_buffer) = settings.send_buffer {
            host.stack.send_buffer = send_buffer;
        }
        if let Some(out_of_order) = settings.out_of_order {
            host.stack.max_out_of_order = out_of_order;
        }
        let file = match &settings.capture {
            Some(path) => Some(File::create(path).with_context(|| path.display().to_string())?),
            None => None,
        };
        let endings = Arc::<Mutex<Vec<Ending>>>::default();
        let server = Server { tcp: settings.tcp, transfers: Vec::new(), endings: Arc::clone(&endings) };
        let addresses = addresses.to_vec();
        let build = move |seat: Seat| -> Result<_, BuildError> {
            let interface = match file {
                Some(file) => Interface::new(Capture::new(
                    device,
                    since(std::time::Instant::now()),
                    BufWriter::new(file),
                )?),
                None => Interface::new(device),
            };
            let interface = addresses.into_iter().fold(interface, Interface::address);
            let now = seat.now();
            Ok(host.build(seat.mailboxes, now, server, [interface])?)
        };
        // It shares its processors with Linux and the bridge.
        let runtime = Runtime::new(RuntimeConfig { idle: Idle::Sleep, ..RuntimeConfig::default() })?;
        Ok(Self { running: Some(runtime.start([build])?), endings })
    }

    /// The connections that ended since this was last asked, the earliest first.
    pub fn endings(&self) -> Vec<Ending> {
        std::mem::take(&mut self.endings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the host.
    ///
    /// # Errors
    ///
    /// When its core had panicked.
    pub fn stop(mut self) -> Result<()> {
        match self.running.take() {
            Some(running) => running.stop().map(drop).map_err(|panic| anyhow!(panic)),
            None => Ok(()),
        }
    }
}

impl Drop for FreewayServer {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // Whoever wants to know stops it.
            let _ = running.stop();
        }
    }
}

/// The time since `start`, for the capture.
fn since(start: std::time::Instant) -> impl Fn() -> Instant {
    move || Instant::ZERO + start.elapsed().into()
}

/// The application.
struct Server {
    tcp: TcpConfig,
    transfers: Vec<Transfer>,
    endings: Arc<Mutex<Vec<Ending>>>,
}

/// One connection's work.
#[derive(Default)]
struct Transfer {
    stage: Stage,
    info: Option<Info>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Asked,
    Sending {
        pattern: Pattern,
        /// Made and not yet taken by TCP.
        left_over: Vec<u8>,
    },
    Receiving(Prover),
    /// Everything is queued, or nothing can be.
    Over,
}

impl Application for Server {
    /// The place of its [`Transfer`].
    type Conn = u32;

    fn start(&mut self, stack: &mut Stack<u32>, _now: Instant) {
        for congestion in Congestion::ALL {
            let tcp = TcpConfig { congestion: congestion.freeway(), ..self.tcp };
            let listening = stack.listen(&ListenConfig { tcp, ..ListenConfig::new(congestion.port()) });
            assert!(listening.is_ok(), "port {} is taken: {listening:?}", congestion.port());
        }
    }

    fn accepted(&mut self, mut conn: Conn<'_, u32>) {
        *conn.state() = self.transfers.len() as u32;
        self.transfers.push(Transfer::default());
    }

    fn readable(&mut self, mut conn: Conn<'_, u32>) {
        if let Some(transfer) = self.transfers.get_mut(*conn.state() as usize) {
            transfer.pump(&mut conn);
        }
    }

    fn writable(&mut self, conn: Conn<'_, u32>) {
        self.readable(conn);
    }

    fn closed(&mut self, _stack: &mut Stack<u32>, ended: Ended<u32>) {
        let info = self.transfers.get_mut(ended.state as usize).and_then(|transfer| transfer.info.take());
        let ending = Ending { reason: ended.reason, info };
        self.endings.lock().unwrap_or_else(PoisonError::into_inner).push(ending);
    }
}

impl Transfer {
    fn pump(&mut self, conn: &mut Conn<'_, u32>) {
        self.info = conn.info().or(self.info);
        if matches!(self.stage, Stage::Asked) {
            self.hear(conn);
        }
        match &mut self.stage {
            Stage::Asked => {}
            Stage::Sending { pattern, left_over } => {
                if send(conn, pattern, left_over) {
                    self.stage = Stage::Over;
                    conn.close();
                }
            }
            Stage::Receiving(prover) => {
                while !conn.peek().is_empty() {
                    prover.add(conn.peek());
                    let length = conn.peek().len();
                    conn.consume(length);
                }
                if conn.at_end() {
                    let proof = proof_to_bytes(&std::mem::take(prover).finish());
                    // There is room for it: nothing else was written.
                    conn.write(&proof);
                    self.stage = Stage::Over;
                    conn.close();
                }
            }
            Stage::Over => {}
        }
    }

    /// Reads the request once all of it is there.
    fn hear(&mut self, conn: &mut Conn<'_, u32>) {
        let mut bytes = [0; Request::LENGTH];
        if conn.readable_bytes() < bytes.len() {
            if conn.at_end() {
                self.stage = Stage::Over;
                conn.close();
            }
            return;
        }
        conn.copy_readable(&mut bytes);
        conn.consume(bytes.len());
        self.stage = match Request::from_bytes(&bytes) {
            Ok(request) if request.sender == Sender::Server => {
                Stage::Sending { pattern: request.pattern(), left_over: Vec::new() }
            }
            Ok(_) => Stage::Receiving(Prover::default()),
            Err(_) => {
                conn.abort();
                Stage::Over
            }
        };
    }
}

/// Writes as much as there is room for; true once everything is queued.
fn send(conn: &mut Conn<'_, u32>, pattern: &mut Pattern, left_over: &mut Vec<u8>) -> bool {
    loop {
        if left_over.is_empty() {
            left_over.resize(CHUNK, 0);
            // A pattern does not fail.
            let length = pattern.read(left_over).unwrap_or(0);
            left_over.truncate(length);
            if length == 0 {
                return true;
            }
        }
        let written = conn.write(left_over);
        left_over.drain(..written);
        if !left_over.is_empty() {
            return false;
        }
    }
}
