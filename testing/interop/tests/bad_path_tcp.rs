//! Freeway's TCP over a path that loses, reorders and delays, with Linux at the other end: what must hold every time.
//!
//! How fast it is, next to Linux, is for the benchmark `linux-path` to say.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use freeway_base::Duration;
use freeway_interop::impair::{Both, Impairment, Rate};
use freeway_interop::privilege;
use freeway_interop::transfer::freeway::Settings;
use freeway_interop::transfer::road::{Arrived, Host, Road, SERVER_V4, SERVER_V6, Trip};
use freeway_interop::transfer::{Congestion, Request, Sender};

const MB: u64 = 1_000_000;

/// 100 Mbit/s, 10 ms each way, every hundredth frame overtaken by those of 2 ms.
fn lossy(loss: f64) -> Both<Impairment> {
    let way = Impairment {
        loss,
        reorder: 0.01,
        delay: Duration::from_millis(10),
        rate: Some(Rate { bits_per_second: 100_000_000 }),
        ..Impairment::default()
    };
    Both { forward: way.clone(), backward: way }
}

/// Makes a sound packet one that a filter must find.
type Spoil = fn(&mut [u8]);

/// What Wireshark must not find in a capture, each with the filter that finds it, and with what spoils a frame of IPv4 so
/// that it does: a filter that finds nothing for being wrong would be no check.
///
/// The capture is of all that passed Freeway's own device, so nothing that either end acknowledges may be missing in it.
const WRONG: [(&str, &str, Spoil); 5] = [
    ("a malformed packet", "_ws.malformed", |ip| ip[2..4].copy_from_slice(&30_u16.to_be_bytes())),
    ("a wrong checksum of TCP's", "tcp.checksum_bad.expert", |ip| ip[ip.len() - 1] ^= 1),
    ("a wrong checksum of IP's", "ip.checksum_bad.expert", |ip| ip[8] ^= 1),
    ("a reset", "tcp.flags.reset == 1", |ip| ip[20 + 13] |= 4),
    ("an acknowledgment of what was never sent", "tcp.analysis.ack_lost_segment", |ip| {
        ip[20 + 9] = ip[20 + 9].wrapping_add(0x20);
    }),
];

/// Runs the display filter `filter` over the capture and returns a line for each frame that it is true of.
fn wireshark(capture: &Path, filter: &str) -> Result<String> {
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(capture).args(["-n", "-2", "-Y", filter]);
    for check in ["tcp.check_checksum:TRUE", "ip.check_checksum:TRUE"] {
        tshark.args(["-o", check]);
    }
    let output = tshark.output().context("cannot start tshark")?;
    ensure!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Linux's word on what the SYNs agreed on.
fn agreed(arrived: &Arrived) -> Result<()> {
    let seen = arrived.seen.as_deref().context("`ss` was not asked")?;
    let words: Vec<_> = seen.split_whitespace().collect();
    for word in ["ts", "sack", "ecn"] {
        ensure!(words.contains(&word), "Linux does not show `{word}`: {seen}");
    }
    ensure!(words.iter().any(|word| word.starts_with("wscale:")), "Linux scales no window: {seen}");
    let info = arrived.ending.and_then(|ending| ending.info).context("Freeway has no figures")?;
    ensure!(
        info.timestamps && info.sack && info.ecn == Some(true) && info.window_scales.1 > 0,
        "Freeway thinks otherwise: {info:?}"
    );
    Ok(())
}

#[test]
#[ignore = "needs root: cargo xtask interop"]
fn transfers_over_a_lossy_reordering_path_are_unharmed_and_wireshark_has_no_objection() -> Result<()> {
    if !privilege::granted("bad_path_tcp") {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let capture = directory.path().join("transfers.pcap");
    let road = Road::lay(&Host::Freeway(Box::new(Settings {
        capture: Some(capture.clone()),
        ..Settings::default()
    })))?;
    let mut seed = 0;
    for (loss, length) in [(0.01, 2 * MB), (0.03, MB)] {
        for sender in Sender::ALL {
            for (congestion, server) in [(Congestion::Cubic, SERVER_V4), (Congestion::NewReno, SERVER_V6)] {
                seed += 1;
                let request = Request { sender, seed, length };
                let trip = Trip { server, congestion, path: lossy(loss), seed, request };
                let arrived = road.send(&trip, true)?;
                agreed(&arrived).with_context(|| format!("{trip:?}"))?;
                let data = match sender {
                    Sender::Client => arrived.path.path.forward,
                    Sender::Server => arrived.path.path.backward,
                };
                ensure!(data.lost > 0 && data.reordered > 0, "the path was not bad: {trip:?} {data:?}");
            }
        }
    }
    road.close()?;

    let data = wireshark(&capture, "tcp.len > 0")?;
    let least = (4 * 2 + 4) * MB / 1_460;
    ensure!(data.lines().count() as u64 >= least, "the capture lacks frames: {}", data.lines().count());
    for (what, filter, _) in WRONG {
        let frames = wireshark(&capture, filter)?;
        ensure!(frames.is_empty(), "Wireshark sees {what}:\n{frames}");
    }
    let sound = fs::read(&capture)?;
    for (what, filter, spoil) in WRONG {
        let mut bytes = sound.clone();
        spoil(long_packet(&mut bytes).context("no long packet of IPv4")?);
        let spoiled = directory.path().join("spoiled.pcap");
        fs::write(&spoiled, bytes)?;
        ensure!(!wireshark(&spoiled, filter)?.is_empty(), "Wireshark does not see {what} where there is one");
    }
    Ok(())
}

/// The first packet of IPv4 in a pcap file that is longer than 1000 bytes.
fn long_packet(pcap: &mut [u8]) -> Option<&mut [u8]> {
    const ETHERNET: usize = 14;
    let mut at = 24;
    loop {
        let length = pcap.get(at + 8..at + 12)?.try_into().map(u32::from_le_bytes).ok()? as usize;
        let frame = at + 16..at + 16 + length;
        if length > 1_000 && pcap.get(frame.clone())?[12..ETHERNET] == [0x08, 0x00] {
            return pcap.get_mut(frame)?.get_mut(ETHERNET..);
        }
        at = frame.end;
    }
}
