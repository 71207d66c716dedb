//! Attacks on a host that serves: each must leave memory bounded, honest clients served and a counter that tells of it, and
//! nothing behind when it is over.

mod fragments;
mod neighbors;
mod out_of_order;
mod path_lies;
mod persist;
mod puppets;
mod small_segments;
