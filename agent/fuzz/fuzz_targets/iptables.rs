//! libFuzzer's way into [`fuzz::iptables`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::iptables(data));
