//! Keys of the meta protocol, as they are or in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::KEY_MAX;
use crate::error::Refusal;
use crate::sink::Sink;

/// Room for a key out of base64.
pub type KeyBuffer = [u8; KEY_MAX];

/// A key as a request gives it. One in base64 has been checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetaKey<'a> {
    token: &'a [u8],
    base64: bool,
}

impl<'a> MetaKey<'a> {
    pub(super) fn new(token: &'a [u8], base64: bool) -> Result<Self, Refusal> {
        if base64 {
            let mut scratch = [0; KEY_MAX];
            let len = STANDARD.decode_slice(token, &mut scratch).map_err(|_| Refusal::BadKeyEncoding)?;
            if len == 0 {
                return Err(Refusal::BadKeyEncoding);
            }
        }
        Ok(Self { token, base64 })
    }

    /// Whether it came in base64 (flag b), and goes back so (flag k).
    pub const fn is_base64(&self) -> bool {
        self.base64
    }

    /// The key's bytes, from `buffer` if they had to be decoded.
    pub fn bytes<'b>(&self, buffer: &'b mut KeyBuffer) -> &'b [u8]
    where
        'a: 'b,
    {
        if !self.base64 {
            return self.token;
        }
        // It decoded when it was parsed.
        let len = STANDARD.decode_slice(self.token, buffer.as_mut_slice()).unwrap_or(0);
        buffer.get(..len).unwrap_or(&[])
    }
}

/// Bytes of a key in base64 at most.
pub(super) const ENCODED_MAX: usize = KEY_MAX.div_ceil(3) * 4;

/// Writes a key in base64.
pub(super) fn encode(sink: &mut impl Sink, key: &[u8]) {
    let mut encoded = [0; ENCODED_MAX];
    // A key has no more than KEY_MAX bytes, so it fits.
    let len = STANDARD.encode_slice(key, &mut encoded).unwrap_or(0);
    sink.put(encoded.get(..len).unwrap_or(&[]));
}
