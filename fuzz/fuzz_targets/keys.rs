//! The parser of key sets: bounded, and without panic; what it took, it names.
#![no_main]

use crossgate::identity::clerk::KeySet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(set) = KeySet::parse_jwks(bytes) {
        assert!(set.kids().count() <= set.len());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = KeySet::from_pem(text);
    }
});
