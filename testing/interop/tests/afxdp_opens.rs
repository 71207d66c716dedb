//! Freeway opens connections from an address that Linux has too, and Linux knows nothing of them: it sends no reset,
//! and goes on opening its own.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use freeway::{
    Application, BuildError, Cidr, Conn, ConnectConfig, Ended, HostConfig, Idle, Interface, Runtime,
    RuntimeConfig, Seat, Secrets, Stack,
};
use freeway_afxdp::{AfxdpConfig, Device, Steering};
use freeway_interop::netns::Namespace;
use freeway_interop::pair::{Pair, SERVER};

/// Connections to each address.
const COUNT: u64 = 100;
/// The ports that they come from.
const FIRST_PORT: u16 = 61_000;
const SAYS: &[u8] = b"from a port that Linux does not use";

/// Opens connections, says something on each, and counts those on which the same came back.
struct Opener {
    servers: Vec<SocketAddr>,
    echoed: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl Application for Opener {
    type Conn = u32;

    fn start(&mut self, stack: &mut Stack<u32>, _now: freeway::Instant) {
        for &server in &self.servers {
            for _ in 0..COUNT {
                let opened = stack.connect(&ConnectConfig::new(server));
                assert!(opened.is_ok(), "{server}: {opened:?}");
            }
        }
    }

    fn connected(&mut self, mut conn: Conn<'_, u32>) {
        assert_eq!(conn.write(SAYS), SAYS.len());
    }

    fn readable(&mut self, mut conn: Conn<'_, u32>) {
        if conn.readable_bytes() >= SAYS.len() {
            let mut heard = vec![0; SAYS.len()];
            conn.copy_readable(&mut heard);
            conn.consume(heard.len());
            if heard == SAYS {
                self.echoed.fetch_add(1, Ordering::Relaxed);
                conn.close();
            }
        } else if conn.at_end() {
            conn.close();
        }
    }

    fn closed(&mut self, _stack: &mut Stack<u32>, ended: Ended<u32>) {
        let well = matches!(ended.reason, freeway::CloseReason::Finished);
        self.failed.fetch_add(u64::from(!well), Ordering::Relaxed);
    }
}

/// Echoes on every connection, and sends back each one's source port.
fn echo(listener: TcpListener, ports: std::sync::mpsc::Sender<u16>) {
    std::thread::spawn(move || {
        while let Ok((mut stream, from)) = listener.accept() {
            let ports = ports.clone();
            std::thread::spawn(move || {
                // Whoever counts them has gone.
                let _ = ports.send(from.port());
                let mut heard = [0; SAYS.len()];
                if stream.read_exact(&mut heard).is_ok() {
                    let _ = stream.write_all(&heard);
                    let _ = stream.read(&mut heard);
                }
            });
        }
    });
}

/// Resets that the namespace's Linux has sent.
fn resets(namespace: &Namespace) -> Result<u64> {
    let text = namespace.enter(|| std::fs::read_to_string("/proc/thread-self/net/snmp"))??;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().context("names")?, lines.next().context("values")?);
    let at = names.split(' ').position(|name| name == "OutRsts").context("OutRsts")?;
    Ok(values.split(' ').nth(at).context("a value")?.parse()?)
}

#[test]
#[ignore = "needs root: cargo xtask interop"]
fn connections_from_a_shared_address_are_not_reset_by_linux() -> Result<()> {
    let Some(pair) = Pair::lay("afxdp_opens", 1, 1_500)? else { return Ok(()) };
    pair.share()?;
    let client =
        [IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)), IpAddr::V6(Ipv6Addr::new(0xfdc1, 0, 0, 0, 0, 0, 0, 1))];
    let shared =
        [IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)), IpAddr::V6(Ipv6Addr::new(0xfdc1, 0, 0, 0, 0, 0, 0, 2))];
    let (tell, ports) = std::sync::mpsc::channel();
    for address in client {
        echo(pair.client.enter(|| TcpListener::bind((address, 4_000)))??, tell.clone());
    }

    let (echoed, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let opener = Opener {
        servers: client.map(|address| SocketAddr::new(address, 4_000)).to_vec(),
        echoed: Arc::clone(&echoed),
        failed: Arc::clone(&failed),
    };
    // Device, sockets and threads belong to the namespace that they are made in.
    let running = pair.host.enter(|| -> Result<_> {
        let steering =
            Steering { shared: shared.to_vec(), opens: Some(FIRST_PORT..=u16::MAX), ..Steering::default() };
        let device = Device::open(AfxdpConfig { steering, ..AfxdpConfig::new(SERVER) })?;
        let share = device.divide(1).pop().context("a queue")?;
        let mut host = HostConfig::new(Secrets::random()?).max_connections(1_024).buffers(8_192);
        host.stack.ephemeral_ports = FIRST_PORT..=u16::MAX;
        let build = move |seat: Seat| -> Result<_, BuildError> {
            let interface = Interface::new(share.into_port())
                .address(Cidr::new(shared[0], 24))
                .address(Cidr::new(shared[1], 64));
            let now = seat.now();
            Ok(host.build(seat.mailboxes, now, opener, [interface])?)
        };
        let runtime = Runtime::new(RuntimeConfig { idle: Idle::Sleep, ..RuntimeConfig::default() })?;
        Ok(runtime.start([build])?)
    })??;

    let begun = Instant::now();
    while echoed.load(Ordering::Relaxed) < 2 * COUNT {
        ensure!(failed.load(Ordering::Relaxed) == 0, "{} connections failed", failed.load(Ordering::Relaxed));
        ensure!(
            begun.elapsed() < Duration::from_secs(20),
            "{} of {}",
            echoed.load(Ordering::Relaxed),
            2 * COUNT
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    for _ in 0..2 * COUNT {
        let port = ports.recv_timeout(Duration::from_secs(5))?;
        ensure!(port >= FIRST_PORT, "a connection came from port {port}");
    }
    ensure!(resets(&pair.host)? == 0, "Linux sent {} resets", resets(&pair.host)?);

    // Linux opens its own meanwhile, from the same addresses.
    for address in client {
        let mut stream = pair.host.enter(|| TcpStream::connect((address, 4_000)))??;
        stream.write_all(SAYS)?;
        let mut heard = [0; SAYS.len()];
        stream.read_exact(&mut heard)?;
        let port = ports.recv_timeout(Duration::from_secs(5))?;
        ensure!(heard == SAYS && port < FIRST_PORT, "Linux used port {port}");
    }
    let stats = running.stop().map_err(|panic| anyhow!(panic))?;
    let open = stats.iter().filter_map(|core| core.get(&format!("xdp {SERVER}"), "open")).sum::<u64>();
    ensure!(open >= 6 * COUNT, "the program counted {open} frames to opened connections");
    Ok(())
}
