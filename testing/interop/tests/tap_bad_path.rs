//! Freeway behind a TAP device, with a path between it and Linux that loses, reorders, doubles, corrupts and delays.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use freeway_base::Duration;
use freeway_interop::impair::{Both, Impairment, Rate};
use freeway_interop::lab::{Lab, SERVER_V4, SERVER_V6, SERVERS, at, port};
use freeway_interop::peer::{http, tcp};

const MIB: u64 = 1 << 20;

/// Loss of 1%, reordering, duplicates and 20 ms each way.
fn bad() -> Impairment {
    Impairment {
        loss: 0.01,
        reorder: 0.01,
        duplicate: 0.01,
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(1),
        ..Impairment::default()
    }
}

fn both_ways(impairment: Impairment) -> Both<Impairment> {
    Both { forward: impairment.clone(), backward: impairment }
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_path_that_does_nothing_changes_nothing() -> Result<()> {
    let root = tempfile::tempdir()?;
    let Some(lab) = Lab::behind_path("clean path", root.path())? else { return Ok(()) };
    for server in SERVERS {
        lab.client().run(&format!("ping -q -c 5 -i 0.1 -W 2 {server}"))?;
        let stream = tcp::connect(lab.client(), at(server, port::ECHO))?;
        tcp::echo(&stream, 1, 16 * MIB)?;
    }
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn echo_over_a_bad_path_is_unharmed() -> Result<()> {
    let root = tempfile::tempdir()?;
    let Some(lab) = Lab::behind_path("echo over a bad path", root.path())? else { return Ok(()) };
    for (seed, server) in [(1, SERVER_V4), (2, SERVER_V6)] {
        lab.impair(both_ways(bad()), seed)?;
        let stream = tcp::connect(lab.client(), at(server, port::ECHO))?;
        tcp::echo(&stream, seed, 2 * MIB).with_context(|| format!("{server}, seed {seed}"))?;
    }
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_download_over_a_bad_path_is_unharmed() -> Result<()> {
    let root = tempfile::tempdir()?;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
    let bytes = vec![0x42; 4 * MIB as usize];
    fs::write(root.path().join("file.bin"), &bytes)?;
    let Some(lab) = Lab::behind_path("download over a bad path", root.path())? else { return Ok(()) };
    lab.impair(both_ways(bad()), 3)?;
    let mut stream = tcp::connect(lab.client(), at(SERVER_V4, port::HTTP))?;
    let answer = http::get(&mut stream, "198.18.0.2", "/file.bin")?;
    let mut prover = freeway_interop::peer::pattern::Prover::default();
    prover.add(&bytes);
    ensure!(answer.status == 200 && answer.body == prover.finish(), "{answer:?}");
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn bursts_of_losses_are_survived() -> Result<()> {
    let root = tempfile::tempdir()?;
    let Some(lab) = Lab::behind_path("bursts", root.path())? else { return Ok(()) };
    let bursts = Impairment {
        burst: 0.002,
        burst_length: 8.0,
        delay: Duration::from_millis(5),
        ..Impairment::default()
    };
    lab.impair(both_ways(bursts), 4)?;
    let stream = tcp::connect(lab.client(), at(SERVER_V4, port::ECHO))?;
    tcp::echo(&stream, 4, 2 * MIB)?;
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn no_corrupted_byte_reaches_an_application() -> Result<()> {
    let root = tempfile::tempdir()?;
    let Some(lab) = Lab::behind_path("corruption", root.path())? else { return Ok(()) };
    lab.impair(both_ways(Impairment { corrupt: 0.02, ..Impairment::default() }), 5)?;
    let stream = tcp::connect(lab.client(), at(SERVER_V4, port::ECHO))?;
    tcp::echo(&stream, 5, 4 * MIB)?;
    lab.stop().map(drop)
}

#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn a_slow_line_with_a_short_queue_is_filled_and_not_flooded() -> Result<()> {
    let root = tempfile::tempdir()?;
    let Some(lab) = Lab::behind_path("slow line", root.path())? else { return Ok(()) };
    let slow = Impairment {
        rate: Some(Rate { bits_per_second: 20_000_000 }),
        queue_bytes: 64 * 1024,
        delay: Duration::from_millis(5),
        ..Impairment::default()
    };
    lab.impair(both_ways(slow), 6)?;
    let stream = tcp::connect(lab.client(), at(SERVER_V4, port::ECHO))?;
    let start = std::time::Instant::now();
    tcp::echo(&stream, 6, 8 * MIB)?;
    // The line alone takes 3.4 s; whoever takes thrice that does not fill it.
    let seconds = start.elapsed().as_secs_f64();
    ensure!((3.0..10.0).contains(&seconds), "8 MiB took {seconds:.1} s at 20 Mbit/s");
    lab.stop().map(drop)
}

/// Whichever single frame of a short exchange is lost, handshake and goodbye included, the exchange succeeds.
#[test]
#[ignore = "needs root and the server's binary: cargo xtask interop"]
fn any_one_lost_frame_is_made_good() -> Result<()> {
    let root = tempfile::tempdir()?;
    let Some(lab) = Lab::behind_path("one lost frame", root.path())? else { return Ok(()) };
    for nth in 1..=8 {
        let dropping = Impairment { drop_nth: vec![nth], ..Impairment::default() };
        for (name, path) in [
            ("from the server", Both { forward: dropping.clone(), backward: Impairment::default() }),
            ("from the client", Both { forward: Impairment::default(), backward: dropping.clone() }),
        ] {
            lab.impair(path, 1)?;
            let stream = tcp::connect(lab.client(), at(SERVER_V4, port::ECHO))?;
            tcp::echo(&stream, nth, 5_000).with_context(|| format!("frame {nth} {name}"))?;
        }
    }
    lab.stop().map(drop)
}
