//! Scenarios of the IP host: a host with one interface, and the test as everybody else on its link.
#![allow(clippy::unwrap_used)]

mod arp;
mod fuzz;
mod icmp;
mod ip;
mod link;
mod ndp;
mod offload;
mod output;
mod plain;

pub(crate) use ndp::neighbor_solicit;
