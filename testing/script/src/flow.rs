//! One flow between the host and the peer, with the numbers that a scenario counts from.

use std::net::IpAddr;

use freeway_wire::tcp::{Flags, Options, Repr, SackBlocks, SeqNumber, Timestamps};

use crate::application::Ports;
use crate::packet::{Ends, byte_at};
use crate::segment::Segment;
use crate::version::Version;

/// A flow as the peer knows it.
#[derive(Clone)]
pub(crate) struct Flow {
    pub(crate) host: IpAddr,
    pub(crate) peer: IpAddr,
    pub(crate) host_port: u16,
    pub(crate) peer_port: u16,
    /// The peer's initial sequence number.
    pub(crate) peer_iss: SeqNumber,
    /// The host's, once its SYN was seen.
    pub(crate) host_iss: Option<SeqNumber>,
    /// The host's last timestamp.
    pub(crate) host_stamp: u32,
    /// Bytes that the application wrote.
    pub(crate) written: u32,
    /// Bytes that it read.
    pub(crate) read: u32,
}

impl Flow {
    /// A flow from a port of the peer's.
    pub(crate) const fn new(version: Version, host_port: u16, peer_port: u16) -> Self {
        Self {
            host: version.host(),
            peer: version.peer(),
            host_port,
            peer_port,
            peer_iss: SeqNumber(1_000),
            host_iss: None,
            host_stamp: 0,
            written: 0,
            read: 0,
        }
    }

    pub(crate) const fn ports(&self) -> Ports {
        (self.host_port, self.peer_port)
    }

    /// What the peer's packets say.
    pub(crate) const fn inbound(&self) -> Ends {
        Ends { src: self.peer, dst: self.host }
    }

    /// What the host's packets say.
    pub(crate) const fn outbound(&self) -> Ends {
        Ends { src: self.host, dst: self.peer }
    }

    pub(crate) fn host_base(&self) -> SeqNumber {
        self.host_iss.unwrap_or(SeqNumber(0))
    }

    /// The peer's segment, with its payload.
    pub(crate) fn say(&self, segment: &Segment) -> (Repr, Vec<u8>) {
        let relative = segment.seq.unwrap_or(0);
        let base = self.host_base();
        let blocks = segment.sack.iter().flatten().map(|&(first, end)| (base + first, base + end));
        let repr = Repr {
            src_port: self.peer_port,
            dst_port: self.host_port,
            seq: self.peer_iss + relative,
            ack: segment.ack.map_or(SeqNumber(0), |ack| base + ack),
            flags: segment.flags.unwrap_or(Flags::empty()),
            window: segment.window.unwrap_or(65_535),
            urgent: segment.urgent.unwrap_or(0),
            options: Options {
                mss: segment.mss,
                window_scale: segment.wscale,
                sack_permitted: segment.sack_permitted,
                fast_open: segment.cookie,
                sack: blocks.collect::<SackBlocks>(),
                timestamps: segment.timestamps.map(|(value, echo)| Timestamps {
                    value,
                    echo: if segment.echoes { self.host_stamp } else { echo },
                }),
                ..Options::default()
            },
        };
        // A SYN takes the first number: its payload begins behind it.
        let first = relative + u32::from(repr.flags.contains(Flags::SYN));
        let truth = (first..).map(byte_at).take(segment.len as usize);
        (repr, truth.map(|byte| if segment.junk { !byte } else { byte }).collect())
    }

    /// The header of a segment of the host's, as somebody on the way would quote it.
    pub(crate) fn quote(&self, seq: u32, port: Option<u16>) -> Repr {
        Repr {
            src_port: self.host_port,
            dst_port: port.unwrap_or(self.peer_port),
            seq: self.host_base() + seq,
            ack: self.peer_iss + 1,
            flags: Flags::ACK,
            window: 0,
            urgent: 0,
            options: Options::default(),
        }
    }
}
