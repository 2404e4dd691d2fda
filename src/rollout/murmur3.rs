//! MurmurHash3_x86_32 with seed 0, fed in pieces: what Unleash and flagd bucket with.
//!
//! Not a keyed hash: whoever knows the salt can compute everybody's bucket. Only for parity with a flag platform.

/// A hash under way. Copied before each key, so that a salt is fed once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Murmur3 {
    hash: u32,
    /// Up to three bytes that wait for their fourth, little-endian.
    pending: u32,
    length: u32,
}

impl Murmur3 {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let at = self.length % 4;
            self.pending |= u32::from(*byte) << (8 * at);
            // The algorithm counts its length modulo 2^32.
            self.length = self.length.wrapping_add(1);
            if at == 3 {
                self.hash =
                    (self.hash ^ scrambled(self.pending)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
                self.pending = 0;
            }
        }
    }

    pub(super) const fn finish(self) -> u32 {
        // Of no pending bytes the scrambled word is 0, which changes nothing.
        let mut hash = self.hash ^ scrambled(self.pending) ^ self.length;
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
        hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
        hash ^ (hash >> 16)
    }
}

const fn scrambled(word: u32) -> u32 {
    word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

#[cfg(test)]
mod tests {
    use super::Murmur3;

    /// Values of the reference implementation (SMHasher) that others publish too.
    #[test]
    fn known_values() {
        let table: [(&str, u32); 6] = [
            ("", 0),
            ("test", 0xba6b_d213),
            ("Hello, world!", 0xc036_3e43),
            ("The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
            ("a", 0x3c25_69b2),
            ("abc", 0xb3dd_93fa),
        ];
        for (text, expected) in table {
            for split in 0..=text.len() {
                let mut hash = Murmur3::default();
                hash.update(&text.as_bytes()[..split]);
                hash.update(&text.as_bytes()[split..]);
                assert_eq!(hash.finish(), expected, "{text:?} split at {split}");
            }
        }
    }
}
