//! HTTP/1.1 requests and answers as bytes, without I/O.
