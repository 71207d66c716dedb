//! How a system call fails: by one of Linux's numbers.

/// A number from `errno.h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Errno(pub(crate) i32);

/// What a system call gives.
pub(crate) type Result<T> = core::result::Result<T, Errno>;

impl Errno {
    /// Not now: a call that may wait does.
    pub(crate) const AGAIN: Self = Self(libc::EAGAIN);
    /// The peer, or this side, sends no more.
    pub(crate) const PIPE: Self = Self(libc::EPIPE);
    /// An argument that makes no sense.
    pub(crate) const INVALID: Self = Self(libc::EINVAL);
}

/// Fails with `number`.
pub(crate) const fn fail<T>(number: i32) -> Result<T> {
    Err(Errno(number))
}
