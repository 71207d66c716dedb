//! From a request's target to the name of a document.

/// Bytes of a decoded path at most.
pub const PATH_MAX: usize = 1024;

/// A path without escapes, dot segments or query, in a buffer of its own.
#[derive(Clone, Copy, Debug)]
pub struct DecodedPath {
    bytes: [u8; PATH_MAX],
    len: usize,
}

/// A target that names no document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathError {
    /// Longer than [`PATH_MAX`].
    TooLong,
    /// An escape that is none, a NUL, an encoded slash, or dots that lead out of the tree.
    Malformed,
}

impl DecodedPath {
    /// Decodes the path of an origin-form target (RFC 3986, sections 2.1 and 5.2.4).
    ///
    /// # Errors
    ///
    /// See [`PathError`].
    pub fn decode(target: &str) -> Result<Self, PathError> {
        let path = target.split(['?', '#']).next().unwrap_or(target);
        let mut decoded = Self { bytes: [0; PATH_MAX], len: 0 };
        for segment in path.split('/').skip(1) {
            let start = decoded.len;
            decoded.push(b'/')?;
            decoded.push_segment(segment)?;
            match &decoded.bytes[start..decoded.len] {
                b"/." => decoded.len = start,
                b"/.." => decoded.pop_segment(start)?,
                // An empty segment between two slashes is dropped, as file systems do; the last one, which
                // marks a directory, stays.
                _ => {
                    if start > 0 && decoded.bytes[start - 1] == b'/' {
                        decoded.bytes.copy_within(start..decoded.len, start - 1);
                        decoded.len -= 1;
                    }
                }
            }
        }
        if decoded.len == 0 {
            decoded.push(b'/')?;
        }
        Ok(decoded)
    }

    fn push(&mut self, byte: u8) -> Result<(), PathError> {
        *self.bytes.get_mut(self.len).ok_or(PathError::TooLong)? = byte;
        self.len += 1;
        Ok(())
    }

    fn push_segment(&mut self, segment: &str) -> Result<(), PathError> {
        let mut bytes = segment.bytes();
        while let Some(byte) = bytes.next() {
            let byte = match byte {
                b'%' => {
                    let digit = |byte: Option<u8>| byte.and_then(|byte| (byte as char).to_digit(16));
                    match (digit(bytes.next()), digit(bytes.next())) {
                        (Some(high), Some(low)) => (high << 4 | low) as u8,
                        _ => return Err(PathError::Malformed),
                    }
                }
                plain => plain,
            };
            if byte == 0 || byte == b'/' {
                return Err(PathError::Malformed);
            }
            self.push(byte)?;
        }
        Ok(())
    }

    /// Drops the segment before `start`.
    fn pop_segment(&mut self, start: usize) -> Result<(), PathError> {
        let slash = self.bytes[..start].iter().rposition(|&byte| byte == b'/');
        self.len = slash.ok_or(PathError::Malformed)?;
        Ok(())
    }

    /// The path: it begins with a slash and has no dot segments.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn decode(target: &str) -> Result<String, PathError> {
        DecodedPath::decode(target).map(|path| String::from_utf8_lossy(path.as_bytes()).into_owned())
    }

    #[test]
    fn paths_are_decoded_and_normalised() {
        for (target, path) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/a//b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a"),
            ("/..a/b..", "/..a/b.."),
            ("/%61%20b?x=/../..", "/a b"),
            ("/.", "/"),
        ] {
            assert_eq!(decode(target).as_deref(), Ok(path), "{target}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_tree() {
        for target in ["/..", "/a/../../b", "/%2e%2e/b", "/a%2fb", "/a%00", "/%", "/%4", "/%zz"] {
            assert_eq!(decode(target), Err(PathError::Malformed), "{target}");
        }
        assert_eq!(decode(&format!("/{}", "a".repeat(PATH_MAX))), Err(PathError::TooLong));
    }
}
