//! HTTP/1.1 requests and answers as bytes, without I/O (RFC 9110, RFC 9112).
//!
//! [`request::parse`] reads the head of a request from whatever has arrived, [`response::Head`] writes the head
//! of an answer. Neither allocates, and neither knows where bytes come from or go to.

#![forbid(unsafe_code)]

pub mod path;
pub mod request;
pub mod response;

pub use path::{DecodedPath, PathError};
pub use request::{BadRequest, Method, Parsed, Request};
pub use response::{Head, Status};
