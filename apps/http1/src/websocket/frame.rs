//! Frames (RFC 6455, section 5.2).
//!
//! ```text
//!   FIN RSV opcode | MASK length | length, 0, 2 or 8 bytes more | mask, 4 bytes if any | payload
//! ```

use arrayvec::ArrayVec;

/// Bytes of the longest head that a server writes: it masks nothing.
pub const WRITTEN_HEAD_MAX: usize = 10;

/// Payload of a control frame at most (section 5.5).
pub const CONTROL_MAX: u64 = 125;

/// What a frame is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opcode {
    /// More of the message before.
    Continuation,
    /// Text in UTF-8.
    Text,
    /// Bytes.
    Binary,
    /// The end.
    Close,
    /// A question whether anybody is there.
    Ping,
    /// Its answer.
    Pong,
}

impl Opcode {
    const fn of(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it may stand between the frames of a message.
    pub const fn is_control(self) -> bool {
        self.bits() >= 8
    }
}

/// The head of a frame from a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    /// The message ends with it.
    pub fin: bool,
    /// What it is for.
    pub opcode: Opcode,
    /// Bytes of payload that follow.
    pub len: u64,
    /// What the payload is masked with.
    pub mask: [u8; 4],
}

/// What no frame may be; the connection fails with 1002.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// Bits of an extension that was not agreed on.
    Reserved,
    /// An opcode that means nothing.
    Opcode,
    /// A client's frame without a mask.
    Unmasked,
    /// A control frame in parts, or with more than 125 bytes.
    Control,
    /// A length written longer than it needs to be, or beyond 63 bits.
    Length,
}

impl FrameHead {
    /// Reads the head at the beginning of `bytes`, and how many bytes it has; `None` when more must come.
    ///
    /// # Errors
    ///
    /// See [`FrameError`].
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, FrameError> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(FrameError::Reserved);
        }
        let opcode = Opcode::of(first & 0x0f).ok_or(FrameError::Opcode)?;
        if second & 0x80 == 0 {
            return Err(FrameError::Unmasked);
        }
        let fin = first & 0x80 != 0;
        let short = u64::from(second & 0x7f);
        if opcode.is_control() && (!fin || short > CONTROL_MAX) {
            return Err(FrameError::Control);
        }
        let (len, rest) = match short {
            126 => {
                let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from(u16::from_be_bytes(*len)), rest)
            }
            127 => {
                let Some((len, rest)) = rest.split_first_chunk() else { return Ok(None) };
                (u64::from_be_bytes(*len), rest)
            }
            short => (short, rest),
        };
        let is_shortest = match short {
            126 => len > CONTROL_MAX,
            127 => len > u64::from(u16::MAX) && len >> 63 == 0,
            _ => true,
        };
        if !is_shortest {
            return Err(FrameError::Length);
        }
        let Some((&mask, rest)) = rest.split_first_chunk() else { return Ok(None) };
        Ok(Some((Self { fin, opcode, len, mask }, bytes.len() - rest.len())))
    }

    /// The head of an unmasked frame that is a whole message.
    pub fn write(opcode: Opcode, len: u64) -> ArrayVec<u8, WRITTEN_HEAD_MAX> {
        let mut head = ArrayVec::new();
        head.push(0x80 | opcode.bits());
        // Ten bytes are room for the longest.
        let long: &[u8] = match len {
            0..=125 => {
                head.push(len as u8);
                &[]
            }
            126..=0xffff => {
                head.push(126);
                &(len as u16).to_be_bytes()
            }
            _ => {
                head.push(127);
                &len.to_be_bytes()
            }
        };
        head.extend(long.iter().copied());
        head
    }
}

/// Takes the mask off `bytes`, which begin `offset` bytes into the payload.
pub fn unmask(bytes: &mut [u8], mask: [u8; 4], offset: u64) {
    let mut turned = mask;
    turned.rotate_left((offset & 3) as usize);
    let wide = u64::from_ne_bytes([
        turned[0], turned[1], turned[2], turned[3], turned[0], turned[1], turned[2], turned[3],
    ]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_frames_of_the_standard_are_read() {
        // Section 5.7: "Hello", masked.
        let frame = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let (head, len) = FrameHead::parse(&frame).unwrap().unwrap();
        assert_eq!((head.fin, head.opcode, head.len, len), (true, Opcode::Text, 5, 6));
        let mut payload = frame[6..].to_vec();
        unmask(&mut payload, head.mask, 0);
        assert_eq!(payload, b"Hello");
        for cut in 0..6 {
            assert_eq!(FrameHead::parse(&frame[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn what_no_client_may_send_is_refused() {
        for (frame, error) in [
            (&[0xc1, 0x80][..], FrameError::Reserved),
            (&[0x83, 0x80], FrameError::Opcode),
            (&[0x8b, 0x80], FrameError::Opcode),
            (&[0x81, 0x05], FrameError::Unmasked),
            (&[0x09, 0x80], FrameError::Control),
            (&[0x89, 0xfe], FrameError::Control),
            (&[0x81, 0xfe, 0, 125, 0, 0, 0, 0], FrameError::Length),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], FrameError::Length),
            (&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], FrameError::Length),
        ] {
            assert_eq!(FrameHead::parse(frame), Err(error), "{frame:x?}");
        }
    }

    #[test]
    fn written_heads_have_the_shortest_length() {
        for (len, head) in [
            (0, &[0x82, 0][..]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xff, 0xff]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            assert_eq!(FrameHead::write(Opcode::Binary, len).as_slice(), head);
        }
    }

    proptest! {
        #[test]
        fn a_mask_comes_off_in_parts_as_in_one(
            payload in proptest::collection::vec(any::<u8>(), 0..100), mask: [u8; 4], cut in 0..100usize,
        ) {
            let expected: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            let mut parts = payload;
            let cut = cut.min(parts.len());
            unmask(&mut parts[..cut], mask, 0);
            unmask(&mut parts[cut..], mask, cut as u64);
            prop_assert_eq!(parts, expected);
        }
    }
}
