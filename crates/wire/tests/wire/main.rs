//! For every protocol: packets written out by hand mean what they should, what is written reads back the same, and
//! nothing panics whatever the bytes.

#![allow(clippy::unwrap_used)]

mod checksum;
mod icmp;
mod ipv4;
mod ipv6;
mod link;
mod ndp;
mod offload;
mod strategy;
mod tcp;
mod tcp_options;
mod udp;
