//! Whole-stack benchmarks over the in-process pipe.
