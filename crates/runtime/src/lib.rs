//! The per-core loop: poll, pin, idle, hand over between cores.
