//! The C side: `packetdrill_interface_init`, the table it fills, and pointers turned into slices.
//!
//! All of this crate's `unsafe` is here. The tool calls through a table of 33 words; each function gets back the
//! pointer that was put into the table's first word. Nothing here decides anything: arguments become slices, the call
//! goes to `system`, the answer becomes a result and an errno.
//!
//! # Soundness
//!
//! The functions trust the tool as the system calls of the same names trust their callers, no further: pointers are
//! valid for the lengths that come with them, `userdata` is the table's own, and nobody calls after `free`.
//!
//! `fcntl` and `ioctl` are variadic in the tool's declaration. Variadic functions cannot be written in stable Rust; on
//! the machines below a caller passes the first integer or pointer behind the named arguments in the register where a
//! named one would be, so that a function with one more argument reads it, and reads what nobody wrote where the
//! caller passed none: then it is not looked at.

use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use std::ffi::CStr;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use freeway::Duration;
use libc::{
    epoll_event, iovec, loff_t, msghdr, nfds_t, pollfd, size_t, sockaddr, socklen_t, ssize_t, timeval,
    timezone,
};

use crate::epoll::Report;
use crate::errno::{Errno, Result, fail};
use crate::flags::Flags;
use crate::poll::Polled;
use crate::stream::{Control, Received};
use crate::system::System;
use crate::world::World;

#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_os = "linux"))))]
compile_error!("how variadic arguments are passed is known for x86-64 and for Linux on AArch64 only");

/// More pieces than this are refused by `readv` and the like (UIO_MAXIOV).
const PIECES_MAX: usize = 1_024;

/// A world that may move between threads, though its parts are counted without atomics and say that they may not.
pub(crate) struct Confined(pub(crate) World);

// SAFETY: needed because blocking calls come from a second thread. Every reference-counted part of a `World` (packet
// pool, cable, lent memory) is reachable through that `World` alone: none is handed out, and copies leave it as bytes.
// The world is used under `System`'s lock only, so one thread at a time touches the counts; nothing in it is bound to
// the thread that made it.
unsafe impl Send for Confined {}

