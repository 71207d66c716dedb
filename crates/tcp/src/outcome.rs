//! What a connection makes of what happened, as a plain value: the caller acts on it, and counts.

use bitflags::bitflags;
use freeway_wire::tcp::{SackBlocks, SeqNumber};

use crate::path::Probe;
use crate::segment::Outgoing;

/// What the caller holds for the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Bytes charged against the receive window: received in order or not, and not read yet.
    pub unread: u32,
    /// Bytes in the send queue, counted from `snd_una`: those in flight and those still to send.
    pub queued: u32,
    /// Whether the application has closed for reading too: nobody waits for the peer any more.
    pub closed: bool,
    /// Whether segments wait for a gap to close.
    pub out_of_order: bool,
    /// Whether the caller is short of memory for what peers send.
    pub pressure: Pressure,
    /// The path probe that [`poll_probe`](crate::Tcb::poll_probe) gave, until it is acknowledged or sent again.
    pub probe: Probe,
    /// What these are, as SACK reports it: the block received last first (RFC 2018, section 4). Needed where an
    /// [acknowledgment is owed](crate::Tcb::owes_blocks), and may be empty elsewhere.
    pub gaps: SackBlocks,
}

/// How short of memory the caller is for what peers send.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Pressure {
    /// Not at all: receive buffers may grow.
    #[default]
    None,
    /// Receive buffers grow no further.
    Some,
    /// Receive buffers count as large as they were in the beginning.
    High,
}

/// What a segment brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Payload to keep.
    pub accept: Option<Accept>,
    /// Bytes to drop from the front of the send queue; SYN and FIN are not counted.
    pub acked: u32,
    /// A segment to send now, apart from what [`poll_transmit`](crate::Tcb::poll_transmit) gives.
    pub reply: Reply,
    /// What to tell the application.
    pub events: Events,
    /// The congestion window was reduced, because the peer echoes a congestion mark.
    pub reduced: bool,
    /// Why (a part of) the segment was not used, for the caller's counters.
    pub dropped: Option<DropReason>,
    /// What the segment brought for the second time, from the first to behind the last sequence number: to be told to
    /// the peer by [`report_duplicate`](crate::Tcb::report_duplicate), as is a segment that the caller finds it holds
    /// already.
    pub duplicate: Option<(SeqNumber, SeqNumber)>,
}

/// Payload to keep. The bytes lie `offset` bytes into the segment's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accept {
    /// Bytes of payload to skip: received before.
    pub offset: u32,
    /// Bytes to keep.
    pub len: u32,
    /// The first kept byte's sequence number.
    pub seq: SeqNumber,
    /// The bytes are the next ones: `rcv_nxt` has moved past them. Otherwise they wait for a gap to close.
    pub in_order: bool,
    /// A FIN stands behind bytes that wait: hand it to [`on_gap_filled`](crate::Tcb::on_gap_filled) with them.
    /// Never set for bytes in order, whose FIN is consumed at once.
    pub fin: bool,
}

/// A segment to send at once, past the send queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reply {
    /// Nothing.
    #[default]
    None,
    /// An acknowledgment that cannot wait for [`poll_transmit`](crate::Tcb::poll_transmit), because it says of earlier
    /// segments what is not true of this one.
    Ack(Outgoing),
    /// An acknowledgment that anybody who guesses ports can provoke: the caller limits its rate (RFC 5961,
    /// section 7), over all connections and not by a number a stranger can count.
    Challenge(Outgoing),
    /// The answer to a probe of the peer's, by keepalive or of a shut window, whose sequence number is exactly the one
    /// before `rcv_nxt`: a stranger does not provoke it. The caller limits its rate for each connection alone, for a
    /// host whose connections are all probed has as many of these to send (RFC 9293, section 3.8.4).
    Alive(Outgoing),
    /// A reset; to be limited likewise.
    Reset(Outgoing),
}

bitflags! {
    /// What happened to a connection.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Events: u32 {
        /// The handshake is complete.
        const ESTABLISHED = 1 << 0;
        /// The peer has sent everything: after the bytes received so far the stream ends.
        const PEER_FIN = 1 << 1;
        /// The peer reset the connection.
        const RESET = 1 << 2;
        /// The peer refused the connection, or the path says that it cannot be reached.
        const REFUSED = 1 << 3;
        /// The peer did not answer in time: data, a SYN or keepalive probes stayed unacknowledged.
        const TIMED_OUT = 1 << 4;
        /// Both sides have finished and this one waits out old segments: make a
        /// [`TimeWait`](crate::TimeWait) of it. The peer's FIN may still be unacknowledged: send
        /// [`TimeWait::ack`](crate::TimeWait::ack), or poll the connection before letting it go.
        const TIME_WAIT = 1 << 5;
        /// Both sides have finished and nothing is left.
        const CLOSED = 1 << 6;
        /// Bytes were acknowledged: the send queue has room.
        const WRITABLE = 1 << 7;
        /// The same data was sent several times without an answer (R1 of RFC 9293): have the route looked up
        /// again.
        const STALLED = 1 << 8;
        /// The path reported an error that may pass (RFC 9293, SHLD-25).
        const SOFT_ERROR = 1 << 9;
        /// The path was found to carry less: [`path_mss`](crate::Tcb::path_mss) is to be remembered.
        const PATH = 1 << 10;
        /// For counters: fast recovery has begun (RFC 6582, RFC 6675).
        const FAST_RECOVERY = 1 << 24;
        /// For counters: the retransmission timer has expired.
        const TIMED_RESEND = 1 << 25;
        /// For counters: a tail loss probe is sent (RFC 8985, section 7).
        const PROBED = 1 << 26;
        /// For counters: a recovery was a mistake, and taken back.
        const SPURIOUS = 1 << 27;
        /// For counters: a retransmission was lost.
        const LOST_AGAIN = 1 << 28;
        /// For counters: the acknowledgment reports what cannot be (RFC 2018).
        const SACK_REJECTED = 1 << 29;
        /// For counters: the peer has thrown away what it had reported to have (RFC 2018, section 8).
        const RENEGED = 1 << 30;
    }
}

impl Events {
    /// What loss recovery reports for counters alone.
    pub const RECOVERY: Self = Self::FAST_RECOVERY
        .union(Self::TIMED_RESEND)
        .union(Self::PROBED)
        .union(Self::SPURIOUS)
        .union(Self::LOST_AGAIN)
        .union(Self::SACK_REJECTED)
        .union(Self::RENEGED);

    /// The events after which the connection is no more.
    pub const ENDED: Self =
        Self::RESET.union(Self::REFUSED).union(Self::TIMED_OUT).union(Self::TIME_WAIT).union(Self::CLOSED);
}

/// Why a segment was not used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DropReason {
    /// There is no connection any more.
    Closed,
    /// Outside the receive window, or received before.
    OutOfWindow,
    /// The window is closed: payload was dropped, the acknowledgment used.
    ZeroWindow,
    /// An old timestamp (RFC 7323, section 5: PAWS).
    OldTimestamp,
    /// No timestamp although both sides agreed on them (RFC 7323, section 3.2).
    MissingTimestamp,
    /// A reset that is not at `rcv_nxt` (RFC 5961, section 3), or acknowledges nothing that was sent.
    BlindReset,
    /// A SYN within a connection (RFC 5961, section 4).
    BlindSyn,
    /// An acknowledgment of what was never sent, or of too long ago (RFC 5961, section 5).
    BadAck,
    /// No ACK where there must be one.
    NoAck,
    /// Payload behind the peer's FIN.
    AfterFin,
}
