//! Every frame of a port in a file that Wireshark opens.
//!
//! The file is a classic pcap with nanoseconds:
//!
//! ```text
//!   global header, 24 bytes
//!   │ magic a1b23c4d │ version 2.4 │ 0 │ 0 │ snap length │ link type 1 (Ethernet) │
//!   then for each frame 16 bytes and the frame
//!   │ seconds │ nanoseconds │ bytes kept │ bytes there were │ frame …             │
//! ```
//!
//! Source: draft-ietf-opsawg-pcap, sections 4 and 5. All numbers are 32 bits wide (the version: twice 16), in
//! little-endian order.

use std::io::{self, Write};

use freeway_base::Instant;
use freeway_mem::{BURST, PacketPool, RxBurst, TxBurst};

use crate::clock::Clock;
use crate::info::PortInfo;
use crate::queue::{Armed, CounterVisit, Port, PortCounters, RxQueue, TxQueue};

const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const SNAP_LEN: u32 = 1 << 16;
const LINK_TYPE_ETHERNET: u32 = 1;

/// A port that writes every frame, both ways, to a pcap file.
///
/// It is a tool to look with, not for the data path: each burst is written by whoever polls the port, and a slow disk
/// slows the core. Give it a buffered writer; it is flushed when the capture is dropped or [finished](Self::finish).
/// What was captured and then failed to be written is in [`Capture::error`]; frames flow on without being captured.
#[derive(Debug)]
pub struct Capture<P, C, W: Write> {
    port: P,
    clock: C,
    file: File<W>,
}

#[derive(Debug)]
struct File<W: Write> {
    /// None after an error, and when finished.
    writer: Option<W>,
    error: Option<io::Error>,
    frames: u64,
}

impl<P: Port, C: Clock, W: Write> Capture<P, C, W> {
    /// Captures what `port` does into `writer`, which gets the file's header now.
    ///
    /// # Errors
    ///
    /// The header could not be written.
    pub fn new(port: P, clock: C, mut writer: W) -> io::Result<Self> {
        writer.write_all(&global_header())?;
        Ok(Self { port, clock, file: File { writer: Some(writer), error: None, frames: 0 } })
    }

    /// Frames captured.
    pub fn frames(&self) -> u64 {
        self.file.frames
    }

    /// Why the capture ended early, if it did.
    pub fn error(&self) -> Option<&io::Error> {
        self.file.error.as_ref()
    }

    /// Ends the capture, and gives back the port.
    ///
    /// # Errors
    ///
    /// Something could not be written, now or earlier: the file is cut short.
    pub fn finish(mut self) -> io::Result<P> {
        self.file.flush();
        match self.file.error.take() {
            Some(error) => Err(error),
            None => Ok(self.port),
        }
    }
}

impl<W: Write> File<W> {
    fn write(&mut self, now: Instant, frame: &[u8]) {
        let Some(writer) = &mut self.writer else { return };
        let written =
            writer.write_all(&frame_header(now, frame.len())).and_then(|()| writer.write_all(frame));
        match written {
            Ok(()) => self.frames += 1,
            Err(error) => {
                self.error = Some(error);
                self.writer = None;
            }
        }
    }

    fn flush(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            self.error = writer.flush().err();
        }
    }
}

impl<W: Write> Drop for File<W> {
    fn drop(&mut self) {
        self.flush();
    }
}

fn global_header() -> [u8; 24] {
    let mut header = [0; 24];
    header[..4].copy_from_slice(&MAGIC_NANOSECONDS.to_le_bytes());
    header[4..6].copy_from_slice(&VERSION[0].to_le_bytes());
    header[6..8].copy_from_slice(&VERSION[1].to_le_bytes());
    // Bytes 8 to 16 are reserved: zero.
    header[16..20].copy_from_slice(&SNAP_LEN.to_le_bytes());
    header[20..].copy_from_slice(&LINK_TYPE_ETHERNET.to_le_bytes());
    header
}

fn frame_header(now: Instant, len: usize) -> [u8; 16] {
    let (seconds, nanos) = (now.as_nanos() / 1_000_000_000, now.as_nanos() % 1_000_000_000);
    let mut header = [0; 16];
    for (field, value) in
        header.chunks_exact_mut(4).zip([seconds as u32, nanos as u32, len as u32, len as u32])
    {
        field.copy_from_slice(&value.to_le_bytes());
    }
    header
}

impl<P: Port, C: Clock, W: Write> RxQueue for Capture<P, C, W> {
    fn rx_burst(&mut self, pool: &PacketPool, into: &mut RxBurst) -> usize {
        let before = into.len();
        let received = self.port.rx_burst(pool, into);
        if received > 0 {
            let now = self.clock.now();
            into.iter().skip(before).for_each(|packet| self.file.write(now, packet.data()));
        }
        received
    }

