//! Segments as Linux shows them: those that leave together as one large segment, and the push flag where Linux sets it.
//!
//! Linux's scripts are written for a device with segmentation offload: what leaves at one instant is one packet, up to a
//! bound, and such a packet carries PSH whatever it ends with. Freeway cuts segments itself, and sets PSH at the end of
//! what is queued. With the flag `tso` the tool sees them put together again (`on`), or with the flag only (`off`: the
//! offload is there, and the device cuts). Without it PSH stands where writes ended.
//!
//! A segment keeps its PSH when it is sent again, though more was queued behind it meanwhile; and what was written with
//! a promise of more ends without one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;

use freeway_wire::tcp::{Flags, Segment, SeqNumber};
use freeway_wire::{Protocol, checksum, ipv4, ipv6};

use crate::host::Sent;

/// Ends of writes that are remembered for one connection; past it all are forgotten.
const ENDS_MAX: usize = 4_096;

/// What stands between the stack and the cable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Offload {
    /// Nothing.
    None,
    /// The stack hands down large segments, and the device cuts them.
    Cut,
    /// The tool sees large segments.
    Large,
}

/// The two ends of a connection, the host's first.
pub(crate) type Flow = (SocketAddr, SocketAddr);

/// What is remembered of a connection's segments.
#[derive(Debug, Default)]
struct Stream {
    /// The number of its first byte.
    first: Option<SeqNumber>,
    /// Where segments ended that carried PSH.
    pushed: HashSet<u32>,
    /// Where writes ended that promised more, in bytes of the stream.
    promised: HashSet<u64>,
    /// Segments handed down at once.
    segments_max: usize,
    /// The number behind the highest that was sent.
    next: Option<SeqNumber>,
}

impl Stream {
    /// PSH as it stands at this end of a segment.
    fn judge(&mut self, end: SeqNumber, has_push: bool, is_burst: bool) -> bool {
        let count = self.first.map(|first| u64::from(end.distance_from(first)));
        let is_promised = count.is_some_and(|count| self.promised.contains(&count));
        let was_end = self.pushed.contains(&end.0) || has_push && !is_promised;
        if was_end {
            if self.pushed.len() == ENDS_MAX {
                self.pushed.clear();
            }
            self.pushed.insert(end.0);
        }
        was_end || is_burst
    }
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Shaper {
    streams: HashMap<Flow, Stream>,
}

impl Shaper {
    /// A write has ended at `count` bytes of the stream, and promised more.
    pub(crate) fn promise(&mut self, flow: Flow, count: u64) {
        let promised = &mut self.streams.entry(flow).or_default().promised;
        if promised.len() == ENDS_MAX {
            promised.clear();
        }
        promised.insert(count);
    }

    /// The promise was not kept: what is there goes out as any end of a write.
    pub(crate) fn forget_promise(&mut self, flow: Flow, count: u64) {
        if let Some(stream) = self.streams.get_mut(&flow) {
            stream.promised.remove(&count);
        }
    }

    /// How many segments a connection hands down at once from now on.
    pub(crate) fn set_bound(&mut self, flow: Flow, segments: usize) {
        self.streams.entry(flow).or_default().segments_max = segments;
    }

    /// Takes what the stack sent first, and what leaves with it.
    pub(crate) fn take(
        &mut self,
        batch: &mut VecDeque<Sent>,
        offload: Offload,
        flow: Option<Flow>,
    ) -> Vec<Sent> {
        let Some(first) = batch.pop_front() else { return Vec::new() };
        let Some(flow) = flow else { return vec![first] };
        // What is sent again goes out segment by segment.
        let again = self.is_sent_again(flow, &first.packet);
        let segments_max = self.streams.get(&flow).filter(|_| !again).map_or(1, |stream| stream.segments_max);
        let (at, mut whole) = (first.at, first.packet.clone());
        let mut parts = vec![first];
        let mut full = 0;
        while offload != Offload::None
            && parts.len() < segments_max
            && let Some(next) = batch.front()
            && merge(&mut whole, &next.packet, &mut full)
        {
            parts.extend(batch.pop_front());
        }
        let is_burst = parts.len() > 1;
        if offload == Offload::Large {
            parts = vec![Sent { at, packet: whole }];
        }
        let last = parts.len() - 1;
        for (place, part) in parts.iter_mut().enumerate() {
            self.push(flow, &mut part.packet, is_burst && place == last);
        }
        parts
    }

    fn is_sent_again(&self, flow: Flow, packet: &[u8]) -> bool {
        let seq = place(packet).and_then(|place| packet.get(place.start..)).and_then(|bytes| {
            let segment = Segment::new_checked(bytes).ok()?;
            Some(segment.seq())
        });
        let next = self.streams.get(&flow).and_then(|stream| stream.next);
        next.zip(seq).is_some_and(|(next, seq)| seq.is_before(next))
    }

