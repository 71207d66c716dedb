//! The thread that looks after changes.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use freeway::ring::Producer;
use notify::{RecursiveMode, Watcher as _};
use tracing::{info, warn};

use super::{Changes, Library, LibraryConfig, LibraryError, Symlinks};
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
    /// Other settings are to hold; the channel is told what came of it.
    Configured(Box<LibraryConfig>, std::sync::mpsc::Sender<Result<(), LibraryError>>),
    Stop,
}

impl Watching {
    /// Serves what other settings say: other folders, other sites. All documents are read before any core hears of them;
    /// answers that are under way end with the old ones. `documents_max` stays as it was.
    ///
    /// # Errors
    ///
    /// See [`LibraryError`]; the documents stay as they were. So they do, without an error, if they are of the page that a
    /// server without a root has.
    pub fn configure(&self, config: LibraryConfig) -> Result<(), LibraryError> {
        let Some(thread) = &self.stop else { return Ok(()) };
        let (done, answer) = channel();
        if thread.send(Wake::Configured(Box::new(config), done)).is_err() {
            return Ok(());
        }
        answer.recv().unwrap_or(Ok(()))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Full, it has room soon: the thread takes what is there.
            let _ = stop.send(Wake::Stop);
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
        thread::Builder::new().name("documents".into()).spawn(move || run(library, &wakes, &changed))?;
    Ok(Watching { stop: Some(stop), thread: Some(thread) })
}

fn run(library: Library, wakes: &Receiver<Wake>, changed: &SyncSender<Wake>) {
    let Library { scanner, mut tree, documents_max: _, mut cores } = library;
    let Some(mut scanner) = scanner else {
        // Nothing changes: the documents are only kept until the cores are done with them.
        while let Ok(Wake::Changed | Wake::Configured(..)) = wakes.recv() {}
        return;
    };
    let (mut _watcher, mut period) = follow(scanner.config(), changed);
    // What changed between the first reading and now, nobody has told of.
    let mut is_due = scanner.config().changes != Changes::Never;
    loop {
        let wait = if scanner.has_old() { Some(TIDY) } else { period };
        let wake = match wait {
            _ if std::mem::take(&mut is_due) => Ok(Wake::Changed),
            Some(wait) => wakes.recv_timeout(wait),
            None => wakes.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        let mut done = None;
        match wake {
            Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            Ok(Wake::Changed) => thread::sleep(SETTLE),
            Ok(Wake::Configured(config, answer)) => {
                let before = scanner.configure(*config);
                done = Some((answer, before));
            }
            Err(RecvTimeoutError::Timeout) => {
                scanner.tidy();
                if period.is_none() {
                    continue;
                }
            }
        }
        let scanned = scanner.scan();
        if let Some((answer, before)) = done {
            let outcome = match scanned {
                Ok(new) => {
                    publish(&mut cores, &new);
                    tree = new;
                    Ok(())
                }
                Err(error) => {
                    scanner.configure(before);
                    Err(error)
                }
            };
            (_watcher, period) = follow(scanner.config(), changed);
            // Nobody may wait for it any more.
            let _ = answer.send(outcome);
            continue;
        }
        match scanned {
            Ok(new) if scanner.is_same(&tree, &new) => {}
            Ok(new) => {
                info!(documents = new.len(), bytes = new.bytes_in_memory(), "documents changed");
                publish(&mut cores, &new);
                tree = new;
            }
            Err(error) => warn!(%error, "the documents stay as they were"),
        }
    }
}

/// What tells of changes, and how often files are looked at besides.
fn follow(
    config: &LibraryConfig,
    changed: &SyncSender<Wake>,
) -> (Option<notify::RecommendedWatcher>, Option<Duration>) {
    match config.changes {
        Changes::Never => (None, None),
        Changes::Poll(period) => (None, Some(period.max(Duration::from_millis(10)))),
        Changes::Told => match watch(config, changed.clone()) {
            // Links lead to places that are not watched.
            Ok(watcher) => (Some(watcher), (config.symlinks != Symlinks::Never).then_some(POLL)),
            Err(error) => {
                warn!(%error, "the kernel does not tell of changed files; they are looked at every two seconds");
                (None, Some(POLL))
            }
        },
    }
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

fn watch(config: &LibraryConfig, changed: SyncSender<Wake>) -> notify::Result<notify::RecommendedWatcher> {
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
