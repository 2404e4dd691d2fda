//! Tokens that were signed, so that the next request of the same person costs a lookup.
//!
//! Kept by their claims, which say all that a token says but its time: two people, orgs or roles never share one. Used
//! again for two thirds of their life; then one request has a new one signed in the background while the others go on
//! with the old one, and for the last sixth nobody gets it any more. Bounded by number and bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::HeaderValue;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::clock::Now;

/// A busy replica sees fewer people within a minute.
const MAX_ENTRIES: usize = 20_000;
const MAX_BYTES: u64 = 48 << 20;

/// A signed token, ready to be sent.
#[derive(Debug)]
pub struct Token {
    /// `Bearer …`.
    pub bearer: HeaderValue,
    /// The token alone.
    pub bare: HeaderValue,
    /// Of a published key; empty otherwise.
    pub(super) kid: Arc<str>,
    issued_ms: i64,
    expires_ms: i64,
    renew_at: Instant,
    ends_at: Instant,
    is_renewed: AtomicBool,
}

/// A token, and what it cost to have it.
#[derive(Debug, Clone)]
pub struct Given {
    pub token: Arc<Token>,
    pub how: How,
}

/// Where a token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Signed before.
    Kept,
    /// The same, and its successor is being signed.
    Renewed,
    /// For this request, which waited for it.
    Signed,
}

impl How {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Renewed => "renewed",
            Self::Signed => "signed",
        }
    }
}

/// The machine has no randomness, or there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSigned;

/// What makes a token of claims.
pub(super) trait Sign: Send + Sync + 'static {
    /// The token of these claims; `None` when it cannot be signed.
    fn sign(&self, claims: &str, life: Life) -> Option<Signed>;
}

/// When a token is issued and when it expires, in seconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) issued: i64,
    pub(super) expires: i64,
}

pub(super) struct Signed {
    pub(super) token: String,
    pub(super) kid: Arc<str>,
}

/// The tokens of one kind.
#[derive(Debug)]
pub(super) struct Tokens {
    entries: Cache<String, Arc<Token>, ByBytes>,
    /// Whole seconds.
    ttl: Duration,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<String, Arc<Token>> for ByBytes {
    fn weight(&self, claims: &String, token: &Arc<Token>) -> u64 {
        const SHARE: usize = MAX_BYTES as usize / MAX_ENTRIES;
        (claims.len() + token.bearer.len() + token.bare.len() + 256).max(SHARE) as u64
    }
}

impl Token {
    fn new(signed: Signed, issued: i64, now: Now, ttl: Duration) -> Option<Self> {
        let later = |part: Duration| now.mono.checked_add(part).unwrap_or(now.mono);
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", signed.token)).ok()?;
        let mut bare = HeaderValue::from_str(&signed.token).ok()?;
        // HTTP/2 to the API: not remembered by its table of headers, not shown by `Debug`.
        bearer.set_sensitive(true);
        bare.set_sensitive(true);
        Some(Self {
            bearer,
            bare,
            kid: signed.kid,
            issued_ms: issued * 1000,
            expires_ms: (issued + seconds(ttl)) * 1000,
            renew_at: later(ttl * 2 / 3),
            ends_at: later(ttl * 5 / 6),
            is_renewed: AtomicBool::new(false),
        })
    }

    /// By both clocks: one that was set back or forward makes no token older or younger than the API sees it.
    fn is_good(&self, now: Now) -> bool {
        now.mono < self.ends_at && now.unix_ms >= self.issued_ms && now.unix_ms < self.expires_ms
    }
}

fn seconds(ttl: Duration) -> i64 {
    i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)
}

