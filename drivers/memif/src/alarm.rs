//! Waking a peer without ever waiting for it.
//!
//! A ring's interrupt is an eventfd that both processes have, and with it its file flags: a peer may take `O_NONBLOCK`
//! away at any moment, fill the counter, and a write would wait for it to be read. So none is written. An asynchronous
//! read of no bytes, complete as soon as it is submitted, has the kernel itself signal the eventfd (`IOCB_FLAG_RESFD`),
//! which waits for nobody, whatever the flags and the counter are.
//!
//! Where the kernel has no asynchronous I/O, or no room for it (`fs.aio-max-nr`), the eventfd is written to if it is
//! writable just before. Then a peer that is fast enough in between still makes the core wait.
//!
//! Sources: linux/aio_abi.h, io_setup(2), io_submit(2), io_getevents(2), eventfd(2).

use core::ptr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};

/// `IOCB_CMD_PREAD`.
const PREAD: u16 = 0;
/// `IOCB_FLAG_RESFD`.
const SIGNALS: u32 = 1;
/// Completions taken out of the context at once.
const REAPED: usize = 32;

/// `struct io_event`.
type Completion = [u64; 4];

/// What a core rings its peers with. It may cross threads.
#[derive(Debug)]
pub(crate) struct Alarm(Option<Context>);

/// Asynchronous I/O on a file of no bytes.
#[derive(Debug)]
struct Context {
    id: libc::c_ulong,
    empty: OwnedFd,
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self(Context::new().ok())
    }

    /// Adds one to the counter of an eventfd, or does nothing if it is full. A file of another kind is left alone.
    pub(crate) fn ring(&self, interrupt: &OwnedFd) {
        match &self.0 {
            Some(context) => context.signal(interrupt),
            None => write_if_writable(interrupt),
        }
    }
}

fn write_if_writable(interrupt: &OwnedFd) {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut files = [PollFd::new(interrupt, PollFlags::OUT)];
    if poll(&mut files, Some(&now)) == Ok(1) {
        // A failure is the peer's: it took the flag's meaning away, and wakes by itself or not at all.
        let _ = rustix::io::write(interrupt, &1_u64.to_ne_bytes());
    }
}

impl Context {
    fn new() -> io::Result<Self> {
        let empty = memfd_create("freeway memif alarm", MemfdFlags::CLOEXEC)?;
        let mut id: libc::c_ulong = 0;
        // SAFETY: needed because there is no wrapper. The kernel writes the new context's number to `id`, which lives
        // on; it maps memory of its own.
        let made = unsafe { libc::syscall(libc::SYS_io_setup, REAPED as libc::c_long, &raw mut id) };
        if made < 0 { Err(io::Error::last_os_error()) } else { Ok(Self { id, empty }) }
    }

    fn signal(&self, interrupt: &OwnedFd) {
        if !self.submit(interrupt) {
            // The context is full of completions that nobody needs.
            self.reap();
            // What fails now fails for ever, as with a file that is no eventfd.
            let _ = self.submit(interrupt);
        }
    }

    /// False if it was not taken.
    fn submit(&self, interrupt: &OwnedFd) -> bool {
        // SAFETY: needed because the structure has fields without names. It is made of integers, of which all zeros are
        // valid.
        let mut read: libc::iocb = unsafe { core::mem::zeroed() };
        read.aio_lio_opcode = PREAD;
        read.aio_fildes = self.empty.as_raw_fd().cast_unsigned();
        read.aio_flags = SIGNALS;
        read.aio_resfd = interrupt.as_raw_fd().cast_unsigned();
        let mut list = [&raw mut read];
        // SAFETY: needed because there is no wrapper. The kernel reads the list and the request it names, and writes the
        // request's key, all during the call; the read is of no bytes, so no memory of ours is written later.
        let taken = unsafe { libc::syscall(libc::SYS_io_submit, self.id, 1_usize, list.as_mut_ptr()) };
        taken == 1
    }

    fn reap(&self) {
        let mut completions: [Completion; REAPED] = [[0; 4]; REAPED];
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: needed because there is no wrapper. The kernel writes at most as many completions as there is room
        // for, each of four words, and waits for none.
        unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.id,
                0_usize,
                REAPED,
                completions.as_mut_ptr(),
                ptr::from_mut(&mut now),
            )
        };
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: needed because there is no wrapper. The context is this one's own, and nothing in it is under way.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.id) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::channel;
    use std::time::Duration;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    fn count(event: &OwnedFd) -> u64 {
        let mut bytes = [0; 8];
        rustix::io::read(event, &mut bytes).unwrap();
        u64::from_ne_bytes(bytes)
    }

    #[test]
    fn every_ring_counts() {
        assert!(Context::new().is_ok(), "this kernel has asynchronous I/O");
        for alarm in [Alarm::new(), Alarm(None)] {
            let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
            (0..5_000).for_each(|_| alarm.ring(&event));
            assert_eq!(count(&event), 5_000);
        }
    }

    #[test]
    fn a_full_counter_that_blocks_its_writers_does_not_block_this_one() {
        for alarm in [Alarm::new(), Alarm(None)] {
            let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
            rustix::io::write(&event, &(u64::MAX - 1).to_ne_bytes()).unwrap();
            let (done, over) = channel();
            std::thread::spawn(move || {
                (0..100).for_each(|_| alarm.ring(&event));
                let _ = done.send(count(&event));
            });
            let count = over.recv_timeout(Duration::from_secs(10)).expect("it waits for its peer");
            assert!(count >= u64::MAX - 1);
        }
    }

    #[test]
    fn other_files_are_left_alone() {
        let (near, far) = std::io::pipe().unwrap();
        let alarm = Alarm::new();
        let far = far.into();
        (0..100).for_each(|_| alarm.ring(&far));
        drop(far);
        assert_eq!(rustix::io::read(near, &mut [0_u8; 8]), Ok(0));
    }
}
