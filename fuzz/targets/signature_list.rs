#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::signature_list::check(data));
