//! DPDK's testpmd at the other end of a memif: it sends back every frame, in each role, with and without copies.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use freeway_interop::privilege;
use freeway_mem::{
    Arena, ArenaConfig, ArenaLayout, BURST, HugePages, PacketPool, PoolConfig, RxBurst, TxBurst,
};
use freeway_memif::{Config, Memif, Role, SocketName, Trust, open};
use freeway_port::{Port, RxQueue, TxQueue};
use tempfile::TempDir;

/// Silence after which frames count as lost.
const QUIET: Duration = Duration::from_secs(1);
/// How long DPDK may take to start, and frames to come back.
const PATIENCE: Duration = Duration::from_secs(30);
/// Frames of one exchange.
const FRAMES: u32 = 20_000;
/// So few under way that no ring is ever full: testpmd drops what it cannot send.
const UNDER_WAY: u32 = 256;

/// How the two ends are set up.
#[derive(Clone, Copy)]
struct Setup {
    /// Freeway's role; testpmd has the other.
    role: Role,
    /// Freeway trusts testpmd, and lends its packets if it is the client.
    trust: Trust,
    /// testpmd lends its packets, if it is the client.
    dpdk_lends: bool,
    /// Both name their socket in the abstract namespace.
    is_abstract: bool,
    mtu: u16,
}

/// `dpdk-testpmd` that sends back what it receives, ended with the test.
struct Testpmd(Child);

impl Testpmd {
    fn start(setup: Setup, socket: &str) -> Result<Self> {
        let role = if setup.role == Role::Server { "client" } else { "server" };
        let zero_copy = if setup.dpdk_lends { ",zero-copy=yes" } else { "" };
        let is_abstract = if setup.is_abstract { "yes" } else { "no" };
        let prefix = format!("freeway-{}-{}", std::process::id(), unique());
        let child = Command::new("dpdk-testpmd")
            .args(["--lcores", "0@(0-1),1@(0-1)", "--no-pci", "--no-huge", "-m", "256", "--no-telemetry"])
            .args(["--single-file-segments", "--file-prefix", &prefix, "--vdev"])
            .arg(format!(
                "net_memif0,role={role},id=5,socket={socket},socket-abstract={is_abstract}{zero_copy}"
            ))
            // Without looking at links first, which takes seconds.
            .args(["--", "-i", "--forward-mode=io", "--disable-link-check", "--no-mlockall"])
            .arg("--total-num-mbufs=8192")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("dpdk-testpmd")?;
        let mut testpmd = Self(child);
        let input = testpmd.0.stdin.as_mut().context("its input")?;
        // It runs until its input ends.
        input.write_all(b"start\n")?;
        input.flush()?;
        Ok(testpmd)
    }
}

