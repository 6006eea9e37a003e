//! libFuzzer's way into [`fuzz::ipvs`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::ipvs(data));
