//! `freeway_fuzz::targets::checksum` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| freeway_fuzz::targets::checksum(data));
