//! libFuzzer's way into [`fuzz::nft_netlink`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::nft_netlink(data));
