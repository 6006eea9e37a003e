//! libFuzzer's way into [`fuzz::ipset`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::ipset(data));