/// The table, in the tool's order.
#[repr(C)]
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "each is the system call of its name, behind `userdata`")]
pub struct Interface {
    pub userdata: *mut c_void,
    pub free: unsafe extern "C" fn(*mut c_void),
    pub socket: unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int) -> c_int,
    pub bind: unsafe extern "C" fn(*mut c_void, c_int, *const sockaddr, socklen_t) -> c_int,
    pub listen: unsafe extern "C" fn(*mut c_void, c_int, c_int) -> c_int,
    pub accept: unsafe extern "C" fn(*mut c_void, c_int, *mut sockaddr, *mut socklen_t) -> c_int,
    pub connect: unsafe extern "C" fn(*mut c_void, c_int, *const sockaddr, socklen_t) -> c_int,
    pub read: unsafe extern "C" fn(*mut c_void, c_int, *mut c_void, size_t) -> ssize_t,
    pub readv: unsafe extern "C" fn(*mut c_void, c_int, *const iovec, c_int) -> ssize_t,
    pub recv: unsafe extern "C" fn(*mut c_void, c_int, *mut c_void, size_t, c_int) -> ssize_t,
    pub recvfrom: unsafe extern "C" fn(
        *mut c_void,
        c_int,
        *mut c_void,
        size_t,
        c_int,
        *mut sockaddr,
        *mut socklen_t,
    ) -> ssize_t,
    pub recvmsg: unsafe extern "C" fn(*mut c_void, c_int, *mut msghdr, c_int) -> ssize_t,
    pub write: unsafe extern "C" fn(*mut c_void, c_int, *const c_void, size_t) -> ssize_t,
    pub writev: unsafe extern "C" fn(*mut c_void, c_int, *const iovec, c_int) -> ssize_t,
    pub send: unsafe extern "C" fn(*mut c_void, c_int, *const c_void, size_t, c_int) -> ssize_t,
    pub sendto: unsafe extern "C" fn(
        *mut c_void,
        c_int,
        *const c_void,
        size_t,
        c_int,
        *const sockaddr,
        socklen_t,
    ) -> ssize_t,
    pub sendmsg: unsafe extern "C" fn(*mut c_void, c_int, *const msghdr, c_int) -> ssize_t,
    pub fcntl: unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int) -> c_int,
    pub ioctl: unsafe extern "C" fn(*mut c_void, c_int, c_ulong, *mut c_int) -> c_int,
    pub close: unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
    pub shutdown: unsafe extern "C" fn(*mut c_void, c_int, c_int) -> c_int,
    pub getsockopt:
        unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int,
    pub setsockopt: unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, *const c_void, socklen_t) -> c_int,
    pub poll: unsafe extern "C" fn(*mut c_void, *mut pollfd, nfds_t, c_int) -> c_int,
    pub netdev_send: unsafe extern "C" fn(*mut c_void, *const c_void, size_t) -> c_int,
    pub netdev_receive: unsafe extern "C" fn(*mut c_void, *mut c_void, *mut size_t, *mut i64) -> c_int,
    pub usleep: unsafe extern "C" fn(*mut c_void, c_uint) -> c_int,
    pub gettimeofday: unsafe extern "C" fn(*mut c_void, *mut timeval, *mut timezone) -> c_int,
    pub epoll_create: unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
    pub epoll_ctl: unsafe extern "C" fn(*mut c_void, c_int, c_int, c_int, *mut epoll_event) -> c_int,
    pub epoll_wait: unsafe extern "C" fn(*mut c_void, c_int, *mut epoll_event, c_int, c_int) -> c_int,
    pub pipe: unsafe extern "C" fn(*mut c_void, *mut c_int) -> c_int,
    pub splice:
        unsafe extern "C" fn(*mut c_void, c_int, *mut loff_t, c_int, *mut loff_t, size_t, c_uint) -> ssize_t,
}

// The tool's structure has 33 words and nothing else.
const _: () = assert!(size_of::<Interface>() == 33 * size_of::<usize>());

/// Makes a host as `flags` say and fills in the table. Flags that are not understood end the process: there is no way
/// to report them, and a script must not run with others.
///
/// # Safety
///
/// `flags` is null or ends with a zero; `interface` is valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn packetdrill_interface_init(flags: *const c_char, interface: *mut Interface) {
    // SAFETY: needed to read a C string, which the caller promises it is.
    let text = if flags.is_null() { c"" } else { unsafe { CStr::from_ptr(flags) } };
    let made = text.to_str().map_err(anyhow::Error::from).and_then(Flags::parse).and_then(World::new);
    let world = made.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "freeway: --so_flags: {error:#}");
        std::process::exit(2);
    });
    let userdata: *mut c_void = Box::into_raw(Box::new(System::new(Confined(world)))).cast();
    lock_alive().push(userdata as usize);
    let table = Interface {
        userdata,
        free,
        socket,
        bind,
        listen,
        accept,
        connect,
        read,
        readv,
        recv,
        recvfrom,
        recvmsg,
        write,
        writev,
        send,
        sendto,
        sendmsg,
        fcntl,
        ioctl,
        close,
        shutdown,
        getsockopt,
        setsockopt,
        poll,
        netdev_send,
        netdev_receive,
        usleep,
        gettimeofday,
        epoll_create,
        epoll_ctl,
        epoll_wait,
        pipe,
        splice,
    };
    // SAFETY: needed to fill in the caller's table, which it promises is valid.
    unsafe { interface.write(table) };
}

// ---- the tool's own getsockopt ----

/// The hosts that were opened and not freed.
static ALIVE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

