//! The keys of the trail: one that signs checkpoints, and one that turns a token into what may be written down.
//!
//! Owns their files: both secrets in `state_dir`, apart from the trail, so that who can only copy or change the trail can
//! sign nothing; the public key beside the trail. Never overwrites a key that it cannot read.

use std::io;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::disk::{Disk, replace};
use super::names::Names;
use super::regular;

/// Bytes of an Ed25519 public key.
const PUBLIC: usize = 32;
/// Bytes of the key that tokens are hashed with.
const TOKEN: usize = 32;

/// Both keys of an installation.
pub(super) struct Keys {
    pair: Ed25519KeyPair,
    id: String,
    token: TokenKey,
    /// This key, and those that the trail was signed with before.
    pub(super) public: Vec<PublicKey>,
    /// There was no signing key: this one is new.
    pub(super) made: bool,
}

impl Keys {
    /// Reads the keys, and makes those that are not there.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub(super) fn load(disk: &dyn Disk, state_dir: &Path, names: &Names) -> Result<Self, String> {
        disk.create_folder(state_dir).map_err(|error| sentence(state_dir, "cannot be made", &error))?;
        let path = state_dir.join("audit.key");
        let unusable = "holds no Ed25519 key: put back the one that was there, or move it away for a new one";
        let (pkcs8, made) = secret(disk, &path, || {
            Ed25519KeyPair::generate_pkcs8v1(&rand::SystemRandom::new()).ok().map(|made| made.as_ref().to_vec())
        })?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| format!("{}: {unusable}", path.display()))?;
        let own = PublicKey(pair.public_key().as_ref().to_vec());
        let token = TokenKey::load(disk, state_dir)?;
        let public = publish(disk, &names.public_key(), &own)?;
        Ok(Self { id: own.id(), pair, token, public, made })
    }

    /// Puts the public keys down again where the folder was made anew: a copy of it could not be proved.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub(super) fn publish_again(&self, disk: &dyn Disk, names: &Names) -> Result<(), String> {
        let path = names.public_key();
        if path.exists() { Ok(()) } else { write(disk, &path, &self.public) }
    }

    /// The public key's, as checkpoints name it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// In base64.
    pub(super) fn sign(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(bytes).as_ref())
    }

    pub(super) fn token(&self) -> TokenKey {
        self.token.clone()
    }
}

/// What a token is hashed with before it is written down: without the key nobody can try tokens against the trail.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

impl TokenKey {
    fn load(disk: &dyn Disk, state_dir: &Path) -> Result<Self, String> {
        let path = state_dir.join(TOKEN_KEY);
        let (bytes, _) = secret(disk, &path, || {
            let mut bytes = vec![0; TOKEN];
            rand::fill(&mut bytes).ok().map(|()| bytes)
        })?;
        Self::of(&path, &bytes)
    }

    /// Reads the key of an installation, to ask whether it was this token; makes none.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(state_dir: &Path) -> Result<Self, String> {
        Self::read_file(&state_dir.join(TOKEN_KEY))
    }

    /// The same, from a copy of the key.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read_file(path: &Path) -> Result<Self, String> {
        let bytes = regular::read(path, regular::KEYS).map_err(|error| sentence(path, "cannot be read", &error))?;
        Self::of(path, &bytes)
    }

    fn of(path: &Path, bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() == TOKEN {
            return Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)));
        }
        Err(format!("{}: a key for tokens has {TOKEN} bytes, this one {}", path.display(), bytes.len()))
    }

    /// First 32 hex digits of HMAC-SHA256 over the SHA-256 of the token: whoever writes entries has no token any more.
    pub fn hash(&self, token: &str) -> String {
        self.hash_digest(digest(&SHA256, token.as_bytes()).as_ref())
    }

    /// The same, of what a token's SHA-256 is.
    pub fn hash_digest(&self, digest: &[u8]) -> String {
        hex(hmac::sign(&self.0, digest).as_ref(), 16)
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

const TOKEN_KEY: &str = "audit-token.key";

/// What checkpoints are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Reads a line of base64.
    pub fn parse(line: &str) -> Option<Self> {
        STANDARD.decode(line.trim()).ok().filter(|bytes| bytes.len() == PUBLIC).map(Self)
    }

    /// Those of an `audit.pub`, the newest first.
    pub fn all(file: &str) -> Vec<Self> {
        file.lines().filter_map(Self::parse).collect()
    }

    /// First 16 hex digits of its SHA-256.
    pub fn id(&self) -> String {
        hex(digest(&SHA256, &self.0).as_ref(), 8)
    }

    /// Whether `signature`, in base64, is this key's over `bytes`.
    pub fn signed(&self, bytes: &[u8], signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        UnparsedPublicKey::new(&ED25519, &self.0).verify(bytes, &signature).is_ok()
    }
}

