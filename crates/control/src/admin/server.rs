//! The server's end: a thread that waits for clients, and one for each while it is there.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use freeway_runtime::Observer;
use thiserror::Error;

use super::{Answer, Ask, CLIENTS, QUESTION_MAX, Reloaded};
use crate::snapshot::Snapshot;
use crate::{capture, sockets};

/// How long a client may be silent, or leave an answer unread.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no admin socket.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Another server answers there.
    #[error("another server has the admin socket {0}: give this one another by --admin")]
    InUse(PathBuf),
    /// Something else has that name.
    #[error("{0} is there and no socket: give --admin another path, or remove it")]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("the admin socket {path}: {source}; --admin names another")]
    Io {
        /// Where it was to be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A server's admin socket. It goes when this is dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a client may have done, by whoever runs the server.
#[derive(Default)]
pub struct Actions {
    /// Reads the settings anew. It runs on the client's thread, and may take its time.
    pub reload: Option<Box<dyn Fn() -> Reloaded + Send + Sync>>,
}

/// What questions are answered from.
struct Source {
    actions: Actions,
    observer: Observer,
    ready: String,
    since: Instant,
}

impl Server {
    /// Opens the socket at `path`, for this user alone, and answers from what the cores show. `ready` is what the server
    /// said of itself when it was ready. A socket that a dead server left is replaced.
    ///
    /// # Errors
    ///
    /// See [`ServerError`].
    pub fn open(path: &Path, observer: Observer, ready: &str) -> Result<Self, ServerError> {
        Self::open_with(path, observer, ready, Actions::default())
    }

    /// The same for a server that does what clients ask for.
    ///
    /// # Errors
    ///
    /// See [`ServerError`].
    pub fn open_with(
        path: &Path,
        observer: Observer,
        ready: &str,
        actions: Actions,
    ) -> Result<Self, ServerError> {
        let listener = listen(path)?;
        let source = Arc::new(Source { actions, observer, ready: ready.to_owned(), since: Instant::now() });
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("freeway-admin".to_owned())
            .spawn(move || wait_for_clients(&listener, &source, &stopped))
            .map_err(|source| ServerError::Io { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), stop, thread: Some(thread) })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // The thread waits in accept: one more client wakes it.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// A listening socket at `path` that nobody but this user could open at any moment: it gets its name when it has its mode.
fn listen(path: &Path) -> Result<UnixListener, ServerError> {
    let failed = |source| ServerError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(ServerError::NotASocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(ServerError::InUse(path.to_owned())),
        _ => {}
    }
    let mut unnamed = path.as_os_str().to_owned();
    unnamed.push(format!(".{}", std::process::id()));
    let unnamed = PathBuf::from(unnamed);
    let _ = fs::remove_file(&unnamed);
    let listener = UnixListener::bind(&unnamed).map_err(failed)?;
    let named = fs::set_permissions(&unnamed, Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(&unnamed, path));
    if let Err(source) = named {
        let _ = fs::remove_file(&unnamed);
        return Err(failed(source));
    }
    Ok(listener)
}

fn wait_for_clients(listener: &UnixListener, source: &Arc<Source>, stop: &AtomicBool) {
    let present = Arc::new(AtomicUsize::new(0));
    for client in listener.incoming() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let client = match client {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!(%error, "an admin client could not be let in");
                // Out of descriptors, most likely: the same again at once would help nobody.
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if present.fetch_add(1, Ordering::AcqRel) >= CLIENTS {
            present.fetch_sub(1, Ordering::AcqRel);
            let _ = say(&client, &Answer::Error(format!("{CLIENTS} clients are asking already: try again")));
            continue;
        }
        let (source, leaving) = (Arc::clone(source), Arc::clone(&present));
        let spawned = thread::Builder::new().name("freeway-asked".to_owned()).spawn(move || {
            if let Err(error) = serve(&client, &source) {
                tracing::debug!(%error, "an admin client has gone");
            }
            leaving.fetch_sub(1, Ordering::AcqRel);
        });
        if spawned.is_err() {
            present.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Answers one client until it has no more questions.
fn serve(client: &UnixStream, source: &Source) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(client);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.by_ref().take(QUESTION_MAX as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        match serde_json::from_slice(&line) {
            Ok(Ask::Stats) => say(client, &source.stats())?,
            Ok(Ask::Reload) => say(client, &source.reload())?,
            Ok(Ask::Sockets(wanted)) => sockets::tell(client, &source.observer, &wanted)?,
            // What follows is no line: nothing else can be asked on this connection.
            Ok(Ask::Capture(wanted)) => return capture::tell(client, &source.observer, &wanted),
            Err(error) => return say(client, &Answer::Error(format!("not a question: {error}"))),
        }
    }
}

fn say(mut client: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    client.write_all(&line)
}

impl Source {
    fn stats(&self) -> Answer {
        let uptime_s = self.since.elapsed().as_secs();
        Answer::Stats(Box::new(Snapshot::take(&self.observer.stats().read(), &self.ready, uptime_s)))
    }

    fn reload(&self) -> Answer {
        match &self.actions.reload {
            Some(reload) => Answer::Reload(reload()),
            None => Answer::Error("this server cannot read its settings anew".to_owned()),
        }
    }
}
