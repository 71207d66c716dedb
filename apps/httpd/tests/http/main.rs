//! The server and a client that says what a test tells it to, joined by a pipe, on a clock moved by hand.
#![allow(clippy::unwrap_used)]

mod documents;
mod handlers;
mod lab;
mod patience;
mod requests;
mod secure;
