//! The states of a connection (RFC 9293, section 3.3.2).

/// A connection's state. LISTEN is the caller's: a listener is no connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// No connection.
    Closed,
    /// A SYN was sent.
    SynSent,
    /// SYNs crossed, or were answered; the last acknowledgment is missing.
    SynReceived,
    /// Open both ways.
    Established,
    /// This side has closed; its FIN is not acknowledged.
    FinWait1,
    /// This side has closed and the peer knows it; the peer may still send.
    FinWait2,
    /// The peer has closed; this side may still send.
    CloseWait,
    /// Both closed at once; this side's FIN is not acknowledged.
    Closing,
    /// Both closed, the peer first; this side's FIN is not acknowledged.
    LastAck,
    /// Both closed, this side first: old segments are waited out.
    TimeWait,
}

impl State {
    /// Whether a FIN of the peer is still to come, so that payload can arrive.
    #[inline]
    pub const fn can_receive(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// Whether the application may still queue data.
    #[inline]
    pub const fn can_send(self) -> bool {
        matches!(self, Self::SynSent | Self::SynReceived | Self::Established | Self::CloseWait)
    }

    /// Whether queued data, or a FIN, may go out.
    #[inline]
    pub const fn transmits(self) -> bool {
        matches!(self, Self::Established | Self::CloseWait | Self::FinWait1 | Self::Closing | Self::LastAck)
    }

    /// Whether both sides have agreed on sequence numbers (RFC 9293, "synchronized").
    #[inline]
    pub const fn is_synchronized(self) -> bool {
        !matches!(self, Self::Closed | Self::SynSent | Self::SynReceived)
    }
}
