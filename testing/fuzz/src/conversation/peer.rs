//! The peer: the sequence numbers of its conversations, learnt from the frames that the host sends.

use std::net::IpAddr;

use freeway_base::Instant;
use freeway_wire::tcp::{Flags, Options, Repr, SackBlocks, Segment, SeqNumber, Timestamps};
use freeway_wire::{Ecn, Protocol, checksum, ethernet, ipv4};

use super::frame::{self, HOST, PEER};

/// Conversations at once, each with a port of the peer's.
pub(crate) const SLOTS: usize = 4;
/// The one that the host opens.
pub(crate) const SLOT_ACTIVE: usize = SLOTS - 1;
/// The port of the host's listener.
pub(crate) const TCP_PORT: u16 = 80;
/// The host's port in the conversation that it opens.
pub(crate) const HOST_PORT_ACTIVE: u16 = 50_000;
/// The peer's port of conversation 0; the others follow.
const PEER_PORT: u16 = 40_000;

/// The peer's side of one conversation.
#[derive(Default)]
pub(crate) struct Slot {
    /// The sequence number of the peer's SYN.
    pub(crate) iss: u32,
    /// The next sequence number of the peer's.
    pub(crate) next: u32,
    /// The first byte of the peer's stream, as the host last said in a SYN-ACK.
    pub(crate) base: u32,
    /// Where the peer has said that its stream ends; a liar says several.
    pub(crate) ends: Vec<u32>,
    /// The sequence number of the host's SYN.
    host_iss: Option<u32>,
    /// The next sequence number expected from the host.
    host_next: u32,
    /// What the host's application has written.
    pub(crate) written: Vec<u8>,
    /// The host's clock, when its SYN said that it has one.
    host_clock: Option<u32>,
    /// The last packet that the host sent, for ICMP errors to quote.
    last_packet: Vec<u8>,
}

/// A segment before its conversation is known: everything relative to that.
pub(crate) struct Draft {
    pub(crate) flags: Flags,
    /// Relative to the next sequence number of the peer's.
    pub(crate) seq: i16,
    /// Relative to the next sequence number of the host's.
    pub(crate) ack: i16,
    pub(crate) window: u16,
    /// Which options it has; see [`Slot::options`].
    pub(crate) options: u8,
    pub(crate) len: u16,
    pub(crate) ecn: Ecn,
}

/// All conversations of the peer's.
pub(crate) struct Peer {
    pub(crate) slots: [Slot; SLOTS],
}

impl Peer {
    pub(crate) fn new() -> Self {
        // The first streams wrap around after a few hundred bytes.
        let slot = |number: usize| {
            let iss = 0xffff_ff00 - 0x1000 * number as u32;
            Slot { iss, next: iss.wrapping_add(1), ..Slot::default() }
        };
        Self { slots: std::array::from_fn(slot) }
    }

    pub(crate) const fn port(slot: usize) -> u16 {
        PEER_PORT + slot as u16
    }

    /// The conversation of a port of the peer's.
    pub(crate) fn slot_of(port: u16) -> Option<usize> {
        let slot = usize::from(port.checked_sub(PEER_PORT)?);
        (slot < SLOTS).then_some(slot)
    }

    /// The frame for a draft. `opening` is whether the host still waits for the SYN of the conversation that it
    /// opens: then there is but one number that a SYN has.
    pub(crate) fn segment(&mut self, number: usize, draft: &Draft, opening: bool, now: Instant) -> Vec<u8> {
        let slot = &mut self.slots[number];
        let is_syn = draft.flags.contains(Flags::SYN);
        let seq = match (is_syn, opening) {
            (true, true) => slot.iss,
            // What comes before the stream: the number of a SYN that was not answered yet.
            (true, false) => slot.next.wrapping_sub(1).wrapping_add_signed(i32::from(draft.seq)),
            (false, _) => slot.next.wrapping_add_signed(i32::from(draft.seq)),
        };
        let end = seq.wrapping_add(u32::from(is_syn)).wrapping_add(u32::from(draft.len));
        let is_fin = draft.flags.contains(Flags::FIN);
        if is_fin {
            slot.ends.push(end);
        }
        let repr = Repr {
            src_port: Self::port(number),
            dst_port: if number == SLOT_ACTIVE { HOST_PORT_ACTIVE } else { TCP_PORT },
            seq: SeqNumber(seq),
            ack: SeqNumber(slot.host_next.wrapping_add_signed(i32::from(draft.ack))),
            flags: draft.flags,
            window: draft.window,
            urgent: draft.len,
            options: slot.options(draft, seq, now),
        };
        if !is_syn && !draft.flags.contains(Flags::RST) {
            slot.advance_to(end.wrapping_add(u32::from(is_fin)));
        }
        frame::segment(&repr, draft.ecn, usize::from(draft.len))
    }