fn lock_alive() -> MutexGuard<'static, Vec<usize>> {
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `getsockopt(2)` for descriptors of this object, the system's for all others. The tool asks for what `%{ }%` code is
/// to see by the C library's function and not by the table's; with `LD_PRELOAD` on this object the two are one.
///
/// # Safety
///
/// As for `getsockopt(2)`.
#[cfg(not(test))]
#[unsafe(export_name = "getsockopt")]
pub unsafe extern "C" fn preloaded_getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    for &alive in lock_alive().iter() {
        let userdata = alive as *mut c_void;
        // SAFETY: needed to reach the host; it is alive while the list, which is locked, has it.
        let system = unsafe { system(userdata) };
        if system.call(|world| world.object(fd).is_ok()) {
            // SAFETY: needed to answer the caller, whose promises are those of the table's function.
            return unsafe { getsockopt(userdata, fd, level, name, value, len) };
        }
    }
    // SAFETY: needed to do what the caller asked of the system; errno is set by it.
    unsafe { libc::syscall(libc::SYS_getsockopt, fd, level, name, value, len) as c_int }
}

// ---- pointers ----

/// The host of a table.
///
/// # Safety
///
/// `userdata` is the first word of a table whose `free` was not called.
const unsafe fn system<'a>(userdata: *mut c_void) -> &'a System {
    // SAFETY: needed to come back from C; the pointer is the box that `packetdrill_interface_init` leaked, and all
    // access to what is in it is shared.
    unsafe { &*userdata.cast::<System>() }
}

/// The bytes at `pointer`; none for null.
///
/// # Safety
///
/// Valid for reading `len` bytes while the result is used.
const unsafe fn bytes<'a>(pointer: *const c_void, len: usize) -> &'a [u8] {
    if pointer.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: needed to look at the caller's buffer, which it promises.
    unsafe { core::slice::from_raw_parts(pointer.cast(), len) }
}

/// The bytes that a caller sends.
///
/// # Errors
///
/// `EFAULT` for null, unless it is null and nothing.
///
/// # Safety
///
/// As for `bytes`.
const unsafe fn sent_bytes<'a>(pointer: *const c_void, len: usize) -> Result<&'a [u8]> {
    if pointer.is_null() && len > 0 {
        return fail(libc::EFAULT);
    }
    // SAFETY: needed as in `bytes`, whose contract is this function's.
    Ok(unsafe { bytes(pointer, len) })
}

/// Copies as much of `from` as fits into `room` bytes at `to`; returns how much that is.
///
/// # Safety
///
/// Valid for writing `room` bytes, or null.
const unsafe fn fill(to: *mut c_void, room: usize, from: &[u8]) -> usize {
    let count = if from.len() < room { from.len() } else { room };
    if !to.is_null() && count > 0 {
        // SAFETY: needed to fill the caller's buffer; `count` is within both, and they cannot overlap since the caller
        // does not know where ours lies. Bytes may be written that were not initialised.
        unsafe { core::ptr::copy_nonoverlapping(from.as_ptr(), to.cast(), count) };
    }
    count
}

/// The pieces of a gathered or scattered buffer.
///
/// # Safety
///
/// Valid for reading `count` pieces while the result is used.
const unsafe fn pieces<'a>(pieces: *const iovec, count: usize) -> Result<&'a [iovec]> {
    if count > PIECES_MAX {
        return fail(libc::EINVAL);
    }
    if pieces.is_null() || count == 0 {
        return Ok(&[]);
    }
    // SAFETY: needed to look at the caller's array, which it promises.
    Ok(unsafe { core::slice::from_raw_parts(pieces, count) })
}

/// # Safety
///
/// Each piece is valid for reading its length.
unsafe fn gather(pieces: &[iovec]) -> Result<Vec<u8>> {
    let mut gathered = Vec::new();
    for piece in pieces {
        // SAFETY: needed to copy from the caller's pieces, which it promises.
        gathered.extend_from_slice(unsafe { sent_bytes(piece.iov_base, piece.iov_len) }?);
    }
    Ok(gathered)
}

/// # Safety
///
/// Each piece is valid for writing its length.
unsafe fn scatter(pieces: &[iovec], mut from: &[u8]) {
    for piece in pieces {
        // SAFETY: needed to fill the caller's pieces, which it promises.
        let count = unsafe { fill(piece.iov_base, piece.iov_len, from) };
        from = &from[count..];
    }
}