impl Tokens {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { entries: Cache::with_weighter(MAX_ENTRIES, MAX_BYTES, ByBytes), ttl }
    }

    /// The token of these claims: a kept one, else a new one. `holds` says whether a kept one's key is still published.
    pub(super) fn get(
        self: &Arc<Self>,
        claims: &str,
        now: Now,
        holds: impl Fn(&Token) -> bool,
        signer: &Arc<impl Sign>,
    ) -> Result<Given, NotSigned> {
        if let Some(token) = self.entries.get(claims) {
            if token.is_good(now) && holds(&token) {
                let is_due = now.mono >= token.renew_at && !token.is_renewed.swap(true, Ordering::Relaxed);
                if is_due {
                    self.renew(claims, now, signer);
                }
                return Ok(Given { token, how: if is_due { How::Renewed } else { How::Kept } });
            }
            // Not the one that somebody else put there in the meantime.
            self.entries.remove_if(claims, |kept| Arc::ptr_eq(kept, &token));
        }
        // Of many requests that miss at once, one signs: all get the same bytes.
        let mut how = How::Kept;
        let sign = || {
            how = How::Signed;
            self.sign(claims, now, &**signer).ok_or(NotSigned)
        };
        let token = self.entries.get_or_insert_with(claims, sign)?;
        Ok(Given { token, how })
    }

    fn sign(&self, claims: &str, now: Now, signer: &impl Sign) -> Option<Arc<Token>> {
        let issued = now.unix_seconds();
        let signed = signer.sign(claims, Life { issued, expires: issued + seconds(self.ttl) })?;
        Token::new(signed, issued, now, self.ttl).map(Arc::new)
    }

    /// Signs where nobody waits for it, if there is such a place.
    fn renew(self: &Arc<Self>, claims: &str, now: Now, signer: &Arc<impl Sign>) {
        let (tokens, claims, signer) = (Arc::clone(self), claims.to_owned(), Arc::clone(signer));
        let renew = move || {
            if let Some(token) = tokens.sign(&claims, now, &*signer) {
                tokens.entries.insert(claims, token);
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(renew)),
            Err(_) => renew(),
        }
    }
}

/// The payload: the claims with their time.
pub(super) fn payload(claims: &str, life: Life) -> String {
    let Life { issued, expires } = life;
    let body = claims.strip_suffix('}').unwrap_or(claims);
    let comma = if body.len() > 1 { "," } else { "" };
    format!("{body}{comma}\"exp\":{expires},\"iat\":{issued}}}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{Given, Life, Sign, Signed, Tokens, payload};
    use crate::clock::Now;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Sign for Counting {
        fn sign(&self, claims: &str, Life { issued, expires }: Life) -> Option<Signed> {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            Some(Signed { token: format!("{claims}.{issued}.{expires}.{number}"), kid: "k".into() })
        }
    }

    #[test]
    fn one_token_for_two_thirds_of_its_life() {
        let (tokens, signer) = (Arc::new(Tokens::new(Duration::from_secs(60))), Arc::new(Counting::default()));
        let start = Now::at_unix_ms(1_700_000_000_000);
        let at = |seconds| start.plus(Duration::from_secs(seconds));
        let told = std::cell::RefCell::new(Vec::new());
        let get = |now| {
            let Given { token, how } = tokens.get("a", now, |_| true, &signer).unwrap();
            told.borrow_mut().push(how.as_str());
            token.bare.to_str().unwrap().to_owned()
        };
        let first = get(at(0));
        assert_eq!(first, "a.1700000000.1700000060.0");
        assert_eq!(get(at(39)), first, "byte for byte");
        assert_eq!(get(at(41)), first, "the one that has it renewed still goes with the old one");
        let second = get(at(41));
        assert_eq!(second, "a.1700000041.1700000101.1");
        assert_eq!(get(at(42)), second);
        // Nobody came for a while: nothing that is about to end is sent.
        let third = get(at(41 + 51));
        assert_eq!(third, "a.1700000092.1700000152.2");
        assert_eq!(told.take(), ["signed", "kept", "renewed", "kept", "kept", "signed"]);
        let other = tokens.get("b", at(92), |_| true, &signer).unwrap().token;
        assert_ne!(other.bare.to_str().unwrap(), third);
    }

    #[test]
    fn clocks_and_keys_that_move() {
        let (tokens, signer) = (Arc::new(Tokens::new(Duration::from_secs(60))), Arc::new(Counting::default()));
        let start = Now::at_unix_ms(1_700_000_000_000);
        let number = |now: Now, holds: bool| {
            let token = tokens.get("a", now, |_| holds, &signer).unwrap().token;
            token.bare.to_str().unwrap().rsplit('.').next().unwrap().to_owned()
        };
        assert_eq!(number(start, true), "0");
        let back = Now { unix_ms: start.unix_ms - 3_600_000, ..start };
        assert_eq!(number(back, true), "1", "a token from the future is refused by the API");
        assert_eq!(number(start, true), "2", "by the clock of an hour later it has expired");
        assert_eq!(number(start, false), "3", "its key is published no more");
    }

    #[test]
    fn claims_with_their_time() {
        assert_eq!(payload("{}", Life { issued: 1, expires: 2 }), r#"{"exp":2,"iat":1}"#);
        assert_eq!(payload(r#"{"sub":"a"}"#, Life { issued: 1, expires: 2 }), r#"{"sub":"a","exp":2,"iat":1}"#);
        let value: serde_json::Value =
            serde_json::from_str(&payload(r#"{"sub":"a"}"#, Life { issued: 1, expires: 2 })).unwrap();
        assert_eq!(value["iat"], 1);
    }
}