/// Reads a secret, or makes it durable before it is used. True for one that was made.
fn secret(disk: &dyn Disk, path: &Path, make: impl Fn() -> Option<Vec<u8>>) -> Result<(Vec<u8>, bool), String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok((bytes, false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = make().ok_or_else(|| format!("{}: the system has no randomness for a key", path.display()))?;
            replace(disk, path, &made).map_err(|error| sentence(path, "cannot be written", &error))?;
            Ok((made, true))
        }
        Err(error) => Err(sentence(path, "cannot be read", &error)),
    }
}

/// Writes the public key down beside the trail, before those of earlier keys: their checkpoints stay checkable.
fn publish(disk: &dyn Disk, path: &Path, own: &PublicKey) -> Result<Vec<PublicKey>, String> {
    let text = match regular::read(path, regular::KEYS) {
        // Never replaced because it could not be read: without the earlier keys their checkpoints are nobody's.
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(sentence(path, "cannot be read", &error));
        }
        read => read.unwrap_or_default(),
    };
    let mut keys = PublicKey::all(&String::from_utf8_lossy(&text));
    if keys.first() != Some(own) {
        keys.retain(|key| key != own);
        keys.insert(0, own.clone());
        write(disk, path, &keys)?;
    }
    Ok(keys)
}

fn write(disk: &dyn Disk, path: &Path, keys: &[PublicKey]) -> Result<(), String> {
    let text: String = keys.iter().map(|key| STANDARD.encode(&key.0) + "\n").collect();
    replace(disk, path, text.as_bytes()).map_err(|error| sentence(path, "cannot be written", &error))
}

fn sentence(path: &Path, what: &str, error: &io::Error) -> String {
    format!("{}: {what}: {error}", path.display())
}

fn hex(bytes: &[u8], first: usize) -> String {
    bytes.iter().take(first).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{Keys, PublicKey, TokenKey};
    use crate::audit::disk::Real;
    use crate::audit::names::Names;

    fn load(folder: &std::path::Path) -> Result<Keys, String> {
        Keys::load(&Real, &folder.join("state"), &Names::of(&folder.join("audit.jsonl")).unwrap())
    }

    #[test]
    fn keys_are_made_once_and_secret() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (load(folder.path()).unwrap(), load(folder.path()).unwrap());
        assert!(first.made && !second.made);
        assert_eq!(first.id(), second.id());
        assert_eq!(first.token().hash("a"), second.token().hash("a"));
        assert_ne!(first.token().hash("a"), first.token().hash("b"));
        assert_eq!(TokenKey::read(&folder.path().join("state")).unwrap().hash("a"), first.token().hash("a"));
        for name in ["state/audit.key", "state/audit-token.key", "audit.pub"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn what_is_signed_is_checked_with_the_published_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys = load(folder.path()).unwrap();
        let signature = keys.sign(b"bytes");
        let public = PublicKey::all(&std::fs::read_to_string(folder.path().join("audit.pub")).unwrap());
        assert_eq!(public.len(), 1);
        assert!(public[0].signed(b"bytes", &signature) && public[0].id() == keys.id());
        assert!(!public[0].signed(b"bytez", &signature) && !public[0].signed(b"bytes", "AA=="));
    }

    #[test]
    fn a_new_key_keeps_the_old_ones_public() {
        let folder = tempfile::tempdir().unwrap();
        let old = load(folder.path()).unwrap();
        std::fs::remove_file(folder.path().join("state/audit.key")).unwrap();
        let new = load(folder.path()).unwrap();
        assert!(new.made && new.id() != old.id());
        let ids: Vec<String> = new.public.iter().map(PublicKey::id).collect();
        assert_eq!(ids, [new.id(), old.id()]);
    }

    #[test]
    fn a_key_that_cannot_be_read_stays_where_it_is() {
        for name in ["audit.key", "audit-token.key"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("state")).unwrap();
            std::fs::write(folder.path().join("state").join(name), "x").unwrap();
            let error = load(folder.path()).err().unwrap();
            assert!(error.contains(name), "{error}");
            assert_eq!(std::fs::read(folder.path().join("state").join(name)).unwrap(), b"x");
        }
    }
}
