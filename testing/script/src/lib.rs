//! Segment-by-segment scenarios against the stack.
