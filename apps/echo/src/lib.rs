//! The echo, discard and character generator services, over TCP and UDP.
