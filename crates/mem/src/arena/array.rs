//! A typed section of an arena.

use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;

use super::SharedMapping;

/// A fixed number of `T` in an arena, beginning on a cache line. It is used as a slice, and keeps the arena's
/// memory alive; the elements are never dropped (their type needs none of it).
///
/// Like all of an arena it stays with its thread.
pub struct Array<T> {
    /// Derived from the mapping's base, for `len` elements that nobody else reaches.
    elements: NonNull<T>,
    len: usize,
    mapping: SharedMapping,
}

impl<T> Array<T> {
    /// # Safety
    ///
    /// `elements` is aligned for `T`, begins `len` elements inside `mapping`, and nothing else points there.
    pub(super) unsafe fn init(
        mapping: SharedMapping,
        elements: NonNull<T>,
        len: usize,
        mut init: impl FnMut(usize) -> T,
    ) -> Self {
        for index in 0..len {
            let value = init(index);
            // SAFETY: needed to address the element; `index` is below `len`.
            let element = unsafe { elements.add(index) };
            // SAFETY: needed to initialise memory that is not a `T` yet; the caller vouches for it.
            unsafe { element.write(value) };
        }
        Self { elements, len, mapping }
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: needed to see a section as a slice. `init` filled `len` elements, the mapping lives as long as
        // `self`, and only `self` leads there, so the slice's borrow is the array's.
        unsafe { slice::from_raw_parts(self.elements.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Array<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; the array is borrowed for as long as the slice.
        unsafe { slice::from_raw_parts_mut(self.elements.as_ptr(), self.len) }
    }
}

impl<T> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("len", &self.len).field("mapping", &self.mapping).finish()
    }
}
