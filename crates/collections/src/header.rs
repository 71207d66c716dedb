//! The few words of a collection that are not entries. They lie in the arena like everything else, so that a
//! process that takes the arena over finds the whole collection in it.

use core::ops::{Deref, DerefMut};

use freeway_mem::{Arena, ArenaError, Array};

/// One `T` in the arena.
pub(crate) struct Header<T: 'static>(Array<T>);

impl<T: Copy> Header<T> {
    pub(crate) fn new(arena: &mut Arena, tag: &'static str, value: T) -> Result<Self, ArenaError> {
        Ok(Self(arena.array(tag, 1, |_| value)?))
    }
}

impl<T> Deref for Header<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0[0]
    }
}

impl<T> DerefMut for Header<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0[0]
    }
}
