//! Fields of a header: an offset with a width, read and written in network byte order.
//!
//! None of this panics: a field that does not lie wholly within the bytes reads as zero and is not written. Where
//! the bytes are an array, or a length was checked just before, the compiler drops the comparison.

/// One byte.
#[derive(Clone, Copy)]
pub(crate) struct U8(pub usize);

/// Two bytes, big-endian.
#[derive(Clone, Copy)]
pub(crate) struct U16(pub usize);

/// Four bytes, big-endian.
#[derive(Clone, Copy)]
pub(crate) struct U32(pub usize);

/// `N` bytes as they are.
#[derive(Clone, Copy)]
pub(crate) struct Octets<const N: usize>(pub usize);

impl U8 {
    #[inline]
    pub fn get(self, bytes: &[u8]) -> u8 {
        bytes.get(self.0).copied().unwrap_or(0)
    }

    #[inline]
    pub fn set(self, bytes: &mut [u8], value: u8) {
        if let Some(byte) = bytes.get_mut(self.0) {
            *byte = value;
        }
    }

    /// Writes the bits of `value` under `mask` and leaves the byte's others.
    #[inline]
    pub fn set_bits(self, bytes: &mut [u8], mask: u8, value: u8) {
        self.set(bytes, self.get(bytes) & !mask | value & mask);
    }
}

impl U16 {
    #[inline]
    pub fn get(self, bytes: &[u8]) -> u16 {
        u16::from_be_bytes(Octets::<2>(self.0).get(bytes))
    }

    #[inline]
    pub fn set(self, bytes: &mut [u8], value: u16) {
        Octets::<2>(self.0).set(bytes, value.to_be_bytes());
    }
}

impl U32 {
    #[inline]
    pub fn get(self, bytes: &[u8]) -> u32 {
        u32::from_be_bytes(Octets::<4>(self.0).get(bytes))
    }

    #[inline]
    pub fn set(self, bytes: &mut [u8], value: u32) {
        Octets::<4>(self.0).set(bytes, value.to_be_bytes());
    }
}

impl<const N: usize> Octets<N> {
    #[inline]
    pub fn get(self, bytes: &[u8]) -> [u8; N] {
        match bytes.get(self.0..).and_then(<[u8]>::first_chunk::<N>) {
            Some(chunk) => *chunk,
            None => [0; N],
        }
    }

    #[inline]
    pub fn set(self, bytes: &mut [u8], value: [u8; N]) {
        if let Some(chunk) = bytes.get_mut(self.0..).and_then(<[u8]>::first_chunk_mut::<N>) {
            *chunk = value;
        }
    }
}

/// `bytes[from..to]`, or nothing where that is not there.
#[inline]
pub(crate) fn range(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from..to).unwrap_or(&[])
}

/// `bytes[from..to]` for writing, or nothing where that is not there.
#[inline]
pub(crate) fn range_mut(bytes: &mut [u8], from: usize, to: usize) -> &mut [u8] {
    bytes.get_mut(from..to).unwrap_or(&mut [])
}

/// `bytes[from..]`, or nothing where the bytes end before.
#[inline]
pub(crate) fn rest(bytes: &[u8], from: usize) -> &[u8] {
    bytes.get(from..).unwrap_or(&[])
}

/// `bytes[from..]` for writing, or nothing where the bytes end before.
#[inline]
pub(crate) fn rest_mut(bytes: &mut [u8], from: usize) -> &mut [u8] {
    bytes.get_mut(from..).unwrap_or(&mut [])
}

/// Copies `data` to the front of `bytes`, if it fits.
#[inline]
pub(crate) fn put(bytes: &mut [u8], data: &[u8]) {
    if let Some(room) = bytes.get_mut(..data.len()) {
        room.copy_from_slice(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_beyond_the_end_read_zero_and_are_not_written() {
        let mut bytes = [1, 2, 3];
        assert_eq!(U16(1).get(&bytes), 0x0203);
        assert_eq!(U16(2).get(&bytes), 0);
        assert_eq!(U32(usize::MAX).get(&bytes), 0);
        U16(2).set(&mut bytes, 0xffff);
        U8(3).set(&mut bytes, 9);
        assert_eq!(bytes, [1, 2, 3]);
        U8(0).set_bits(&mut bytes, 0xf0, 0xa7);
        assert_eq!(bytes[0], 0xa1);
        assert!(range(&bytes, 2, 1).is_empty());
        assert!(rest(&bytes, 4).is_empty());
    }
}