/// Writes an address, cut to the room there is, and its whole length.
///
/// # Safety
///
/// `len` is null or valid, and `to` null or valid for writing `*len` bytes.
unsafe fn fill_address(to: *mut sockaddr, len: *mut socklen_t, from: &[u8]) {
    if to.is_null() || len.is_null() {
        return;
    }
    // SAFETY: needed to learn the caller's room; it promises that the length is valid.
    let room = unsafe { len.read() };
    // SAFETY: needed to fill the caller's buffer, which has this room.
    unsafe { fill(to.cast(), room as usize, from) };
    // SAFETY: needed to tell the caller the length; as above.
    unsafe { len.write(from.len() as socklen_t) };
}

/// What C gets of a result: the value, or -1 and errno.
fn answer<T: TryFrom<i64> + From<i8>>(result: Result<usize>) -> T {
    match result {
        Ok(value) => {
            i64::try_from(value).ok().and_then(|value| T::try_from(value).ok()).unwrap_or(T::from(-1))
        }
        Err(Errno(number)) => {
            // SAFETY: needed to report the failure as system calls do; the C library's pointer is valid on its thread.
            let errno = unsafe { libc::__errno_location() };
            // SAFETY: as above.
            unsafe { errno.write(number) };
            T::from(-1)
        }
    }
}

fn nothing(result: Result<()>) -> c_int {
    answer(result.map(|()| 0))
}

fn descriptor(result: Result<i32>) -> c_int {
    answer(result.map(|value| usize::try_from(value).unwrap_or(0)))
}

// ---- the table's functions ----
//
// Each has the safety contract of the module: what the system call of its name asks of its caller.

unsafe extern "C" fn free(userdata: *mut c_void) {
    lock_alive().retain(|&alive| alive != userdata as usize);
    // SAFETY: needed to take back what init leaked; by contract this is the last call with it.
    let system = unsafe { Box::from_raw(userdata.cast::<System>()) };
    system.call(World::forget_files);
}

unsafe extern "C" fn socket(userdata: *mut c_void, domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    // SAFETY: by the module's contract, as in every function below.
    let system = unsafe { system(userdata) };
    descriptor(system.call(|world| world.open_socket(domain, kind, protocol)))
}

unsafe extern "C" fn bind(userdata: *mut c_void, fd: c_int, name: *const sockaddr, len: socklen_t) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // SAFETY: as above.
    let name = unsafe { bytes(name.cast(), len as usize) };
    nothing(system.call(|world| world.bind(fd, name)))
}

unsafe extern "C" fn listen(userdata: *mut c_void, fd: c_int, backlog: c_int) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    nothing(system.call(|world| world.listen(fd, backlog)))
}

unsafe extern "C" fn accept(
    userdata: *mut c_void,
    fd: c_int,
    name: *mut sockaddr,
    len: *mut socklen_t,
) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    descriptor(system.accept(fd).map(|(accepted, peer)| {
        // SAFETY: as above.
        unsafe { fill_address(name, len, &peer) };
        accepted
    }))
}

unsafe extern "C" fn connect(
    userdata: *mut c_void,
    fd: c_int,
    name: *const sockaddr,
    len: socklen_t,
) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // SAFETY: as above.
    let name = unsafe { bytes(name.cast(), len as usize) };
    nothing(system.connect(fd, name))
}

unsafe extern "C" fn read(userdata: *mut c_void, fd: c_int, buffer: *mut c_void, len: size_t) -> ssize_t {
    // SAFETY: as above.
    unsafe { recv(userdata, fd, buffer, len, 0) }
}

unsafe extern "C" fn readv(userdata: *mut c_void, fd: c_int, iov: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // SAFETY: as above.
    let pieces = unsafe { pieces(iov, usize::try_from(count).unwrap_or(usize::MAX)) };
    answer(pieces.and_then(|pieces| {
        let len = pieces.iter().map(|piece| piece.iov_len).sum();
        let received = system.receive(fd, len, 0)?;
        // SAFETY: as above.
        unsafe { scatter(pieces, &received.bytes) };
        Ok(received.len)
    }))
}

