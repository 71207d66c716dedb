//! Where the bytes of an answer go.

use arrayvec::ArrayVec;

/// Takes the bytes of an answer.
///
/// An emitter writes at most what the constant beside it says (`HEAD_MAX` and the like); a sink with less room than
/// that loses the rest.
pub trait Sink {
    /// Takes all of `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl<const N: usize> Sink for ArrayVec<u8, N> {
    fn put(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(self.remaining_capacity());
        debug_assert!(fits == bytes.len(), "the sink is smaller than the emitter's bound");
        if let Some(bytes) = bytes.get(..fits) {
            // It fits: it was cut to what does.
            let _ = self.try_extend_from_slice(bytes);
        }
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn put(&mut self, bytes: &[u8]) {
        (**self).put(bytes);
    }
}

/// Writes a number in decimal.
pub(crate) fn decimal(sink: &mut impl Sink, number: impl itoa::Integer) {
    sink.put(itoa::Buffer::new().format(number).as_bytes());
}
