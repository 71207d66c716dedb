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

/// Writes a number in decimal. Most are flags of zero and lengths of few digits.
#[inline]
pub(crate) fn decimal(sink: &mut impl Sink, number: impl Into<u64>) {
    let number = number.into();
    let digit = |value: u64| b'0' + value as u8;
    match number {
        0..=9 => sink.put(&[digit(number)]),
        10..=99 => sink.put(&[digit(number / 10), digit(number % 10)]),
        _ => sink.put(itoa::Buffer::new().format(number).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_length_are_written_as_they_are() {
        for number in (0..1_000).chain([u64::MAX / 3, u64::MAX - 1, u64::MAX]) {
            let mut text = Vec::new();
            decimal(&mut text, number);
            assert_eq!(text, number.to_string().into_bytes());
        }
    }
}
