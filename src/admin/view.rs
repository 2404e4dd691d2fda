//! `GET /v1/snapshot`: what serves now, for people and scripts. No secret is in a snapshot's view.

use serde_json::{Value, json};

use crate::clock::Now;
use crate::identity::clerk::Issuance;
use crate::identity::legacy::LegacyVerifier;
use crate::issuer::KeyFolder;
use crate::snapshot::Snapshot;

pub(super) fn snapshot(snapshot: &Snapshot, now: Now) -> Value {
    let routes: Vec<Value> = snapshot
        .routes
        .iter()
        .map(|route| {
            json!({
                "id": &*route.id,
                "access": route.access.as_str(),
                "mode": route.mode.as_str(),
                "path": route.pattern.as_str(),
                "methods": route.methods.iter().map(http::Method::as_str).collect::<Vec<_>>(),
                "host": route.host.as_ref().map(ToString::to_string),
                "upstream": snapshot.upstreams.get(route.upstream).map(|upstream| &*upstream.name),
                "place": route.place.to_string(),
            })
        })
        .collect();
    let issuers: Vec<Value> = snapshot
        .instances
        .iter()
        .map(|instance| {
            let stats = instance.keys.stats(now);
            json!({
                "name": &*instance.name,
                "issuer": &*instance.issuer,
                "kids": stats.kids,
                "age_seconds": stats.age.map(|age| age.as_secs()),
                "health": stats.health.as_str(),
                "issuance": instance.probe.as_ref().map(|probe| match probe.issuance() {
                    Issuance::Up => "up",
                    Issuance::Down => "down",
                }),
            })
        })
        .collect();
    json!({
        "snapshot": &*snapshot.id,
        "version": env!("CARGO_PKG_VERSION"),
        "routes": routes,
        "issuers": issuers,
        "legacy": snapshot.legacy.as_ref().map(|legacy| legacy_side(legacy, now)),
        "assertion": signing_keys(&snapshot.key_folders(), "identity.assertion.keys_dir", now),
        "runner": signing_keys(&snapshot.key_folders(), "runner.keys_dir", now),
        "upstreams": snapshot.upstreams.iter().map(|upstream| &*upstream.name).collect::<Vec<_>>(),
        "files": snapshot.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>(),
    })
}

/// `null` where nothing is signed with such keys.
fn signing_keys(folders: &[KeyFolder], key: &str, now: Now) -> Value {
    let Some(folder) = folders.iter().find(|folder| folder.key == key) else { return Value::Null };
    let keys = folder.ring.stages(folder.schedule, now);
    let keys = keys.iter().map(|(key, stage)| {
        json!({ "kid": &**key.kid(), "algorithm": key.algorithm().as_str(), "created": key.created(), "stage": stage.as_str() })
    });
    json!({ "keys": keys.collect::<Vec<_>>() })
}

fn legacy_side(legacy: &LegacyVerifier, now: Now) -> Value {
    let keys = legacy.keys().map(|keys| {
        let stats = keys.stats(now);
        json!({
            "issuer": &**keys.issuer(),
            "kids": stats.kids,
            "age_seconds": stats.age.map(|age| age.as_secs()),
            "health": stats.health.as_str(),
        })
    });
    let asked = legacy
        .ask_stats(now)
        .map(|stats| json!({ "answered": stats.answered, "failed": stats.failed, "broken": stats.broken }));
    json!({ "keys": keys, "asked": asked })
}
