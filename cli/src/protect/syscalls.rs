//! The system calls that a running server may make, by seccomp(2).
//!
//! It is a list of what is allowed; a call that is on no line of it fails with EPERM.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Calls with any arguments.
#[rustfmt::skip]
const ALLOWED: &[c_long] = &[
    // Bytes through descriptors that are open: devices, logs, clients of the admin socket, AF_XDP's kicks.
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_recvfrom, libc::SYS_recvmsg, libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_recvmmsg,
    libc::SYS_sendmmsg, libc::SYS_close, libc::SYS_close_range, libc::SYS_fcntl, libc::SYS_dup, libc::SYS_lseek,
    libc::SYS_shutdown, libc::SYS_fsync, libc::SYS_fdatasync,
    // Waiting for them.
    libc::SYS_ppoll, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_eventfd2,
    libc::SYS_pipe2, libc::SYS_timerfd_create, libc::SYS_timerfd_settime,
    // The admin socket and memif's: sockets are made below, for AF_UNIX alone.
    libc::SYS_accept, libc::SYS_accept4, libc::SYS_bind, libc::SYS_listen, libc::SYS_connect, libc::SYS_getsockopt,
    libc::SYS_setsockopt, libc::SYS_getsockname, libc::SYS_getpeername,
    // memif: its regions of memory, and waking a peer that must not be waited for.
    libc::SYS_memfd_create, libc::SYS_ftruncate, libc::SYS_io_setup, libc::SYS_io_submit, libc::SYS_io_getevents,
    libc::SYS_io_destroy,
    // Documents, certificates, the log: landlock says where.
    libc::SYS_openat, libc::SYS_newfstatat, libc::SYS_fstat, libc::SYS_fstatfs, libc::SYS_statx, libc::SYS_getdents64,
    libc::SYS_readlinkat, libc::SYS_inotify_init1, libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch,
    libc::SYS_unlinkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_fchmodat, libc::SYS_fchmod, libc::SYS_mkdirat, libc::SYS_getcwd, libc::SYS_faccessat,
    // Memory.
    libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_madvise, libc::SYS_brk,
    libc::SYS_membarrier,
    // Threads: the admin socket has one for each client.
    libc::SYS_clone3, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_futex, libc::SYS_exit,
    libc::SYS_exit_group, libc::SYS_gettid, libc::SYS_getpid, libc::SYS_tgkill, libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity, libc::SYS_sched_setaffinity, libc::SYS_prlimit64, libc::SYS_set_tid_address,
    // Signals.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time, random numbers, who one is, the keeper's end.
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep, libc::SYS_nanosleep,
    libc::SYS_gettimeofday, libc::SYS_getrandom, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid,
    libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_wait4, libc::SYS_waitid, libc::SYS_getppid,
];

/// The same where the processor still has the older forms, which the C library may choose.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_OLD: &[c_long] = &[
    libc::SYS_poll, libc::SYS_epoll_wait, libc::SYS_open, libc::SYS_stat, libc::SYS_lstat, libc::SYS_unlink,
    libc::SYS_rename, libc::SYS_chmod, libc::SYS_mkdir, libc::SYS_readlink, libc::SYS_access, libc::SYS_dup2, libc::SYS_getdents,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[c_long] = &[];

/// Calls with one value of an argument: the call, the argument, the values.
const ALLOWED_WITH: &[(c_long, u8, &[u64])] = &[
    (libc::SYS_socket, 0, &[libc::AF_UNIX as u64]),
    (libc::SYS_socketpair, 0, &[libc::AF_UNIX as u64]),
    // Looking into a table of the XDP program that is open, and changing it: no loading, no attaching.
    (libc::SYS_bpf, 0, &[1, 2, 3]),
    // A thread's name; more is not asked for.
    (libc::SYS_prctl, 0, &[libc::PR_SET_NAME as u64]),
    // An older C library makes threads by it: with memory, files and signal handlers shared, so no process.
    (libc::SYS_clone, 0, &[0x003d_0f00]),
    // How many bytes a socket or a pipe has, and that it does not wait.
    (libc::SYS_ioctl, 1, &[libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX]),
];

/// The filter.
///
/// # Errors
///
/// A processor that seccompiler does not know.
pub(super) fn filter() -> Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().chain(ALLOWED_OLD).map(|&call| (call, Vec::new())).collect();
    for &(call, argument, values) in ALLOWED_WITH {
        let rule = |&value: &u64| {
            let is = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)?;
            SeccompRule::new(vec![is])
        };
        rules.insert(call, values.iter().map(rule).collect::<Result<_, _>>()?);
    }
    let arch = std::env::consts::ARCH.try_into().context("system calls of this processor are not known")?;
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    Ok(SeccompFilter::new(rules, denied, SeccompAction::Allow, arch)?.try_into()?)
}
