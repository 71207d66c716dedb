//! The admin socket: a Unix socket, open to the server's own user alone, by which a running server is asked.
//!
//! A question is one line of JSON, and so is its answer, or each of several. A client may ask as often as it likes; the server closes a
//! connection that asks something senseless, is silent for a minute, or comes when [`CLIENTS`] others are there.
//!
//! ```text
//!   {"ask":"stats"}      ──►      {"stats":{"version":1, ...}}
//!   {"ask":"sockets", ...}     {"socket":{...}} for each, then {"sockets":{...}}
//!   {"ask":"capture", ...}     {"capture":{...}}, then a pcapng file
//!   {"ask":"weather"}    ──►      {"error":"..."}
//! ```

mod client;
mod server;

use std::env;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use client::{AskError, Client};
pub use server::{Actions, Server, ServerError};

use crate::capture::{self, Begun};
use crate::snapshot::Snapshot;
use crate::sockets::{self, Socket, Summary};

/// Clients at once: people and their tools, not a load.
pub const CLIENTS: usize = 32;

/// The longest question, in bytes.
const QUESTION_MAX: usize = 4 << 10;

/// A question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// All counters.
    Stats,
    /// Read the settings anew.
    Reload,
    /// Sockets.
    Sockets(sockets::Wanted),
    /// Frames, as they pass.
    Capture(capture::Wanted),
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Ask::Stats`].
    Stats(Box<Snapshot>),
    /// To [`Ask::Reload`].
    Reload(Reloaded),
    /// To [`Ask::Sockets`], one for each socket.
    Socket(Socket),
    /// The same, meanwhile: so many were looked at.
    Working(u64),
    /// The same, after the last one.
    Sockets(Summary),
    /// To [`Ask::Capture`]: a pcapng file follows this line, up to the connection's end. The client ends it by ending its
    /// own half.
    Capture(Begun),
    /// The question was not understood, or cannot be answered: one line for a person.
    Error(String),
}

/// What a reload did, each setting a line.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether anything was changed; a mistake in the settings changes nothing.
    pub changed: bool,
    /// What holds from now on.
    pub applied: Vec<String>,
    /// What the next start will take.
    pub restart: Vec<String>,
    /// What is wrong with the settings, or could not be done.
    pub wrong: Vec<String>,
}

impl Reloaded {
    /// All of it, for a person.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let Self { changed: _, applied, restart, wrong } = self;
        [("applied ", applied), ("restart ", restart), ("wrong   ", wrong)]
            .into_iter()
            .flat_map(|(kind, lines)| lines.iter().map(move |line| format!("{kind} {line}")))
    }
}

/// Where the socket is unless `--admin` says: in `/run/freeway` for root, in the user's own runtime folder otherwise, and
/// in `/tmp` where there is none.
pub fn default_path() -> PathBuf {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return PathBuf::from("/run/freeway/admin.sock");
    }
    match env::var_os("XDG_RUNTIME_DIR") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder).join("freeway/admin.sock"),
        _ => PathBuf::from(format!("/tmp/freeway-{}/admin.sock", uid.as_raw())),
    }
}
