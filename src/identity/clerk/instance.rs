//! The Clerk instances that crossgate trusts, each with its checks and its keys.
//!
//! Made from what the config compiled; read by `judge` and `cookies`. A key belongs to one issuer and is never
//! tried for another: which keys judge a token is told by its `iss` alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::jwks::{KeySet, SetKind};
use super::keys::Keys;
use super::probe::{Issuance, Probe, ProbeSpec};
use super::publishable_key::{InstanceKind, PublishableKey};

/// What the config hands over for each entry of `clerk`.
#[derive(Debug, Clone)]
pub struct InstanceSpec {
    pub name: Arc<str>,
    /// Exactly the `iss` of its tokens.
    pub issuer: Arc<str>,
    /// Without it, cookies have no suffix and the instance counts as production.
    pub publishable_key: Option<PublishableKey>,
    pub keys: KeySource,
    pub checks: Checks,
    pub cookies: CookieRules,
    /// `None`: nobody asks whether it issues tokens.
    pub probe: Option<ProbeSpec>,
}

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    Url(KeyUrl),
    /// From a file or a PEM: read at load, changed only by a reload, never stale.
    Set(KeySet),
}

/// `jwks` with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUrl {
    pub url: String,
    pub refresh: Duration,
    /// How long the last good set is used while it cannot be refreshed.
    pub max_stale: Duration,
    pub privileged_max_stale: Duration,
    /// Also plain `http` and addresses that are not public.
    pub allow_private: bool,
    /// What is looked for in it.
    pub kind: SetKind,
}

/// What is asked of a token beyond its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checks {
    /// Empty: `azp` is not checked.
    pub authorized_parties: Vec<String>,
    pub missing_azp: MissingAzp,
    /// Empty: `aud` is not checked.
    pub audiences: Vec<String>,
    pub clock_skew: Duration,
    pub pending_sessions: PendingSessions,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            authorized_parties: Vec::new(),
            missing_azp: MissingAzp::Deny,
            audiences: Vec::new(),
            clock_skew: Duration::from_secs(5),
            pending_sessions: PendingSessions::Deny,
        }
    }
}

/// `missing_azp`; matters only with `authorized_parties`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingAzp {
    #[default]
    Deny,
    Allow,
}

/// `pending_sessions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PendingSessions {
    #[default]
    Deny,
    Allow,
}

/// `cookies`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieRules {
    pub enabled: bool,
    pub csrf: Csrf,
}

impl Default for CookieRules {
    fn default() -> Self {
        Self { enabled: true, csrf: Csrf::Enforce }
    }
}

/// `cookies.csrf`; enforced by the gate, which knows method and origin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Csrf {
    #[default]
    Enforce,
    Off,
}

/// One trusted instance.
#[derive(Debug)]
pub struct Instance {
    pub name: Arc<str>,
    pub issuer: Arc<str>,
    pub publishable_key: Option<PublishableKey>,
    pub checks: Checks,
    pub cookies: CookieRules,
    pub keys: Arc<Keys>,
    pub probe: Option<Arc<Probe>>,
    pub(super) cookie_names: Option<CookieNames>,
    missing_azp: AtomicU64,
}

/// The suffixed cookies of an instance, spelt out once.
#[derive(Debug)]
pub(super) struct CookieNames {
    pub(super) session: String,
    pub(super) client_uat: String,
}

impl CookieNames {
    fn new(key: &PublishableKey) -> Self {
        let suffix = key.cookie_suffix();
        Self { session: format!("__session_{suffix}"), client_uat: format!("__client_uat_{suffix}") }
    }
}

impl Instance {
    /// Well-signed tokens without `azp` since this configuration serves, allowed or not. A token that the cache
    /// answers is not counted again.
    pub fn missing_azp_count(&self) -> u64 {
        self.missing_azp.load(Ordering::Relaxed)
    }

    pub(super) fn count_missing_azp(&self) {
        self.missing_azp.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether Clerk renews tokens, as the probe sees it; up where there is no probe. No lock.
    pub fn issuance(&self) -> Issuance {
        self.probe.as_ref().map_or(Issuance::Up, |probe| probe.issuance())
    }

    pub(super) fn kind(&self) -> InstanceKind {
        self.publishable_key.as_ref().map_or(InstanceKind::Production, |key| key.kind)
    }
}

/// All instances, told apart by issuer.
#[derive(Debug, Default)]
pub struct Instances(Vec<Arc<Instance>>);

/// Why instances cannot stand beside each other; the numbers count specs from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstancesProblem {
    /// Two with one issuer: which keys and checks hold would depend on order.
    SameIssuer {
        first: usize,
        second: usize,
    },
    SameName {
        first: usize,
        second: usize,
    },
}

impl Instances {
    /// Makes instances; those of `previous` with the same issuer and key source hand on their keys, so that a
    /// reload loses neither a fetched set nor its age.
    ///
    /// # Errors
    /// [`InstancesProblem`], the first one found.
    pub fn new(specs: Vec<InstanceSpec>, previous: Option<&Self>) -> Result<Self, InstancesProblem> {
        let mut instances: Vec<Arc<Instance>> = Vec::with_capacity(specs.len());
        for (second, spec) in specs.into_iter().enumerate() {
            let InstanceSpec { name, issuer, publishable_key, keys, checks, cookies, probe } = spec;
            if let Some(first) = instances.iter().position(|other| other.issuer == issuer) {
                return Err(InstancesProblem::SameIssuer { first, second });
            }
            if let Some(first) = instances.iter().position(|other| other.name == name) {
                return Err(InstancesProblem::SameName { first, second });
            }
            let old = previous.and_then(|old| old.by_issuer(&issuer)).map(|(_, instance)| instance);
            let keys = Keys::adopt(issuer.clone(), keys, old.map(|old| &old.keys));
            let asked = old.and_then(|old| old.probe.as_ref());
            let probe = probe.map(|spec| Probe::adopt(issuer.clone(), spec, asked));
            instances.push(Arc::new(Instance {
                name,
                issuer,
                cookie_names: publishable_key.as_ref().map(CookieNames::new),
                publishable_key,
                checks,
                cookies,
                keys,
                probe,
                missing_azp: AtomicU64::new(0),
            }));
        }
        Ok(Self(instances))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Instance>> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The instance that an identity belongs to (`facts.instance`).
    pub fn named(&self, name: &str) -> Option<&Arc<Instance>> {
        self.0.iter().find(|instance| *instance.name == *name)
    }

    /// Issuers are compared byte for byte: no case, no slash, no prefix.
    pub(in crate::identity) fn by_issuer(&self, issuer: &str) -> Option<(usize, &Arc<Instance>)> {
        self.0.iter().enumerate().find(|(_, instance)| *instance.issuer == *issuer)
    }

    pub(crate) fn at(&self, index: usize) -> Option<&Arc<Instance>> {
        self.0.get(index)
    }

    /// The key set of the instance at `index`.
    pub(crate) fn keys(&self, index: usize) -> Option<&Keys> {
        self.at(index).map(|instance| &*instance.keys)
    }
}

impl<'a> IntoIterator for &'a Instances {
    type Item = &'a Arc<Instance>;
    type IntoIter = std::slice::Iter<'a, Arc<Instance>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
