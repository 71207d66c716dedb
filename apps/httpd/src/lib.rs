//! A server of files over HTTP/1.1.
