//! An HTTP/1.1 server: documents from memory and disk, handlers, events and WebSockets.
//!
//! Each core has a [`Server`], which an application calls on its connections' events. Everything that may wait for
//! something else than the network has a thread outside of the data path: documents are read by a [`Library`], large ones
//! part by part by the server's disk thread, and lines are written by a [`Log`]; between them and the cores lie rings of
//! fixed size.

#![forbid(unsafe_code)]

mod answer;
mod ask;
pub mod broadcast;
mod certificates;
mod config;
mod counters;
mod disk;
mod document;
mod download;
mod exchange;
mod exchanging;
pub mod handlers;
mod io;
pub mod library;
pub mod log;
mod memo;
mod patience;
mod prefix;
mod rates;
mod reply;
mod server;
mod shelf;
mod socket;
mod state;
mod tickets;
mod tls;
mod tree;

pub use broadcast::Mesh;
pub use certificates::{Certificate, Tls, TlsChange, TlsError, TlsFeed};
pub use config::Config;
pub use counters::HttpCounters;
pub use disk::Disk;
pub use document::Document;
pub use library::{Changes, Feed, Library, LibraryConfig, LibraryError, SiteConfig, Symlinks, Watching};
pub use log::{Destination, Format, Log, LogConfig, LogSender};
pub use server::{Parts, Route, Server};
pub use state::{HoldsHttp, HttpState};
pub use tree::Tree;
