//! A server of files over HTTP/1.1.
//!
//! The document tree is read into memory before the data path starts ([`Documents::load`]) and lent to each
//! core's stack, so an answer copies nothing but its head, and a slow disk never stops a core.

#![forbid(unsafe_code)]

mod documents;
mod server;

pub use documents::{Document, Documents, LoadError, LoadLimits};
pub use server::{HttpState, Server};
