//! Formats of the packets on the wire: views over bytes and their representations.