    fn arm(&mut self) -> Armed<'_> {
        self.port.arm()
    }

    fn disarm(&mut self) {
        self.port.disarm();
    }
}

impl<P: Port, C: Clock, W: Write> TxQueue for Capture<P, C, W> {
    /// The port keeps what it takes, and only then it is known how many those are: so that leftovers, which come back
    /// in a later call, are not written twice, a second handle on each frame waits here for the answer.
    fn tx_burst(&mut self, from: &mut TxBurst) -> usize {
        let mut views = [const { None }; BURST];
        views.iter_mut().zip(from.iter()).for_each(|(view, packet)| *view = packet.try_clone());
        let taken = self.port.tx_burst(from);
        if taken > 0 {
            let now = self.clock.now();
            views.iter().take(taken).flatten().for_each(|packet| self.file.write(now, packet.data()));
        }
        taken
    }
}

impl<P: Port, C: Clock, W: Write> Port for Capture<P, C, W> {
    fn attach(&mut self, pool: &PacketPool) -> io::Result<()> {
        self.port.attach(pool)
    }

    fn lent(&self) -> u32 {
        self.port.lent()
    }

    fn info(&self) -> &PortInfo {
        self.port.info()
    }

    fn counters(&self) -> PortCounters {
        self.port.counters()
    }

    fn more_counters(&self, visit: &mut CounterVisit<'_>) {
        self.port.more_counters(visit);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::clock::SharedClock;
    use crate::pipe::{PipeConfig, pipe};
    use crate::testing::{bytes_of, packet, pool};

    /// The frames of a capture, with their times.
    fn parse(mut file: &[u8]) -> Vec<(Instant, Vec<u8>)> {
        let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((word(file, 0), word(file, 20)), (MAGIC_NANOSECONDS, LINK_TYPE_ETHERNET));
        file = &file[24..];
        let mut frames = Vec::new();
        while !file.is_empty() {
            let (header, rest) = file.split_at(16);
            let (seconds, nanos, len) = (word(header, 0), word(header, 4), word(header, 8) as usize);
            let at = Instant::from_nanos(u64::from(seconds) * 1_000_000_000 + u64::from(nanos));
            frames.push((at, rest[..len].to_vec()));
            file = &rest[len..];
        }
        frames
    }

    #[test]
    fn frames_of_both_ways_are_written_once_with_their_time() {
        let pool = pool(16);
        let clock = SharedClock::new(Instant::from_nanos(1_000_000_005));
        let (near, mut far) = pipe(&PipeConfig { frames: 1, ..PipeConfig::default() }).unwrap();
        let mut file = Vec::new();
        let mut near = Capture::new(near, clock.clone(), &mut file).unwrap();

        let mut burst =
            TxBurst::from_iter([packet(&pool, b"first").share(), packet(&pool, b"second").share()]);
        assert_eq!(near.tx_burst(&mut burst), 1);
        let mut received = RxBurst::new();
        far.rx_burst(&pool, &mut received);
        clock.set(Instant::from_secs(2));
        assert_eq!(near.tx_burst(&mut burst), 1);
        far.tx_burst(&mut TxBurst::from_iter([packet(&pool, b"back").share()]));
        assert_eq!(near.rx_burst(&pool, &mut received), 1);
        assert_eq!(bytes_of(&received), [b"first".to_vec(), b"back".to_vec()]);

        assert_eq!(near.frames(), 3);
        near.finish().unwrap();
        let (early, late) = (Instant::from_nanos(1_000_000_005), Instant::from_secs(2));
        assert_eq!(
            parse(&file),
            [(early, b"first".to_vec()), (late, b"second".to_vec()), (late, b"back".to_vec())]
        );
    }

    /// A disk with room for so many bytes.
    struct SmallDisk(usize);

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_ends_the_capture_and_not_the_traffic() {
        let pool = pool(16);
        let (near, mut far) = pipe(&PipeConfig::default()).unwrap();
        let mut near = Capture::new(near, SharedClock::default(), SmallDisk(24 + 16 + 5 + 16)).unwrap();
        let mut burst: TxBurst = (0..3).map(|_| packet(&pool, b"frame").share()).collect();
        assert_eq!(near.tx_burst(&mut burst), 3);
        assert_eq!(far.rx_burst(&pool, &mut RxBurst::new()), 3);
        assert_eq!(near.frames(), 1);
        assert_eq!(near.error().unwrap().kind(), io::ErrorKind::StorageFull);
        assert!(near.finish().is_err());
    }
}