unsafe extern "C" fn recv(
    userdata: *mut c_void,
    fd: c_int,
    buffer: *mut c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as above.
    unsafe { recvfrom(userdata, fd, buffer, len, flags, core::ptr::null_mut(), core::ptr::null_mut()) }
}

unsafe extern "C" fn recvfrom(
    userdata: *mut c_void,
    fd: c_int,
    buffer: *mut c_void,
    len: size_t,
    flags: c_int,
    name: *mut sockaddr,
    name_len: *mut socklen_t,
) -> ssize_t {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    if buffer.is_null() && len > 0 && flags & libc::MSG_TRUNC == 0 {
        // What is there stays there; a call that waits or fails for another reason does so.
        return answer(
            system
                .receive(fd, len, flags | libc::MSG_PEEK)
                .and_then(|received| if received.len > 0 { fail(libc::EFAULT) } else { Ok(0) }),
        );
    }
    answer(system.receive(fd, len, flags).map(|received| {
        // SAFETY: as above.
        unsafe { fill(buffer, len, &received.bytes) };
        // SAFETY: as above.
        unsafe { fill_address(name, name_len, &received.from) };
        received.len
    }))
}

unsafe extern "C" fn recvmsg(
    userdata: *mut c_void,
    fd: c_int,
    message: *mut msghdr,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // SAFETY: as above; nobody else looks at the message during the call.
    let message = unsafe { &mut *message };
    // SAFETY: as above.
    let pieces = unsafe { pieces(message.msg_iov, message.msg_iovlen) };
    answer(pieces.and_then(|pieces| {
        let len = pieces.iter().map(|piece| piece.iov_len).sum();
        let received = system.receive(fd, len, flags)?;
        // SAFETY: as above.
        unsafe { scatter(pieces, &received.bytes) };
        // SAFETY: as above.
        unsafe { fill_message(message, &received) };
        Ok(received.len)
    }))
}

/// What a message has besides its bytes: who sent it, flags, and control messages.
///
/// # Safety
///
/// The message's pointers are null, or valid for the lengths beside them.
unsafe fn fill_message(message: &mut msghdr, received: &Received) {
    if !message.msg_name.is_null() {
        // SAFETY: needed to fill the caller's buffer, by contract.
        unsafe { fill_address(message.msg_name.cast(), &raw mut message.msg_namelen, &received.from) };
    }
    message.msg_flags = received.flags;
    let room = core::mem::replace(&mut message.msg_controllen, 0);
    let mut control = Vec::new();
    for Control { level, kind, bytes } in &received.controls {
        let length = size_of::<libc::cmsghdr>() + bytes.len();
        let start = control.len();
        control.extend(length.to_ne_bytes());
        control.extend(level.to_ne_bytes());
        control.extend(kind.to_ne_bytes());
        control.extend(bytes);
        // As `CMSG_SPACE` has it: up to the next word.
        control.resize(start + length.next_multiple_of(size_of::<usize>()), 0);
    }
    if control.is_empty() {
        return;
    }
    if room < control.len() || message.msg_control.is_null() {
        message.msg_flags |= libc::MSG_CTRUNC;
        return;
    }
    // SAFETY: needed to fill the caller's buffer of `room` bytes, by contract.
    message.msg_controllen = unsafe { fill(message.msg_control, room, &control) };
}

unsafe extern "C" fn write(userdata: *mut c_void, fd: c_int, buffer: *const c_void, len: size_t) -> ssize_t {
    // SAFETY: as above.
    unsafe { send(userdata, fd, buffer, len, 0) }
}

unsafe extern "C" fn writev(userdata: *mut c_void, fd: c_int, iov: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // SAFETY: as above.
    let pieces = unsafe { pieces(iov, usize::try_from(count).unwrap_or(usize::MAX)) };
    answer(pieces.and_then(|pieces| {
        // SAFETY: as above.
        let gathered = unsafe { gather(pieces) }?;
        system.send(fd, &gathered, None, 0)
    }))
}

