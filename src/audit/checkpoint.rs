//! A checkpoint: a signed word of how far the trail had come, so that a tail cut off later is missed.
//!
//! Owns its line and what is signed. Never says what a trail should be: `recover` and `verify` compare.

use serde::{Deserialize, Serialize};

use super::chain::{Hash, Link};
use super::entry::timestamp;
use super::keys::{Keys, PublicKey};

/// One line of a checkpoint file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub node: String,
    pub seq: u64,
    /// 64 hex digits: of the entry with that `seq`.
    pub hash: String,
    /// RFC 3339.
    pub time: String,
    /// The trail was ended in order here: whatever stands behind it, without a later checkpoint, nobody who may sign wrote.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end: bool,
    /// Id of the key that signed.
    pub key: String,
    /// Base64.
    pub signature: String,
}

impl Checkpoint {
    pub(super) fn sign(keys: &Keys, node: &str, link: Link, end: bool, micros: i64) -> Self {
        let mut made = Self {
            node: node.to_owned(),
            seq: link.seq,
            hash: link.hash.to_string(),
            time: timestamp(micros),
            end,
            key: keys.id().to_owned(),
            signature: String::new(),
        };
        made.signature = keys.sign(&made.signed_bytes());
        made
    }

    /// Reads a line, with or without its line feed. The signature is not checked yet.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let read: Self = serde_json::from_slice(line).ok()?;
        // A line feed in a field would let one set of fields be signed as another.
        let plain = [&read.node, &read.hash, &read.time].iter().all(|field| !field.contains(char::is_control));
        (plain && read.link().is_some()).then_some(read)
    }

    /// As it stands in a file, with its line feed.
    pub fn line(&self) -> Vec<u8> {
        // Strings and a number: nothing in it fails to be written.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// The entry that it covers.
    pub fn link(&self) -> Option<Link> {
        Some(Link { seq: self.seq, hash: Hash::parse(self.hash.as_bytes())? })
    }

    /// Whether one of `keys` signed it.
    pub fn is_signed_by(&self, keys: &[PublicKey]) -> bool {
        let bytes = self.signed_bytes();
        keys.iter().any(|key| key.id() == self.key && key.signed(&bytes, &self.signature))
    }

    fn signed_bytes(&self) -> Vec<u8> {
        // No field holds a line feed, so that the last line is there for an end alone.
        let end = if self.end { "end\n" } else { "" };
        format!("crossgate-checkpoint-1\n{}\n{}\n{}\n{}\n{end}", self.node, self.seq, self.hash, self.time).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::Checkpoint;
    use crate::audit::chain::{Hash, Link};
    use crate::audit::disk::Real;
    use crate::audit::keys::Keys;
    use crate::audit::names::Names;

    #[test]
    fn every_field_is_signed() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names::of(&folder.path().join("audit.jsonl")).unwrap();
        let keys = Keys::load(&Real, &folder.path().join("state"), &names).unwrap();
        let made = Checkpoint::sign(&keys, "node-1", Link { seq: 7, hash: Hash([9; 32]) }, false, 1);
        let read = Checkpoint::parse(&made.line()).unwrap();
        assert_eq!(read, made);
        assert!(read.is_signed_by(&keys.public));
        assert_eq!(read.link(), Some(Link { seq: 7, hash: Hash([9; 32]) }));
        let text = String::from_utf8(made.line()).unwrap();
        for (from, to) in [
            ("node-1", "node-2"),
            ("\"seq\":7", "\"seq\":8"),
            ("0909", "0a09"),
            ("1970", "1971"),
            (keys.id(), "0000000000000000"),
            (",\"key\"", ",\"end\":true,\"key\""),
        ] {
            let changed = Checkpoint::parse(text.replacen(from, to, 1).as_bytes()).unwrap();
            assert!(!changed.is_signed_by(&keys.public), "{from}");
        }
        assert!(!read.is_signed_by(&[]));
        let end = Checkpoint::sign(&keys, "node-1", Link { seq: 7, hash: Hash([9; 32]) }, true, 1);
        let read = Checkpoint::parse(&end.line()).unwrap();
        assert!(read.end && read.is_signed_by(&keys.public));
        assert!(!Checkpoint { end: false, ..read }.is_signed_by(&keys.public), "an end says so under the signature");
        for bad in ["", "{}", &text.replacen("node-1", "node\\n1", 1), &text.replacen("0909", "09", 1)] {
            assert_eq!(Checkpoint::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
