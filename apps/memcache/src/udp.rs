//! The frame of a datagram: 8 bytes before a request or a part of an answer.

/// Bytes of a frame.
pub const FRAME_LEN: usize = 8;

/// Bytes of a datagram of an answer at most, frame included, as memcached cuts them: it fits an Ethernet with room
/// for tunnels.
pub const DATAGRAM_MAX: usize = 1400;

/// A frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Frame {
    /// The client's number for its request, which every part of the answer repeats.
    pub request: u16,
    /// Which part this is, from 0.
    pub sequence: u16,
    /// How many there are.
    pub total: u16,
}

impl Frame {
    /// Cuts the frame off a datagram; `None` if it is too short.
    pub fn parse(datagram: &[u8]) -> Option<(Self, &[u8])> {
        let (&[r0, r1, s0, s1, t0, t1, _, _], payload) = datagram.split_first_chunk::<FRAME_LEN>()?;
        let frame = Self {
            request: u16::from_be_bytes([r0, r1]),
            sequence: u16::from_be_bytes([s0, s1]),
            total: u16::from_be_bytes([t0, t1]),
        };
        Some((frame, payload))
    }

    /// Whether the request is all in this datagram, as it must be.
    pub const fn is_whole(&self) -> bool {
        self.sequence == 0 && self.total == 1
    }

    /// Its bytes.
    #[inline]
    pub const fn to_bytes(self) -> [u8; FRAME_LEN] {
        let Self { request, sequence, total } = self;
        ((request as u64) << 48 | (sequence as u64) << 32 | (total as u64) << 16).to_be_bytes()
    }
}

/// How many datagrams an answer of `len` bytes takes; `None` if the frame cannot count them.
pub const fn datagrams(len: usize) -> Option<u16> {
    let count = len.div_ceil(DATAGRAM_MAX - FRAME_LEN);
    let count = if count == 0 { 1 } else { count };
    if count <= u16::MAX as usize { Some(count as u16) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back() {
        let frame = Frame { request: 0x1234, sequence: 2, total: 0x0301 };
        let mut bytes = frame.to_bytes().to_vec();
        bytes.extend_from_slice(b"get a\r\n");
        assert_eq!(bytes[..FRAME_LEN], [0x12, 0x34, 0, 2, 3, 1, 0, 0]);
        assert_eq!(Frame::parse(&bytes), Some((frame, b"get a\r\n".as_slice())));
        assert_eq!(Frame::parse(&bytes[..7]), None);
    }

    #[test]
    fn an_answer_has_a_datagram_at_least() {
        assert_eq!(datagrams(0), Some(1));
        assert_eq!(datagrams(1392), Some(1));
        assert_eq!(datagrams(1393), Some(2));
        assert_eq!(datagrams(1392 * 65_535), Some(65_535));
        assert_eq!(datagrams(1392 * 65_535 + 1), None);
    }
}
