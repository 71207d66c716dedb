//! Flow table, slab and timing wheel, laid out in an arena.
