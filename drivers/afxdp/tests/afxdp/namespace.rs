//! A network namespace for each test.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// One test at a time: between its fork and its exec, a program that one test starts holds the devices of all others
/// open, and what was closed is not gone yet.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `test` on a thread in a network namespace of its own, which vanishes with it. Without the right to make one
/// the test is skipped, loudly, and fails where `CI` is set.
pub fn in_namespace(name: &str, test: impl FnOnce() + Send + 'static) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let allowed = thread::spawn(|| enter_namespace().map(|()| test()).map_err(|errno| errno.to_string()));
    match allowed.join() {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            assert!(std::env::var_os("CI").is_none(), "{name} cannot run in CI: no network namespace: {why}");
            // Past the harness's capture of what a test prints.
            let _ = writeln!(
                std::io::stderr(),
                "*** SKIPPED {name}: no network namespace ({why}); run as root ***"
            );
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Moves this thread, and no other, into a new network namespace, in which interfaces say nothing by themselves.
fn enter_namespace() -> rustix::io::Result<()> {
    // SAFETY: needed because the call could also unshare descriptors, which this flag does not.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    disable_ipv6(true);
    Ok(())
}

/// Whether new interfaces of this thread's namespace go without IPv6, and so without router solicitations.
pub fn disable_ipv6(disable: bool) {
    let value = if disable { "1" } else { "0" };
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", value).unwrap();
}
