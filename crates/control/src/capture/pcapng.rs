//! The file: a section, an interface for each core and device, packets, and at the end what was dropped.
//!
//! Source: draft-ietf-opsawg-pcapng. Times are nanoseconds since 1970 (`if_tsresol` 9).

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::interface_statistics::{InterfaceStatisticsBlock, InterfaceStatisticsOption};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};

/// `epb_flags`, bits 0 and 1: which way a packet went.
const INBOUND: u32 = 0b01;
const OUTBOUND: u32 = 0b10;

/// Powers of ten in a second's fraction.
const NANOSECONDS: u8 = 9;

/// A capture that is being written.
pub(super) struct File<W: Write> {
    writer: PcapNgWriter<W>,
}

/// An interface's counts.
pub(super) struct Counts {
    /// When the capture began and ended.
    pub(super) span: (Duration, Duration),
    /// Packets that the filter took.
    pub(super) taken: u64,
    /// Of these, packets dropped because too many waited.
    pub(super) dropped: u64,
}

impl<W: Write> File<W> {
    pub(super) fn new(writer: W) -> io::Result<Self> {
        let program = concat!("freeway ", env!("CARGO_PKG_VERSION"));
        let section = SectionHeaderBlock {
            endianness: Endianness::native(),
            options: vec![SectionHeaderOption::UserApplication(Cow::Borrowed(program))],
            ..SectionHeaderBlock::default()
        };
        Ok(Self { writer: PcapNgWriter::with_section_header(writer, section).map_err(plain)? })
    }

    /// Describes the next interface; they are numbered from 0.
    pub(super) fn interface(&mut self, name: &str, core: u32, snap_len: u32, filter: &str) -> io::Result<()> {
        let mut options = vec![
            InterfaceDescriptionOption::IfName(Cow::Owned(name.to_owned())),
            InterfaceDescriptionOption::IfDescription(Cow::Owned(format!("core {core}"))),
            InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
        ];
        if !filter.is_empty() {
            // A filter as text is told by a zero before it.
            let text = [&[0], filter.as_bytes()].concat();
            options.push(InterfaceDescriptionOption::IfFilter(Cow::Owned(text)));
        }
        let block = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen: snap_len, options };
        self.writer.write_block(&block.into_block()).map(drop).map_err(plain)
    }

    /// Writes a packet of an interface: `bytes` of the `len` that it had.
    pub(super) fn packet(
        &mut self,
        interface: u32,
        at: Duration,
        went_out: bool,
        len: u32,
        bytes: &[u8],
    ) -> io::Result<()> {
        let way = if went_out { OUTBOUND } else { INBOUND };
        let block = EnhancedPacketBlock {
            interface_id: interface,
            timestamp: at,
            original_len: len,
            data: Cow::Borrowed(bytes),
            options: vec![EnhancedPacketOption::Flags(way)],
        };
        self.writer.write_block(&block.into_block()).map(drop).map_err(plain)
    }

    /// Writes an interface's counts.
    pub(super) fn counts(&mut self, interface: u32, counts: &Counts) -> io::Result<()> {
        let Counts { span: (begun, ended), taken, dropped } = counts;
        let block = InterfaceStatisticsBlock {
            interface_id: interface,
            timestamp: halves(*ended),
            options: vec![
                InterfaceStatisticsOption::IsbStartTime(halves(*begun)),
                InterfaceStatisticsOption::IsbEndTime(halves(*ended)),
                InterfaceStatisticsOption::IsbIfRecv(*taken),
                InterfaceStatisticsOption::IsbIfDrop(*dropped),
            ],
        };
        self.writer.write_block(&block.into_block()).map(drop).map_err(plain)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }
}

/// Nanoseconds as the library must be given them for a block of counts: it writes one number of 64 bits where the format
/// has two of 32, the upper half first.
fn halves(at: Duration) -> u64 {
    let nanos = at.as_nanos() as u64;
    if cfg!(target_endian = "little") { nanos.rotate_left(32) } else { nanos }
}

fn plain(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = Vec::new();
        let at = Duration::new(1_700_000_000, 123_456_789);
        let mut file = File::new(&mut bytes).unwrap();
        file.interface("fw0", 3, 64, "tcp port 80").unwrap();
        file.packet(0, at, true, 1_500, b"first of many").unwrap();
        let span = (at, at + Duration::from_secs(5));
        file.counts(0, &Counts { span, taken: 9, dropped: 8 }).unwrap();
        file.flush().unwrap();

        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let Some(Ok(Block::InterfaceDescription(interface))) = reader.next_block() else { panic!() };
        assert_eq!((interface.linktype, interface.snaplen), (DataLink::ETHERNET, 64));
        assert!(interface.options.contains(&InterfaceDescriptionOption::IfName("fw0".into())));
        let Some(Ok(Block::EnhancedPacket(packet))) = reader.next_block() else { panic!() };
        assert_eq!(
            (packet.timestamp, packet.original_len, &*packet.data),
            (at, 1_500, &b"first of many"[..])
        );
        assert_eq!(packet.options, [EnhancedPacketOption::Flags(OUTBOUND)]);
        let Some(Ok(Block::InterfaceStatistics(counts))) = reader.next_block() else { panic!() };
        assert!(counts.options.contains(&InterfaceStatisticsOption::IsbIfDrop(8)));
        assert!(reader.next_block().is_none());
        // The upper half of a time comes first, whatever the order of bytes.
        let begun = bytes.len() - 4 - 4 - 12 - 12 - 12 - 12 - 8;
        let halves = [begun, begun + 4]
            .map(|place| u64::from(u32::from_ne_bytes(bytes[place..place + 4].try_into().unwrap())));
        assert_eq!(halves[0] << 32 | halves[1], (at + Duration::from_secs(5)).as_nanos() as u64);
    }
}
