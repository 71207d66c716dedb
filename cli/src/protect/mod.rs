//! What a running server may still do: next to nothing.
//!
//! ```text
//!   devices are opened ─► thread that starts cores ──────► cores build themselves ─► no capability, no file
//!         │
//!         ├─► keeper, a process of its own: removes interfaces when the server is gone
//!         └─► main thread: no capability, few folders ─► threads for logs, documents, the admin socket inherit that
//!                                                    └─► system calls of a list, for all threads at once
//! ```
//!
//! Capabilities and landlock(7) are each thread's own, so each thread gives its own up, or has a parent that did. A
//! seccomp(2) filter is for all threads. What is not allowed fails with EPERM.

pub(crate) mod folders;
pub(crate) mod keeper;
mod syscalls;

use std::io;
use std::thread;

use anyhow::{Context as _, Result, bail};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs,
};

use folders::Folders;

/// What each thread gives up. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Protection {
    /// None: nothing is given up.
    folders: Option<Folders>,
}

impl Protection {
    /// Protection with these folders open to the threads beside the cores; none at all when it is switched off.
    pub(crate) const fn new(folders: Option<Folders>) -> Self {
        Self { folders }
    }

    /// Whether anything is given up.
    pub(crate) const fn is_on(&self) -> bool {
        self.folders.is_some()
    }

    /// The folders that stay open; none when all do.
    pub(crate) const fn folders(&self) -> Option<&Folders> {
        self.folders.as_ref()
    }

    /// Finds out whether the kernel lets all this be given up, by a thread that does so and ends.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub(crate) fn try_on_a_thread(&self) -> Result<()> {
        let protection = self.clone();
        let tried = thread::spawn(move || {
            protection.of_helpers()?;
            if protection.is_on() {
                let filter = syscalls::filter()?;
                seccompiler::apply_filter(&filter).context("system calls cannot be restricted (seccomp)")?;
            }
            Ok(())
        });
        tried.join().unwrap_or_else(|_| bail!("a thread without rights has panicked"))
    }

    /// For a thread beside the cores, and those that it starts: no capability, no way to more rights, a few folders.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub(crate) fn of_helpers(&self) -> Result<()> {
        let Some(folders) = &self.folders else { return Ok(()) };
        drop_capabilities().context("capabilities cannot be dropped")?;
        folders.restrict().context("folders cannot be shut (landlock)")
    }

    /// For a core's thread, when it has built what it needs: no capability, no file at all.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub(crate) fn of_core(&self) -> Result<()> {
        if self.folders.is_none() {
            return Ok(());
        }
        drop_capabilities().context("capabilities cannot be dropped")?;
        Folders::default().restrict().context("folders cannot be shut (landlock)")
    }

    /// For the whole process, when all its threads are there: system calls of the list alone.
    ///
    /// # Errors
    ///
    /// What the kernel refuses.
    pub(crate) fn of_process(&self) -> Result<()> {
        if self.folders.is_none() {
            return Ok(());
        }
        let filter = syscalls::filter()?;
        seccompiler::apply_filter_all_threads(&filter).context("system calls cannot be restricted (seccomp)")
    }
}

/// Gives up all capabilities of this thread, and every way to more: from now on no program that it could execute gains
/// rights.
fn drop_capabilities() -> io::Result<()> {
    set_no_new_privs(true)?;
    // Who may not do so has none to lose, and who has none needs not.
    let _ = clear_ambient_capability_set();
    for capability in CapabilitySet::all().iter() {
        let _ = remove_capability_from_bounding_set(capability);
    }
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

#[cfg(test)]
mod tests;