    /// Sets or clears PSH on a segment with data.
    fn push(&mut self, flow: Flow, packet: &mut [u8], is_burst: bool) {
        let Some(place) = place(packet) else { return };
        let Some(bytes) = packet.get(place.start..) else { return };
        let Ok(segment) = Segment::new_checked(bytes) else { return };
        let (flags, payload) = (segment.flags(), bytes.len() - place.header_len);
        let seq = segment.seq();
        if flags.contains(Flags::SYN) {
            let stream = self.streams.entry(flow).or_default();
            stream.first = Some(seq + 1);
            stream.next = Some(seq + 1);
            stream.pushed.clear();
        }
        if payload == 0 || flags.contains(Flags::SYN) {
            return;
        }
        let stream = self.streams.entry(flow).or_default();
        let end = seq + payload as u32;
        if stream.next.is_none_or(|next| end.is_after(next)) {
            stream.next = Some(end);
        }
        let mut wanted = flags;
        wanted.set(Flags::PSH, stream.judge(end, flags.contains(Flags::PSH), is_burst));
        if wanted != flags {
            mend(packet, &place, wanted);
        }
    }
}

/// The longest IP packet.
const PACKET_MAX: usize = 65_535;

/// A packet's TCP segment: where it begins, how long its header is.
struct Place {
    start: usize,
    header_len: usize,
}

fn place(packet: &[u8]) -> Option<Place> {
    let (start, protocol) = match packet.first()? >> 4 {
        4 => {
            let view = ipv4::Packet::new_checked(packet).ok()?;
            (view.header_len(), view.protocol())
        }
        6 => {
            let view = ipv6::Packet::new_checked(packet).ok()?;
            (ipv6::HEADER_LEN, view.next_header())
        }
        _ => return None,
    };
    (protocol == Protocol::TCP).then_some(())?;
    let segment = Segment::new_checked(packet.get(start..)?).ok()?;
    Some(Place { start, header_len: segment.header_len() })
}

/// Puts `next` behind `packet`, if it continues it; `full` is the payload of the segments that `packet` is made of, 0
/// where it is one alone.
fn merge(packet: &mut Vec<u8>, next: &[u8], full: &mut usize) -> bool {
    let (Some(first), Some(second)) = (place(packet), place(next)) else { return false };
    let (Some(head), Some(tail)) = (packet.get(first.start..), next.get(second.start..)) else {
        return false;
    };
    let (Ok(one), Ok(other)) = (Segment::new_checked(head), Segment::new_checked(tail)) else { return false };
    let payload = head.len() - first.header_len;
    let added = tail.len() - second.header_len;
    let segment = if *full == 0 { payload } else { *full };
    let options = |bytes: &[u8], len: usize| bytes.get(20..len).map(<[u8]>::to_vec);
    let continues = one.src_port() == other.src_port()
        && one.dst_port() == other.dst_port()
        && one.seq() + payload as u32 == other.seq()
        && one.ack() == other.ack()
        && one.window() == other.window()
        && one.flags().difference(Flags::CWR | Flags::ECE) == Flags::ACK
        && other.flags().difference(Flags::PSH | Flags::FIN) == one.flags().difference(Flags::CWR)
        && options(head, first.header_len) == options(tail, second.header_len)
        && payload > 0
        && payload.is_multiple_of(segment)
        && (1..=segment).contains(&added)
        && packet.len() + added <= PACKET_MAX
        && addresses(packet) == addresses(next);
    if !continues {
        return false;
    }
    *full = segment;
    let flags = other.flags() | one.flags();
    let bytes = tail[second.header_len..].to_vec();
    packet.extend_from_slice(&bytes);
    mend(packet, &first, flags);
    true
}

fn addresses(packet: &[u8]) -> Option<Vec<u8>> {
    let range = if packet.first()? >> 4 == 4 { 12..20 } else { 8..40 };
    packet.get(range).map(<[u8]>::to_vec)
}

/// Lengths, flags and checksums after the packet has grown.
fn mend(packet: &mut [u8], place: &Place, flags: Flags) {
    let len = packet.len();
    let (src, dst) = if packet[0] >> 4 == 4 {
        let mut view = ipv4::Packet::new_unchecked(&mut *packet);
        view.set_total_len(len as u16);
        view.fill_checksum();
        (view.src().into(), view.dst().into())
    } else {
        let mut view = ipv6::Packet::new_unchecked(&mut *packet);
        view.set_payload_len((len - ipv6::HEADER_LEN) as u16);
        (view.src().into(), view.dst().into())
    };
    let segment = &mut packet[place.start..];
    Segment::new_unchecked(&mut *segment).set_flags(flags);
    checksum::fill_transport(src, dst, Protocol::TCP, segment);
}
