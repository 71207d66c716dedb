//! The thread that looks after changes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use freeway::ring::Producer;
use notify::{RecursiveMode, Watcher as _};
use tracing::{info, warn};

use super::{Changes, Library, Symlinks};
use crate::tree::Tree;

/// How long after a change the files are looked at: editors and copies change them in several steps.
const SETTLE: Duration = Duration::from_millis(50);

/// How often files are looked at where the kernel cannot tell.
const POLL: Duration = Duration::from_secs(2);

/// How often old documents are freed while there are any.
const TIDY: Duration = Duration::from_millis(200);

/// A library that follows its files. Dropping it ends that.
pub struct Watching {
    // Dropping the sender wakes the thread for the last time.
    stop: Option<SyncSender<Wake>>,
    thread: Option<JoinHandle<()>>,
}

/// Why the thread wakes.
enum Wake {
    Changed,
    Stop,
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A full channel wakes the thread as well, and it sees that this end is gone.
            let _ = stop.try_send(Wake::Stop);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(super) fn start(library: Library) -> io::Result<Watching> {
    // One pending change is as good as many.
    let (stop, wakes) = sync_channel(2);
    let changed = stop.clone();
    let thread =
        thread::Builder::new().name("documents".into()).spawn(move || run(library, &wakes, changed))?;
    Ok(Watching { stop: Some(stop), thread: Some(thread) })
}

fn run(library: Library, wakes: &Receiver<Wake>, changed: SyncSender<Wake>) {
    let Library { scanner, mut tree, documents_max: _, mut cores } = library;
    let Some(mut scanner) = scanner else {
        // Nothing changes: the documents are only kept until the cores are done with them.
        while !matches!(wakes.recv(), Ok(Wake::Stop) | Err(_)) {}
        return;
    };
    let config = scanner.config().clone();
    let mut period = match config.changes {
        Changes::Never => None,
        Changes::Poll(period) => Some(period.max(Duration::from_millis(10))),
        Changes::Told => None,
    };
    let mut watcher = None;
    if config.changes == Changes::Told {
        match watch(&config, changed) {
            Ok(watching) => watcher = Some(watching),
            Err(error) => {
                warn!(%error, "the kernel does not tell of changed files; they are looked at every two seconds");
                period = Some(POLL);
            }
        }
        // Links lead to places that are not watched.
        if config.symlinks != Symlinks::Never {
            period = Some(POLL);
        }
    }
    // What changed between the first reading and now, nobody has told of.
    let mut is_due = config.changes != Changes::Never;
    loop {
        let wait = if scanner.has_old() { Some(TIDY) } else { period };
        let wake = match wait {
            _ if std::mem::take(&mut is_due) => Ok(Wake::Changed),
            Some(wait) => wakes.recv_timeout(wait),
            None => wakes.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match wake {
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(Wake::Changed) => thread::sleep(SETTLE),
            Err(RecvTimeoutError::Timeout) => {
                scanner.tidy();
                if period.is_none() {
                    continue;
                }
            }
        }
        match scanner.scan() {
            Ok(new) if scanner.is_same(&tree, &new) => {}
            Ok(new) => {
                info!(documents = new.len(), bytes = new.bytes_in_memory(), "documents changed");
                publish(&mut cores, &new);
                tree = new;
            }
            Err(error) => warn!(%error, "the documents stay as they were"),
        }
    }
    drop(watcher);
}

/// Gives every core the new documents, waiting for those that are still at older ones.
fn publish(cores: &mut [Producer<Arc<Tree>>], tree: &Arc<Tree>) {
    for core in cores {
        let mut tree = Arc::clone(tree);
        while let Err(back) = core.push(tree) {
            if core.is_disconnected() {
                break;
            }
            tree = back;
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn watch(
    config: &super::LibraryConfig,
    changed: SyncSender<Wake>,
) -> notify::Result<notify::RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if !event.is_ok_and(|event| event.kind.is_access()) {
            // Full: the thread is about to look anyway.
            let _ = changed.try_send(Wake::Changed);
        }
    })?;
    for site in &config.sites {
        watcher.watch(&site.root, RecursiveMode::Recursive)?;
    }
    Ok(watcher)
}
