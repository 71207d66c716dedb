//! The server's half of `pcap`: frames from the cores' rings to the client, until one of the two has enough.

use std::io::{self, BufWriter, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use freeway_filter::Program;
use freeway_runtime::{Frames, Observer};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::pcapng::{Counts, File};
use super::{Begun, Wanted};
use crate::admin::Answer;

/// Frames that may wait on each core, unless the client says.
const SLOTS: u32 = 4_096;
/// The most that a client can ask for.
const SLOTS_MAX: u32 = 1 << 18;
/// Bytes of rings on all cores at most: what a client asks for is the server's memory.
const BYTES_MAX: u64 = 1 << 30;
/// How long the thread sleeps that finds no frame.
const NAP: Duration = Duration::from_millis(1);
/// Frames between two looks at the clock and at the client.
const LOOK: u32 = 256;

/// One core's frames.
struct Source {
    core: u32,
    frames: Frames,
    /// The number of its first interface in the file.
    first: u32,
}

/// Captures for `client`: an answer in a line, then a pcapng file, until the client ends its half, has gone, or the bounds
/// that it gave are reached.
///
/// # Errors
///
/// The client has gone.
pub(crate) fn tell(client: &UnixStream, observer: &Observer, wanted: &Wanted) -> io::Result<()> {
    let (mut sources, snap_len) = match open(observer, wanted) {
        Ok(opened) => opened,
        Err(reason) => return say(client, &Answer::Error(reason)),
    };
    tracing::info!(filter = %wanted.filter, snap_len, "a capture begins");
    let interfaces = sources.iter().flat_map(|source| names(observer, source.core)).collect();
    say(client, &Answer::Capture(Begun { interfaces, snap_len }))?;

    let mut file = File::new(BufWriter::with_capacity(1 << 16, client))?;
    for source in &mut sources {
        for name in names(observer, source.core) {
            file.interface(&name, source.core, snap_len, &wanted.filter)?;
        }
    }
    // The cores' clock and the world's, joined once: a file whose clock jumps would be of no use.
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let offset = since_1970.saturating_sub(Duration::from_nanos(observer.now().as_nanos()));
    let begun = Instant::now();

    let mut left = if wanted.count == 0 { u64::MAX } else { wanted.count };
    let is_late = || wanted.millis > 0 && begun.elapsed() >= Duration::from_millis(wanted.millis);
    while left > 0
        && !is_late()
        && !has_ended(client)
        && !sources.iter().all(|one| one.frames.is_disconnected())
    {
        let written = write(&mut file, &mut sources, offset, left.min(u64::from(LOOK)))?;
        left -= written;
        if written == 0 {
            file.flush()?;
            thread::sleep(NAP);
        }
    }
    sources.iter().for_each(|source| source.frames.stop());
    // What the cores had copied by then is part of it.
    while left > 0 {
        let written = write(&mut file, &mut sources, offset, left.min(u64::from(LOOK)))?;
        left -= written;
        if written == 0 {
            break;
        }
    }
    let ended = since_1970 + begun.elapsed();
    for source in &sources {
        let (taken, dropped) = source.frames.counts();
        file.counts(source.first, &Counts { span: (since_1970, ended), taken, dropped })?;
    }
    let counts = sources.iter().map(|source| source.frames.counts());
    let (taken, dropped) = counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
    tracing::info!(taken, dropped, "a capture has ended");
    file.flush()?;
    client.shutdown(Shutdown::Write)
}

fn open(observer: &Observer, wanted: &Wanted) -> Result<(Vec<Source>, u32), String> {
    let filter: Program = wanted.filter.parse().map_err(|error| format!("{error}"))?;
    let links = (0..observer.cores()).flat_map(|core| observer.interfaces(core));
    let frame_max = links.map(|link| link.frame_max).max().unwrap_or(0) as u32;
    let snap_len = if wanted.snap_len == 0 { frame_max } else { wanted.snap_len.min(frame_max) };
    let slots = if wanted.slots == 0 { SLOTS } else { wanted.slots.min(SLOTS_MAX) };
    let bytes =
        u64::from(slots.next_power_of_two()) * u64::from(snap_len + 128) * u64::from(observer.cores());
    if bytes > BYTES_MAX {
        return Err(format!(
            "rings of {slots} frames of {snap_len} bytes on {} cores take {} MiB, more than {} MiB: ask for fewer or shorter \
             ones",
            observer.cores(),
            bytes >> 20,
            BYTES_MAX >> 20
        ));
    }
    let mut sources = Vec::new();
    let mut first = 0;
    for core in 0..observer.cores() {
        let frames = observer
            .frames(core, filter.clone(), snap_len, slots as usize)
            .map_err(|error| error.to_string())?;
        sources.push(Source { core, frames, first });
        first += observer.interfaces(core).len() as u32;
    }
    Ok((sources, snap_len))
}

fn names(observer: &Observer, core: u32) -> Vec<String> {
    observer.interfaces(core).iter().map(|link| link.name.clone()).collect()
}

/// Writes the oldest frames that wait, at most `most`; returns how many there were.
fn write<W: Write>(
    file: &mut File<W>,
    sources: &mut [Source],
    offset: Duration,
    most: u64,
) -> io::Result<u64> {
    for written in 0..most {
        let next = sources
            .iter_mut()
            .filter_map(|source| source.frames.peek().map(|frame| frame.at).map(|at| (at, source)))
            .min_by_key(|(at, _)| *at);
        let Some((_, source)) = next else { return Ok(written) };
        if let Some(frame) = source.frames.peek() {
            let at = offset + Duration::from_nanos(frame.at.as_nanos());
            let interface = source.first + u32::from(frame.iface.0);
            file.packet(interface, at, frame.went_out, frame.len, frame.bytes)?;
        }
        source.frames.release();
    }
    Ok(most)
}

/// Whether the client has ended its half, or is gone.
fn has_ended(client: &UnixStream) -> bool {
    let mut byte = [0; 1];
    match recv(client, &mut byte[..], RecvFlags::DONTWAIT | RecvFlags::PEEK) {
        Ok((_, 0)) => true,
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => false,
        Err(_) => true,
    }
}

fn say(mut client: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    client.write_all(&line)
}
