//! Answers of one connection, put together before they go to TCP.

use core::fmt::{self, Write};

use freeway_base::short;
use freeway_memcache::Sink;

/// Bytes that fit.
pub(crate) const OUT_MAX: usize = 16 * 1024;

/// A buffer of answers, one for a core. What is put into it fits: whoever writes asks for [`Out::room`] first.
pub(crate) struct Out {
    bytes: Box<[u8]>,
    len: usize,
    /// What the connection takes now.
    limit: usize,
}

impl Out {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; OUT_MAX].into_boxed_slice(), len: 0, limit: OUT_MAX }
    }

    /// Begins anew for a connection that takes `limit` bytes.
    pub(crate) fn begin(&mut self, limit: usize) {
        (self.len, self.limit) = (0, limit.min(OUT_MAX));
    }

    /// Whether `len` more bytes fit. An empty buffer takes whatever it can hold, though the connection may take less.
    pub(crate) const fn has_room(&self, len: usize) -> bool {
        let limit = if self.len == 0 { OUT_MAX } else { self.limit };
        self.len + len <= limit
    }

    pub(crate) fn data(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Takes back what was put since the length was `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Puts text; what does not fit is cut.
    #[cold]
    pub(crate) fn line(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.write_fmt(text);
    }

    /// Writes over the first bytes.
    pub(crate) fn overwrite(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// The place for `len` bytes that are about to be written.
    pub(crate) fn place(&mut self, len: usize) -> Option<&mut [u8]> {
        let place = self.bytes.get_mut(self.len..self.len + len)?;
        self.len += len;
        Some(place)
    }
}

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.place(text.len()).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        Ok(())
    }
}

impl Sink for Out {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let place = self.place(bytes.len());
        debug_assert!(place.is_some(), "whoever writes asks for room first");
        if let Some(place) = place {
            short::copy(place, bytes);
        }
    }
}
