//! A TAP device as a Freeway port.
