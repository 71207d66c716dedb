//! `freeway_fuzz::targets::http` under libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| freeway_fuzz::targets::http(data));