impl Drop for Testpmd {
    fn drop(&mut self) {
        // Killed: what a peer's death does is part of the test.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Freeway's end.
struct End {
    port: Memif,
    pool: PacketPool,
}

impl End {
    fn open(setup: Setup, socket: SocketName) -> Result<Self> {
        let buffer_size = (u32::from(setup.mtu) + 18 + 129).next_power_of_two();
        let shared = setup.role == Role::Client && setup.trust == Trust::Full;
        let size = PoolConfig { buffers: 4_096, buffer_size, shared, ..PoolConfig::default() };
        let bytes = ArenaLayout::new().pool(&size).bytes();
        let mut arena = Arena::map(&ArenaConfig { bytes, name: "test", huge_pages: HugePages::Never })?;
        let pool = PacketPool::new(&mut arena, &size)?;
        let config = Config {
            socket,
            role: setup.role,
            id: 5,
            trust: setup.trust,
            mtu: setup.mtu,
            ..Config::default()
        };
        let queue = open(&[config])?.pop().and_then(|mut queues| queues.pop()).context("one queue")?;
        let mut port = queue.into_port();
        port.attach(&pool)?;
        Ok(Self { port, pool })
    }

    /// Polls until there are so many links, and `gone` of them are over.
    fn wait_for_links(&mut self, ups: u64, gone: u64) -> Result<()> {
        let begun = Instant::now();
        while (self.port.counters().link_ups, self.port.counters().link_downs) != (ups, gone) {
            self.port.rx_burst(&self.pool, &mut RxBurst::new());
            std::thread::yield_now();
            ensure!(
                begun.elapsed() < PATIENCE,
                "{:?}; last: {:?}",
                self.port.counters(),
                self.port.status().last_reason()
            );
        }
        Ok(())
    }

    /// Sends frames of all lengths, and takes them back whole and in order. testpmd empties its rings when it begins,
    /// with what has come until then: if nothing comes back for a second, what is missing is sent again.
    fn exchange(&mut self) -> Result<()> {
        let longest = u32::from(self.port.info().mtu) + 14;
        let frame = |number: u32| {
            let mut bytes = vec![0xff; 6];
            bytes.extend_from_slice(&[2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.resize((60 + number % (longest - 59)) as usize, number as u8);
            bytes
        };
        let (mut sent, mut heard) = (0, 0);
        let mut burst = TxBurst::new();
        let begun = Instant::now();
        let mut last_heard = begun;
        while heard < FRAMES {
            if last_heard.elapsed() > QUIET {
                (sent, last_heard) = (heard, Instant::now());
                burst.clear();
            }
            let room = UNDER_WAY.saturating_sub(sent - heard).min((BURST - burst.len()) as u32);
            let until = FRAMES.min(sent + room);
            for number in sent..until {
                let mut packet = self.pool.alloc().context("a packet")?;
                ensure!(packet.copy_from_slice(&frame(number)), "a buffer too short");
                burst.push(packet.share());
            }
            sent = until;
            self.port.tx_burst(&mut burst);
            let mut back = RxBurst::new();
            self.port.rx_burst(&self.pool, &mut back);
            for packet in &back {
                last_heard = Instant::now();
                if (0..heard).rev().take(UNDER_WAY as usize).any(|number| packet.data() == frame(number)) {
                    // It was not lost, only late.
                    continue;
                }
                if heard == 0 && (1..sent).any(|number| packet.data() == frame(number)) {
                    // testpmd began in the middle of what was there.
                    continue;
                }
                ensure!(
                    packet.data() == frame(heard),
                    "frame {heard} came back as {:?}",
                    packet.data().get(..20)
                );
                heard += 1;
            }
            ensure!(begun.elapsed() < PATIENCE, "{heard} of {sent} came back; {:?}", self.port.counters());
        }
        Ok(())
    }
}

/// Two exchanges, with testpmd killed between them.
fn converse(test: &str, setup: Setup) -> Result<()> {
    if !privilege::granted_with(test, &["dpdk-testpmd"]) {
        return Ok(());
    }
    let folder = TempDir::new()?;
    let path: PathBuf = folder.path().join("memif.sock");
    let (socket, name) = if setup.is_abstract {
        let name = format!("freeway-test-{}", std::process::id());
        (SocketName::Abstract(name.clone()), name)
    } else {
        (SocketName::Path(path.clone()), path.display().to_string())
    };
    let mut end = End::open(setup, socket)?;
    for round in 1..=2 {
        let testpmd = Testpmd::start(setup, &name)?;
        end.wait_for_links(round, round - 1)?;
        // testpmd forwards a little later than it connects; what it has not taken waits in the ring.
        end.exchange().with_context(|| format!("round {round}"))?;
        drop(testpmd);
        end.wait_for_links(round, round)?;
        end.port.tx_burst(&mut TxBurst::new());
        ensure!(end.pool.in_use() == 0, "{} packets did not come home", end.pool.in_use());
        if setup.role == Role::Client && !setup.is_abstract {
            // It was killed, and does not listen where something lies.
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

const SERVER: Setup =
    Setup { role: Role::Server, trust: Trust::None, dpdk_lends: false, is_abstract: false, mtu: 1_500 };
const CLIENT: Setup = Setup { role: Role::Client, ..SERVER };

#[test]
#[ignore = "needs dpdk-testpmd: cargo xtask interop"]
fn as_server_of_an_untrusted_client() -> Result<()> {
    converse("memif server", SERVER)
}

#[test]
#[ignore = "needs dpdk-testpmd: cargo xtask interop"]
fn as_server_of_a_client_that_lends() -> Result<()> {
    converse("memif server, zero copy", Setup { trust: Trust::Full, dpdk_lends: true, ..SERVER })
}

#[test]
#[ignore = "needs dpdk-testpmd: cargo xtask interop"]
fn as_client_that_copies() -> Result<()> {
    converse("memif client", CLIENT)
}

#[test]
#[ignore = "needs dpdk-testpmd: cargo xtask interop"]
fn as_client_that_lends() -> Result<()> {
    converse("memif client, zero copy", Setup { trust: Trust::Full, ..CLIENT })
}

#[test]
#[ignore = "needs dpdk-testpmd: cargo xtask interop"]
fn frames_of_several_descriptors() -> Result<()> {
    // With zero copy: DPDK 22.11's copying client leaves the chaining flag of an earlier frame in its slots.
    let setup = Setup { trust: Trust::Full, dpdk_lends: true, mtu: 4_000, ..SERVER };
    converse("memif server, long frames", setup)
}

#[test]
#[ignore = "needs dpdk-testpmd: cargo xtask interop"]
fn abstract_sockets() -> Result<()> {
    converse("memif, abstract", Setup { is_abstract: true, ..SERVER })?;
    converse("memif, abstract", Setup { is_abstract: true, ..CLIENT })
}
