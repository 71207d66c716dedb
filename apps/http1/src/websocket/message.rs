//! From frames to messages: fragments in their order, and the codes that a connection ends with (RFC 6455, sections
//! 5.4 and 7.4).

use super::frame::{FrameError, FrameHead, Opcode};

/// Why a WebSocket is closed (section 7.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close(pub u16);

impl Close {
    /// It has done what it was for.
    pub const NORMAL: Self = Self(1000);
    /// This end goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// The other end broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// Text that is not UTF-8.
    pub const NOT_TEXT: Self = Self(1007);
    /// A message larger than allowed.
    pub const TOO_LARGE: Self = Self(1009);

    /// The code in a close frame's payload: `None` when it has none, an error when it is one that may not be sent.
    ///
    /// # Errors
    ///
    /// [`Close::PROTOCOL`] or [`Close::NOT_TEXT`], to answer with.
    pub fn parse(payload: &[u8]) -> Result<Option<Self>, Self> {
        let (code, reason) = match payload {
            [] => return Ok(None),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
            [_] => return Err(Self::PROTOCOL),
        };
        // 1004 is reserved, 1005, 1006 and 1015 are never sent; 1016 to 2999 wait for a meaning.
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(Self::PROTOCOL);
        }
        if core::str::from_utf8(reason).is_err() {
            return Err(Self::NOT_TEXT);
        }
        Ok(Some(Self(code)))
    }
}

impl From<FrameError> for Close {
    fn from(_: FrameError) -> Self {
        Self::PROTOCOL
    }
}

/// A message that arrives in frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Assembly {
    /// A message has begun and not ended.
    open: bool,
    /// It is text.
    text: bool,
    /// Bytes of it announced so far.
    len: u64,
}

impl Assembly {
    /// Takes a frame's head into account; control frames stand outside.
    ///
    /// # Errors
    ///
    /// A continuation of nothing, a message within a message, or one of more than `max` bytes.
    pub fn begin(&mut self, head: &FrameHead, max: u64) -> Result<(), Close> {
        match head.opcode {
            Opcode::Continuation if !self.open => return Err(Close::PROTOCOL),
            Opcode::Text | Opcode::Binary if self.open => return Err(Close::PROTOCOL),
            Opcode::Continuation => {}
            Opcode::Text | Opcode::Binary => {
                *self = Self { open: true, text: head.opcode == Opcode::Text, len: 0 };
            }
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(()),
        }
        self.len = self.len.saturating_add(head.len);
        if self.len > max { Err(Close::TOO_LARGE) } else { Ok(()) }
    }

    /// Notes that a frame with `head` is whole; true when its message is.
    pub fn end(&mut self, head: &FrameHead) -> bool {
        let ended = head.fin && !head.opcode.is_control();
        if ended {
            self.open = false;
        }
        ended
    }

    /// Whether a message has begun and not ended.
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// Whether the message is text.
    pub const fn is_text(&self) -> bool {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fin: bool, opcode: Opcode, len: u64) -> FrameHead {
        FrameHead { fin, opcode, len, mask: [0; 4] }
    }

    #[test]
    fn fragments_make_a_message_and_control_frames_stand_between() {
        let mut assembly = Assembly::default();
        for (frame, whole) in [
            (head(false, Opcode::Text, 3), false),
            (head(true, Opcode::Ping, 4), false),
            (head(false, Opcode::Continuation, 3), false),
            (head(true, Opcode::Continuation, 3), true),
            (head(true, Opcode::Binary, 9), true),
        ] {
            assert_eq!(assembly.begin(&frame, 9), Ok(()));
            assert_eq!(assembly.end(&frame), whole);
        }
        assert!(!assembly.is_text());
    }

    #[test]
    fn disorder_and_length_end_the_connection() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.begin(&head(true, Opcode::Continuation, 0), 9), Err(Close::PROTOCOL));
        assert_eq!(assembly.begin(&head(false, Opcode::Text, 5), 9), Ok(()));
        assert_eq!(assembly.begin(&head(true, Opcode::Text, 0), 9), Err(Close::PROTOCOL));
        assert_eq!(assembly.begin(&head(true, Opcode::Continuation, 5), 9), Err(Close::TOO_LARGE));
    }

    #[test]
    fn close_codes_are_checked() {
        assert_eq!(Close::parse(b""), Ok(None));
        assert_eq!(Close::parse(b"\x03\xe8bye"), Ok(Some(Close::NORMAL)));
        for payload in
            [&b"\x03"[..], b"\x03\xed", b"\x03\xee", b"\x03\xf7", b"\x03\xe7", b"\x07\xd0", b"\x13\x88"]
        {
            assert_eq!(Close::parse(payload), Err(Close::PROTOCOL), "{payload:?}");
        }
        assert_eq!(Close::parse(b"\x03\xe8\xff"), Err(Close::NOT_TEXT));
        assert_eq!(Close::parse(b"\x0b\xb8"), Ok(Some(Close(3000))));
    }
}
