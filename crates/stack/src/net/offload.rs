//! Sums that the port fills in: asking for them while the frame still has one owner.
//!
//! The transport has written the pseudo-header's sum and flagged the packet. Once the link header is there, the frame's
//! begin is known, and the request goes right before it; afterwards the frame is held by the port and by the queue of what
//! is not acknowledged, and nobody writes to it.

use freeway_mem::{Packet, PacketFlags};
use freeway_wire::offload::{ChecksumRequest, REQUEST_LEN};

/// Writes the request of a frame behind whose link header of `link_len` bytes an IP packet begins.
#[inline]
pub(super) fn request(frame: &mut Packet, link_len: usize) {
    let packet = frame.data().get(link_len..).unwrap_or_default();
    let Some(request) = ChecksumRequest::of_packet(packet, link_len) else { return };
    match frame.headroom_mut(REQUEST_LEN) {
        Some(room) => {
            request.emit(room);
            frame.set_flags(PacketFlags::CHECKSUM_NEEDED | PacketFlags::CHECKSUM_REQUESTED);
        }
        None => {
            request.fill(frame.data_mut());
            frame.set_flags(PacketFlags::empty());
        }
    }
}
