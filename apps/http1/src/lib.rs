//! HTTP/1.1 and WebSocket as bytes, without I/O (RFC 9110, RFC 9112, RFC 6455).
//!
//! [`request::parse`] reads the head of a request from whatever has arrived and says how its body is framed; [`Body`]
//! walks through that body; [`Head`] writes the head of an answer. [`conditions`], [`ranges`] and [`coding`] decide
//! what of a document is sent. Nothing here allocates, and nothing knows where bytes come from or go to.

#![forbid(unsafe_code)]

pub mod body;
pub mod chunked;
pub mod coding;
pub mod conditions;
pub mod decimal;
pub mod fields;
pub mod head;
pub mod method;
pub mod path;
pub mod ranges;
pub mod request;
pub mod status;
pub mod target;
pub mod websocket;

pub use body::{Body, BodyError};
pub use coding::Coding;
pub use fields::{Framing, Seen};
pub use head::{Head, Overflow};
pub use method::Method;
pub use path::{DecodedPath, PathError};
pub use request::{Limits, Parsed, Refusal, Request, Space, space};
pub use status::Status;
pub use target::{Form, Target};