    /// The start of the last packet that the host sent in a conversation.
    pub(crate) fn last_packet(&self, number: usize) -> &[u8] {
        &self.slots[number].last_packet
    }

    /// The host opens its conversation anew.
    pub(crate) fn is_called(&mut self) {
        let slot = &mut self.slots[SLOT_ACTIVE];
        slot.iss = slot.next.wrapping_add(0x1_0000);
        slot.next = slot.iss.wrapping_add(1);
        slot.host_iss = None;
        slot.written.clear();
    }

    /// Sees a frame of the host's, and holds it to what the host may say.
    pub(crate) fn sees(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        if let Some(reply) = frame::arp_reply(frame) {
            return Some(reply);
        }
        let packet = ipv4::Packet::new_checked(frame.get(ethernet::HEADER_LEN..)?).ok()?;
        if packet.protocol() != Protocol::TCP || packet.dst() != PEER {
            return None;
        }
        let bytes = packet.payload();
        assert!(
            checksum::verify_transport(IpAddr::V4(HOST), IpAddr::V4(PEER), Protocol::TCP, bytes),
            "the host sends a wrong checksum"
        );
        let segment = Segment::new_checked(bytes).expect("the host sends whole headers");
        let slot = &mut self.slots[Self::slot_of(segment.dst_port())?];
        slot.last_packet.clear();
        slot.last_packet.extend(frame[ethernet::HEADER_LEN..].iter().take(60));
        slot.hears(&Repr::read(&segment), segment.payload());
        None
    }
}

impl Slot {
    fn advance_to(&mut self, seq: u32) {
        self.next = SeqNumber(self.next).max(SeqNumber(seq)).0;
    }

    /// The options of a segment, by the bits of `draft.options`.
    ///
    /// | bit | |
    /// |---|---|
    /// | 0 | on a SYN: no timestamps; later: not what the host expects |
    /// | 1 | a clock of long ago |
    /// | 2 | an echo that the host never sent |
    /// | 3 | on a SYN: a small MSS |
    /// | 4 | on a SYN: window scale |
    /// | 5 | on a SYN: SACK permitted; later: a block |
    fn options(&self, draft: &Draft, seq: u32, now: Instant) -> Options {
        let has = |bit: u8| draft.options & (1 << bit) != 0;
        let is_syn = draft.flags.contains(Flags::SYN);
        let expected = is_syn || self.host_clock.is_some();
        let clock = (now.as_millis() as u32).wrapping_sub(if has(1) { 100_000 } else { 0 });
        let echo = self.host_clock.unwrap_or(0).wrapping_add(if has(2) { 77_777 } else { 0 });
        let mut sack = SackBlocks::NONE;
        if has(5) && !is_syn {
            let start = self.host_next.wrapping_add(seq & 0xfff);
            sack.push(SeqNumber(start), SeqNumber(start.wrapping_add(500)));
        }
        Options {
            mss: (is_syn && has(3)).then_some(u16::from(draft.options) * 2),
            window_scale: (is_syn && has(4)).then_some(draft.options >> 5),
            sack_permitted: is_syn && has(5),
            timestamps: (expected != has(0)).then_some(Timestamps { value: clock, echo }),
            sack,
            ..Options::NONE
        }
    }

    /// Hears a segment of the host's.
    fn hears(&mut self, repr: &Repr, payload: &[u8]) {
        if repr.flags.contains(Flags::RST) {
            return;
        }
        if repr.flags.contains(Flags::SYN) {
            self.host_iss = Some(repr.seq.0);
            self.host_next = repr.seq.0.wrapping_add(1);
            self.host_clock = repr.options.timestamps.map(|timestamps| timestamps.value);
            if repr.flags.contains(Flags::ACK) {
                self.base = repr.ack.0;
                self.next = repr.ack.0;
            }
            return;
        }
        if let (Some(clock), Some(timestamps)) = (&mut self.host_clock, repr.options.timestamps) {
            *clock = timestamps.value;
        }
        self.check_stream(repr, payload);
    }

    /// What the host sends is what its application wrote, the first time and every time.
    fn check_stream(&mut self, repr: &Repr, payload: &[u8]) {
        let Some(iss) = self.host_iss else { return };
        let is_fin = repr.flags.contains(Flags::FIN);
        if payload.is_empty() && !is_fin {
            return;
        }
        let from = repr.seq.0.wrapping_sub(iss.wrapping_add(1)) as usize;
        let written = self.written.get(from..from + payload.len());
        assert_eq!(written, Some(payload), "the host sends at {from} what was not written there");
        assert!(!is_fin || from + payload.len() == self.written.len(), "the host's FIN is not at the end");
        let end = repr.seq.0.wrapping_add(payload.len() as u32).wrapping_add(u32::from(is_fin));
        self.host_next = SeqNumber(self.host_next).max(SeqNumber(end)).0;
    }
}
