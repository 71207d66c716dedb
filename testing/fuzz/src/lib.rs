//! What the fuzzers call, and the replay of their corpus.