unsafe extern "C" fn send(
    userdata: *mut c_void,
    fd: c_int,
    buffer: *const c_void,
    len: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as above.
    unsafe { sendto(userdata, fd, buffer, len, flags, core::ptr::null(), 0) }
}

unsafe extern "C" fn sendto(
    userdata: *mut c_void,
    fd: c_int,
    buffer: *const c_void,
    len: size_t,
    flags: c_int,
    name: *const sockaddr,
    name_len: socklen_t,
) -> ssize_t {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // SAFETY: as above.
    let buffer = unsafe { sent_bytes(buffer, len) };
    // SAFETY: as above.
    let name = (!name.is_null()).then(|| unsafe { bytes(name.cast(), name_len as usize) });
    answer(buffer.and_then(|buffer| system.send(fd, buffer, name, flags)))
}

unsafe extern "C" fn sendmsg(
    userdata: *mut c_void,
    fd: c_int,
    message: *const msghdr,
    flags: c_int,
) -> ssize_t {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // SAFETY: as above.
    let message = unsafe { &*message };
    // SAFETY: as above.
    let pieces = unsafe { pieces(message.msg_iov, message.msg_iovlen) };
    let named = !message.msg_name.is_null();
    // SAFETY: as above.
    let name = named.then(|| unsafe { bytes(message.msg_name, message.msg_namelen as usize) });
    answer(pieces.and_then(|pieces| {
        // SAFETY: as above.
        let gathered = unsafe { gather(pieces) }?;
        system.send(fd, &gathered, name, flags)
    }))
}

unsafe extern "C" fn fcntl(userdata: *mut c_void, fd: c_int, command: c_int, argument: c_int) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    descriptor(system.call(|world| world.fcntl(fd, command, argument)))
}

unsafe extern "C" fn ioctl(
    userdata: *mut c_void,
    fd: c_int,
    request: c_ulong,
    argument: *mut c_int,
) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // The tool passes requests as `int`, whose sign may have been carried upwards.
    let request = request & u64::from(u32::MAX);
    if request == libc::FIONBIO {
        // SAFETY: needed to read the caller's switch; this request comes with one.
        let on = unsafe { argument.read() } != 0;
        return nothing(system.call(|world| world.set_nonblocking(fd, on)));
    }
    nothing(system.call(|world| world.ioctl(fd, request)).map(|value| {
        // SAFETY: needed to fill in the caller's result; requests that succeed come with room for one.
        unsafe { argument.write(value) };
    }))
}

unsafe extern "C" fn close(userdata: *mut c_void, fd: c_int) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    nothing(system.close(fd))
}

unsafe extern "C" fn shutdown(userdata: *mut c_void, fd: c_int, how: c_int) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    nothing(system.call(|world| world.shutdown(fd, how)))
}

unsafe extern "C" fn getsockopt(
    userdata: *mut c_void,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    if len.is_null() {
        return nothing(fail(libc::EFAULT));
    }
    nothing(system.call(|world| world.option(fd, level, name)).map(|option| {
        // SAFETY: as above.
        let room = unsafe { len.read() } as usize;
        // SAFETY: as above.
        let filled = unsafe { fill(value, room, &option) };
        // SAFETY: as above.
        unsafe { len.write(filled as socklen_t) };
    }))
}

unsafe extern "C" fn setsockopt(
    userdata: *mut c_void,
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // SAFETY: as above.
    let value = unsafe { bytes(value, len as usize) };
    nothing(system.call(|world| world.set_option(fd, level, name, value)))
}

