//! The asking end.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::{Answer, Ask, Reloaded};
use crate::capture::{self, Begun};
use crate::snapshot::Snapshot;
use crate::sockets::{self, Socket, Summary};

/// How long a server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same for a reload.
const RELOAD: Duration = Duration::from_secs(120);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// There is no such socket, or nobody behind it.
    #[error(
        "no server answers at {0}: start one with `freeway serve`, or say by --admin where its admin socket is"
    )]
    Nobody(PathBuf),
    /// The socket is another user's.
    #[error("the admin socket {0} is its server's user's alone: ask as that user, or as root")]
    NotAllowed(PathBuf),
    /// The connection broke.
    #[error("the server at {path}: {source}")]
    Io {
        /// Which server.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The answer makes no sense: a server of another version, most likely.
    #[error("the server at {path} answers something unknown ({reason}): is it of another version?")]
    Unknown {
        /// Which server.
        path: PathBuf,
        /// What was not understood.
        reason: String,
    },
    /// The server says no.
    #[error("the server says: {0}")]
    Refused(String),
}

/// A connection to a server's admin socket.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the server whose socket is at `path`.
    ///
    /// # Errors
    ///
    /// See [`AskError`].
    pub fn connect(path: &Path) -> Result<Self, AskError> {
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::Nobody(path.to_owned()),
            io::ErrorKind::PermissionDenied => AskError::NotAllowed(path.to_owned()),
            _ => AskError::Io { path: path.to_owned(), source },
        })?;
        let client = Self { path: path.to_owned(), stream: BufReader::new(stream) };
        client.stream.get_ref().set_read_timeout(Some(PATIENCE)).map_err(|source| client.broken(source))?;
        Ok(client)
    }

    /// All counters.
    ///
    /// # Errors
    ///
    /// See [`AskError`].
    pub fn stats(&mut self) -> Result<Snapshot, AskError> {
        self.ask(&Ask::Stats)?;
        match self.answer()? {
            Answer::Stats(snapshot) => Ok(*snapshot),
            other => Err(self.unexpected(other)),
        }
    }

    /// Has the server read its settings anew.
    ///
    /// # Errors
    ///
    /// See [`AskError`]. What is wrong with the settings is in the answer.
    pub fn reload(&mut self) -> Result<Reloaded, AskError> {
        // Documents may have to be read.
        self.stream.get_ref().set_read_timeout(Some(RELOAD)).map_err(|source| self.broken(source))?;
        self.ask(&Ask::Reload)?;
        match self.answer()? {
            Answer::Reload(outcome) => Ok(outcome),
            other => Err(self.unexpected(other)),
        }
    }

    /// Sockets: `each` is shown one at a time, as they come. An error of `each` ends it, and this connection is of no use
    /// any more.
    ///
    /// # Errors
    ///
    /// See [`AskError`]; and what `each` returns.
    pub fn sockets<E: From<AskError>>(
        &mut self,
        wanted: sockets::Wanted,
        mut each: impl FnMut(Socket) -> Result<(), E>,
    ) -> Result<Summary, E> {
        self.ask(&Ask::Sockets(wanted))?;
        loop {
            match self.answer()? {
                Answer::Socket(socket) => each(socket)?,
                Answer::Working(_) => {}
                Answer::Sockets(summary) => return Ok(summary),
                other => return Err(self.unexpected(other).into()),
            }
        }
    }

    /// Frames as they pass: what the server says of them, and a stream of which a pcapng file is read. Ending its writing
    /// half ends the capture, and the file is whole at the stream's end.
    ///
    /// # Errors
    ///
    /// See [`AskError`].
    pub fn capture(mut self, wanted: capture::Wanted) -> Result<(Begun, BufReader<UnixStream>), AskError> {
        self.ask(&Ask::Capture(wanted))?;
        match self.answer()? {
            Answer::Capture(begun) => {
                // Nothing may pass for hours.
                self.stream.get_ref().set_read_timeout(None).map_err(|source| self.broken(source))?;
                Ok((begun, self.stream))
            }
            other => Err(self.unexpected(other)),
        }
    }

    fn ask(&mut self, ask: &Ask) -> Result<(), AskError> {
        let mut question = serde_json::to_vec(ask).map_err(|error| self.unknown(&error))?;
        question.push(b'\n');
        self.stream.get_ref().write_all(&question).map_err(|source| self.broken(source))
    }

    fn answer(&mut self) -> Result<Answer, AskError> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).map_err(|source| self.broken(source))?;
        if line.is_empty() {
            return Err(self.broken(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&line).map_err(|error| self.unknown(&error))
    }

    fn unexpected(&self, answer: Answer) -> AskError {
        match answer {
            Answer::Error(reason) => AskError::Refused(reason),
            _ => {
                AskError::Unknown { path: self.path.clone(), reason: "the answer to another question".into() }
            }
        }
    }

    fn broken(&self, source: io::Error) -> AskError {
        AskError::Io { path: self.path.clone(), source }
    }

    fn unknown(&self, error: &serde_json::Error) -> AskError {
        AskError::Unknown { path: self.path.clone(), reason: error.to_string() }
    }
}
