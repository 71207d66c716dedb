//! A segment on its way in, and one on its way out.

use freeway_wire::Ecn;
use freeway_wire::tcp::{Flags, Header, Options, Repr, SeqNumber};

/// A segment that arrived, its header parsed and its checksum verified.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The header.
    pub repr: &'a Repr,
    /// Bytes of payload behind it.
    pub payload_len: u32,
    /// The congestion mark of the IP header.
    pub ecn: Ecn,
}

impl Arrival<'_> {
    /// The sequence space it takes: payload, and one each for SYN and FIN (RFC 9293, SEG.LEN).
    #[inline]
    pub(crate) fn sequence_len(&self) -> u32 {
        sequence_len(self.repr, self.payload_len)
    }

    #[inline]
    pub(crate) fn has(&self, flags: Flags) -> bool {
        self.repr.flags.contains(flags)
    }
}

/// SEG.LEN of RFC 9293.
#[inline]
pub(crate) fn sequence_len(repr: &Repr, payload_len: u32) -> u32 {
    let controls = u32::from(repr.flags.contains(Flags::SYN)) + u32::from(repr.flags.contains(Flags::FIN));
    payload_len.saturating_add(controls)
}

/// A segment to send: everything but the ports and the payload's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outgoing {
    /// Sequence number.
    pub seq: SeqNumber,
    /// Acknowledgment number; meaningful with ACK.
    pub ack: SeqNumber,
    /// Control bits.
    pub flags: Flags,
    /// The window field, scaled already.
    pub window: u16,
    /// Options.
    pub options: Options,
    /// Where in the send queue the payload begins, counted from `snd_una`.
    pub offset: u32,
    /// Bytes of payload.
    pub len: u32,
    /// Whether any of it was sent before.
    pub retransmission: bool,
    /// The congestion mark for the IP header: ECT(0) on new data where both sides understand it.
    pub ecn: Ecn,
}

impl Outgoing {
    /// A segment without payload and options.
    pub(crate) fn control(flags: Flags, seq: SeqNumber, ack: SeqNumber) -> Self {
        Self { seq, ack, flags, ..Self::default() }
    }

    /// The header of this segment between two ports.
    #[inline]
    pub const fn header(&self, src_port: u16, dst_port: u16) -> Header<'_> {
        let Self { seq, ack, flags, window, ref options, .. } = *self;
        Header { src_port, dst_port, seq, ack, flags, window, urgent: 0, options }
    }

    /// The same with options of its own.
    #[inline]
    pub fn repr(&self, src_port: u16, dst_port: u16) -> Repr {
        let Self { seq, ack, flags, window, options, .. } = *self;
        Repr { src_port, dst_port, seq, ack, flags, window, urgent: 0, options }
    }
}
