//! Frames that nobody's stack would send, from the attacker on his own cable.

use std::net::SocketAddr;

use freeway_base::Rng;
use freeway_wire::MacAddr;
use freeway_wire::tcp::{Flags, Options, Repr};

use crate::lab::forge;
pub(crate) use forge::segment_of;

/// The attacker's hardware address.
pub(crate) const MAC: MacAddr = forge::STRANGER_MAC;

/// A segment with the given control bits and numbers.
pub(crate) fn segment(flags: Flags, seq: u32, ack: u32) -> Repr {
    forge::fields(flags, seq, ack, u16::MAX)
}

/// A SYN as an ordinary host sends it.
pub(crate) fn syn(rng: &mut Rng) -> Repr {
    let options = Options { mss: Some(1_460), window_scale: Some(7), ..Options::default() };
    Repr { options, ..segment(Flags::SYN, rng.next_u32(), 0) }
}

/// The frame that carries a segment to the server at `mac`.
pub(crate) fn frame(mac: MacAddr, src: SocketAddr, dst: SocketAddr, repr: &Repr, payload: &[u8]) -> Vec<u8> {
    forge::carry((MAC, mac), (src, dst), repr, payload)
}

/// The answer to an ARP request, if `frame` is one: the attacker has every address on his cable.
pub(crate) fn arp_reply(frame: &[u8]) -> Option<Vec<u8>> {
    forge::arp_answer(frame, |_| true)
}
