#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    elastauth_fuzz::check::check(data);
});
