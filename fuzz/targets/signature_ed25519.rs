#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| laws::signature_ed25519::law(data));