unsafe extern "C" fn poll(userdata: *mut c_void, fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    let count = if fds.is_null() { 0 } else { usize::try_from(count).unwrap_or(0) };
    let fds = if count == 0 { core::ptr::NonNull::dangling().as_ptr() } else { fds };
    // SAFETY: as above; the entries are the caller's for the time of the call, and nobody else's.
    let entries = unsafe { core::slice::from_raw_parts_mut(fds, count) };
    let mut polled: Vec<Polled> =
        entries.iter().map(|entry| Polled { fd: entry.fd, events: entry.events, revents: 0 }).collect();
    let ready = system.poll(&mut polled, timeout);
    for (entry, polled) in entries.iter_mut().zip(&polled) {
        entry.revents = polled.revents;
    }
    answer(ready)
}

unsafe extern "C" fn netdev_send(userdata: *mut c_void, packet: *const c_void, len: size_t) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // SAFETY: as above.
    let packet = unsafe { bytes(packet, len) };
    system.call(|world| world.inject(packet));
    0
}

unsafe extern "C" fn netdev_receive(
    userdata: *mut c_void,
    buffer: *mut c_void,
    len: *mut size_t,
    time_micros: *mut i64,
) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // A packet that will never come is one of no bytes: a failure would be tried again for ever.
    let (at, packet) = match system.receive_packet() {
        Some((at, packet)) => (at, packet),
        None => (system.now(), Vec::new()),
    };
    // SAFETY: as above.
    let room = unsafe { len.read() };
    // SAFETY: as above.
    let filled = unsafe { fill(buffer, room, &packet) };
    // SAFETY: as above.
    unsafe { len.write(filled) };
    // SAFETY: as above.
    unsafe { time_micros.write(i64::try_from(at.as_micros()).unwrap_or(i64::MAX)) };
    0
}

unsafe extern "C" fn usleep(userdata: *mut c_void, micros: c_uint) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    system.usleep(Duration::from_micros(u64::from(micros)));
    0
}

unsafe extern "C" fn gettimeofday(userdata: *mut c_void, time: *mut timeval, _: *mut timezone) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    let micros = i64::try_from(system.now().as_micros()).unwrap_or(i64::MAX);
    let now = timeval { tv_sec: micros / 1_000_000, tv_usec: micros % 1_000_000 };
    // SAFETY: as above.
    unsafe { time.write(now) };
    0
}

unsafe extern "C" fn epoll_create(userdata: *mut c_void, size: c_int) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    descriptor(system.call(|world| world.open_epoll(size)))
}

unsafe extern "C" fn epoll_ctl(
    userdata: *mut c_void,
    epfd: c_int,
    op: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    // SAFETY: as above; the structure is packed on some machines, so it is read as a whole.
    let event = (!event.is_null()).then(|| unsafe { event.read_unaligned() });
    let event = event.map(|event| Report { events: event.events, data: event.u64 });
    nothing(system.call(|world| world.control_epoll(epfd, op, fd, event)))
}

unsafe extern "C" fn epoll_wait(
    userdata: *mut c_void,
    epfd: c_int,
    events: *mut epoll_event,
    limit: c_int,
    timeout: c_int,
) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    answer(system.wait_epoll(epfd, limit, timeout).map(|reports| {
        for (place, report) in reports.iter().enumerate() {
            let event = epoll_event { events: report.events, u64: report.data };
            // SAFETY: as above; there are at most `limit` reports, for which the caller has room.
            let to = unsafe { events.add(place) };
            // SAFETY: as above.
            unsafe { to.write_unaligned(event) };
        }
        reports.len()
    }))
}

unsafe extern "C" fn pipe(userdata: *mut c_void, ends: *mut c_int) -> c_int {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    nothing(system.call(World::open_pipe).map(|fds| {
        // SAFETY: as above.
        unsafe { ends.cast::<[c_int; 2]>().write(fds) };
    }))
}

unsafe extern "C" fn splice(
    userdata: *mut c_void,
    from: c_int,
    from_offset: *mut loff_t,
    to: c_int,
    to_offset: *mut loff_t,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    // SAFETY: as above.
    let system = unsafe { system(userdata) };
    if !from_offset.is_null() || !to_offset.is_null() {
        // Neither pipes nor connections have a place to go to.
        return answer(fail(libc::ESPIPE));
    }
    answer(system.splice(from, to, len, flags))
}
