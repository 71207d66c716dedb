//! Echo (RFC 862): an answer is the request once more.

use super::{Answers, Protocol};

/// Requests of one size, each the same pattern, compared when they come back.
#[derive(Clone, Debug)]
pub struct Echo {
    pattern: Box<[u8]>,
}

/// Bytes of the answer at hand that have come, and whether one of them was wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EchoProgress(u32);

impl EchoProgress {
    const WRONG: u32 = 1 << 31;
}

impl Echo {
    /// Requests of `size` bytes, at least one.
    pub fn new(size: usize) -> Self {
        let size = size.clamp(1, EchoProgress::WRONG as usize - 1);
        Self { pattern: (0..size).map(|place| (place as u8).wrapping_mul(113) ^ 0x5a).collect() }
    }
}

impl Protocol for Echo {
    type Progress = EchoProgress;

    fn request_max(&self) -> usize {
        self.pattern.len()
    }

    #[inline]
    fn request(&mut self, into: &mut [u8]) -> usize {
        if let Some(into) = into.get_mut(..self.pattern.len()) {
            into.copy_from_slice(&self.pattern);
        }
        self.pattern.len()
    }

    #[inline]
    fn answers(&mut self, progress: &mut EchoProgress, mut bytes: &[u8]) -> Answers {
        // One whole answer is what nearly always comes.
        if progress.0 == 0 && *bytes == *self.pattern {
            return Answers { whole: 1, ..Answers::default() };
        }
        let mut found = Answers::default();
        while !bytes.is_empty() {
            let place = (progress.0 & !EchoProgress::WRONG) as usize;
            let wanted = self.pattern.get(place..).unwrap_or_default();
            let count = wanted.len().min(bytes.len());
            let (piece, rest) = bytes.split_at(count);
            bytes = rest;
            if !wanted.starts_with(piece) {
                progress.0 |= EchoProgress::WRONG;
            }
            progress.0 += count as u32;
            if count == wanted.len() {
                found.whole += 1;
                found.wrong += u32::from(progress.0 & EchoProgress::WRONG != 0);
                progress.0 = 0;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::however_cut;
    use super::*;

    #[test]
    fn what_comes_back_is_counted_and_compared() {
        for size in [1, 2, 7, 64] {
            let mut echo = Echo::new(size);
            let mut stream = vec![0; size * 3];
            for request in stream.chunks_mut(size) {
                assert_eq!(echo.request(request), size);
            }
            assert_eq!(however_cut(&mut echo, &stream), Answers { whole: 3, values: 0, wrong: 0 });
            stream[size] ^= 1;
            stream.pop();
            assert_eq!(however_cut(&mut echo, &stream), Answers { whole: 2, values: 0, wrong: 1 });
        }
    }
}
