//! The HTTP server and clients that are not ours: curl, ab, wrk, h2load, openssl, slowhttptest, Python's websockets.
//!
//! Linux is on the other end of a TAP device. Each module is about one side of the server.

mod ending;
mod files;
mod load;
mod push;
mod secure;
mod site;
mod slow;
