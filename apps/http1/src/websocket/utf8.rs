//! UTF-8 checked as it arrives, in whatever pieces (RFC 6455, section 8.1; RFC 3629).

/// Text of which a beginning was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checker {
    /// The beginning of a character that the next piece must complete.
    begun: [u8; 4],
    len: u8,
}

/// Bytes that are no UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotUtf8;

impl Checker {
    /// Reads the next piece.
    ///
    /// # Errors
    ///
    /// As soon as nothing that may follow can make it UTF-8.
    pub fn read(&mut self, mut piece: &[u8]) -> Result<(), NotUtf8> {
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            let len = usize::from(self.len);
            *self.begun.get_mut(len).ok_or(NotUtf8)? = byte;
            piece = rest;
            match core::str::from_utf8(&self.begun[..=len]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_none() => self.len += 1,
                Err(_) => return Err(NotUtf8),
            }
        }
        if let Err(error) = core::str::from_utf8(piece) {
            if error.error_len().is_some() {
                return Err(NotUtf8);
            }
            let begun = &piece[error.valid_up_to()..];
            self.begun[..begun.len()].copy_from_slice(begun);
            self.len = begun.len() as u8;
        }
        Ok(())
    }

    /// Ends the text, and begins another.
    ///
    /// # Errors
    ///
    /// The last character is not whole.
    pub fn end(&mut self) -> Result<(), NotUtf8> {
        if core::mem::take(self).len == 0 { Ok(()) } else { Err(NotUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pieces: &[&[u8]]) -> Result<(), NotUtf8> {
        let mut checker = Checker::default();
        pieces.iter().try_for_each(|piece| checker.read(piece))?;
        checker.end()
    }

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_standard_library_judges_the_whole(
            text in ".{0,12}", noise in proptest::collection::vec(any::<u8>(), 0..3), at: prop::sample::Index,
        ) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, noise);
            let is_good = core::str::from_utf8(&bytes).is_ok();
            for cut in 0..=bytes.len() {
                prop_assert_eq!(check(&[&bytes[..cut], &bytes[cut..]]).is_ok(), is_good);
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(check(&single).is_ok(), is_good);
        }
    }

    #[test]
    fn what_cannot_become_text_is_noticed_at_once() {
        assert_eq!(Checker::default().read(b"\xed\xa0"), Err(NotUtf8));
        assert_eq!(Checker::default().read(b"\xf4\x90"), Err(NotUtf8));
        assert_eq!(Checker::default().read(b"\xc0"), Err(NotUtf8));
    }
}
