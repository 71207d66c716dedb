//! The peer in a process of its own, killed at any moment.
#![allow(clippy::unwrap_used)]

use std::process::{Child, Command, Stdio};

use freeway_base::{Rng, Seed};
use freeway_mem::{BURST, Packet, PacketPool, RxBurst, TxBurst};
use freeway_memif::{Memif, Role};
use freeway_port::{Port, RxQueue, TxQueue};

use crate::lab::{config, open_one, path, pool, trusting, until};

/// Set for the process that echoes: its role and its socket.
const ROLE: &str = "FREEWAY_MEMIF_TEST_ROLE";
const SOCKET: &str = "FREEWAY_MEMIF_TEST_SOCKET";

/// The other process: this program again, with this test alone.
struct Peer(Child);

impl Peer {
    fn start(role: Role, socket: &std::path::Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process::echo", "--ignored", "--nocapture"]);
        command.env(ROLE, if role == Role::Server { "server" } else { "client" }).env(SOCKET, socket);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// As `kill -9`: it has no time to say goodbye.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Takes away what a killed server leaves behind.
struct Leftover(std::path::PathBuf);

impl Drop for Leftover {
    fn drop(&mut self) {
        // A server that ended in order has taken it away.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Sends back all that comes, until it is killed.
#[test]
#[ignore = "the other process of the tests below"]
fn echo() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let role = if role == "server" { Role::Server } else { Role::Client };
    let mut config = config(role, std::env::var(SOCKET).unwrap().into());
    trusting(&mut config);
    let pool = pool(2_048, role == Role::Client);
    let mut port = open_one(&config).into_port();
    port.attach(&pool).unwrap();
    loop {
        let mut burst = RxBurst::new();
        if port.rx_burst(&pool, &mut burst) == 0 {
            std::thread::yield_now();
        }
        let mut back: TxBurst = burst.into_iter().map(Packet::share).collect();
        while !back.is_empty() {
            port.tx_burst(&mut back);
        }
    }
}

/// What has been sent and has come back.
#[derive(Default)]
struct Traffic {
    sent: u32,
    /// The last number that has come back.
    heard: Option<u32>,
    frames: u64,
}

impl Traffic {
    fn frame(number: u32) -> Vec<u8> {
        let len = 60 + (number % 1_400) as usize;
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.resize(len, number as u8);
        bytes
    }

    /// A burst there, and what has come back by now: whole, in order, nothing twice.
    fn turn(&mut self, port: &mut Memif, pool: &PacketPool, under_way_max: u32) {
        let last = self.heard.map_or(0, |heard| heard + 1);
        let count = under_way_max.saturating_sub(self.sent - last).min(BURST as u32);
        let mut burst: TxBurst = (self.sent..self.sent + count)
            .map_while(|number| {
                let mut packet = pool.alloc()?;
                packet.copy_from_slice(&Self::frame(number)).then(|| packet.share())
            })
            .collect();
        self.sent += port.tx_burst(&mut burst) as u32;
        let mut back = RxBurst::new();
        if port.rx_burst(pool, &mut back) == 0 {
            std::thread::yield_now();
        }
        for packet in back {
            let number = u32::from_le_bytes(packet.data()[..4].try_into().unwrap());
            assert!(packet.data() == Self::frame(number), "the bytes of frame {number}");
            assert!(self.heard.is_none_or(|heard| number > heard), "frame {number} after {:?}", self.heard);
            assert!(number < self.sent, "a frame that was not sent");
            self.heard = Some(number);
            self.frames += 1;
        }
    }
}

/// Exchanges frames with a process that is killed in the middle, again and again.
fn survives(role: Role) {
    let other = if role == Role::Server { Role::Client } else { Role::Server };
    let socket = path();
    let _leftover = Leftover(socket.clone());
    let mut own = config(role, socket.clone());
    trusting(&mut own);
    let pool = pool(2_048, role == Role::Client);
    let mut port = open_one(&own).into_port();
    port.attach(&pool).unwrap();
    let mut rng = Rng::new(Seed(3));
    for round in 1..=5 {
        let peer = Peer::start(other, &socket);
        let mut traffic = Traffic::default();
        until("the link", || {
            port.rx_burst(&pool, &mut RxBurst::new());
            port.counters().link_ups == round
        });
        let enough = 2_000 + u64::from(rng.below(20_000));
        until("frames", || {
            // So few under way that none is dropped.
            (0..64).for_each(|_| traffic.turn(&mut port, &pool, 400));
            traffic.frames >= enough
        });
        assert_eq!(traffic.frames, u64::from(traffic.heard.unwrap()) + 1, "frames were lost");
        // Killed at work: the last frames are on their way there and back.
        let killer = std::thread::spawn(move || peer.kill());
        while !killer.is_finished() {
            traffic.turn(&mut port, &pool, 400);
        }
        killer.join().unwrap();
        until("the end", || {
            traffic.turn(&mut port, &pool, 400);
            port.counters().link_downs == round
        });
        port.tx_burst(&mut TxBurst::new());
        assert_eq!(pool.in_use(), 0, "packets that did not come home");
        assert!(!port.status().is_up());
    }
}

#[test]
fn a_server_survives_its_clients() {
    survives(Role::Server);
}

#[test]
fn a_client_that_lends_survives_its_servers() {
    survives(Role::Client);
}
