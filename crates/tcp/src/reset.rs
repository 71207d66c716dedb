//! A segment for no connection (RFC 9293, section 3.10.7.1; reset group 1 of section 3.5.2).

use freeway_wire::tcp::{Flags, Repr, SeqNumber};

use crate::segment::{Outgoing, sequence_len};

/// The reset that answers a segment which belongs to no connection, or a segment to a listener that is no SYN.
/// A reset is never answered.
pub fn reset_for(repr: &Repr, payload_len: u32) -> Option<Outgoing> {
    if repr.flags.contains(Flags::RST) {
        return None;
    }
    Some(if repr.flags.contains(Flags::ACK) {
        // <SEQ=SEG.ACK><CTL=RST>
        Outgoing::control(Flags::RST, repr.ack, SeqNumber(0))
    } else {
        // <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
        let end = repr.seq + sequence_len(repr, payload_len);
        Outgoing::control(Flags::RST | Flags::ACK, SeqNumber(0), end)
    })
}
