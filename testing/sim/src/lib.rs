//! A whole network in one process, on a virtual clock, from one seed.
