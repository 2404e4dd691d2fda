//! kill -9 at any moment: nothing that was acknowledged is lost, and the chain holds.
//!
//! 20 rounds here; `CROSSGATE_KILLS` says how many (`bench/soak/kill.sh` asks for 1,000).

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{assert_verified, bed};
use crate::bed::{Running, until};
use crate::issuer::token;
use crate::wire::Wire;

fn rounds() -> u32 {
    std::env::var("CROSSGATE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

/// Every line of every segment, in order.
fn all(folder: &Path) -> Vec<Value> {
    let mut segments: Vec<_> = std::fs::read_dir(folder.join("audit"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .collect();
    // `audit-…` sorts before `audit.`: the active segment is the last.
    segments.sort();
    let text: String = segments.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sends actions on this many connections until told to stop; the ids of those that were answered.
fn load(
    bed: &Running,
    stop: &Arc<AtomicBool>,
    acknowledged: &Arc<Mutex<Vec<String>>>,
) -> Vec<std::thread::JoinHandle<()>> {
    let call = bed.post("/approve/x").bearer(&token("user_ada").sign()).body("{}");
    (0..8)
        .map(|_| {
            let (call, stop, acknowledged) = (call.clone(), Arc::clone(stop), Arc::clone(acknowledged));
            let gate = bed.gate.clone();
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut wire) = Wire::try_connect(&gate) else { continue };
                    while !stop.load(Ordering::Relaxed) && wire.write(&call.bytes()) {
                        let Some(answer) = wire.response("POST") else { break };
                        if answer.status == 200 {
                            let id = answer.header("x-request-id").unwrap().to_owned();
                            acknowledged.lock().unwrap().push(id);
                        }
                    }
                }
            })
        })
        .collect()
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    // Small segments, so that rotation is killed as well.
    let mut bed = bed().section("audit: { rotate: { size: 64KiB, keep: 100000 } }").start();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let (mut slowest, rounds) = (Duration::ZERO, rounds());
    for round in 0..rounds {
        let before = acknowledged.lock().unwrap().len();
        let stop = Arc::new(AtomicBool::new(false));
        let clients = load(&bed, &stop, &acknowledged);
        let enough = 20 + (round as usize * 37) % 180;
        until("the load", || (acknowledged.lock().unwrap().len() >= before + enough).then_some(()));
        bed.process.signal("KILL");
        stop.store(true, Ordering::Relaxed);
        until("the end of the process", || bed.process.has_ended().then_some(()));
        // What a kill leaves is no tampering, and the trail holds again once it was taken over.
        assert_verified(bed.folder());
        let started = Instant::now();
        bed = bed.start_again();
        slowest = slowest.max(started.elapsed());
        for client in clients {
            client.join().unwrap();
        }
        assert_verified(bed.folder());
    }
    let hits: Vec<String> = bed.origin().all().iter().flat_map(|hit| hit.values("x-crossgate-request-id")).collect();
    let folder = bed.folder().to_owned();
    let (_kept, _) = bed.stop_keeping_folder();
    assert_verified(&folder);
    let entries = all(&folder);
    let gaps = entries.iter().enumerate().filter(|(at, entry)| entry["seq"] != *at as u64 + 1).count();
    assert_eq!(gaps, 0);
    let mut attempts: HashMap<&str, usize> = HashMap::new();
    let mut outcomes: HashMap<&str, usize> = HashMap::new();
    let mut requests: HashMap<&str, &str> = HashMap::new();
    for entry in &entries {
        if entry["event"] == "privileged.attempt" {
            let id = entry["id"].as_str().unwrap();
            *attempts.entry(id).or_default() += 1;
            requests.insert(entry["request"]["id"].as_str().unwrap(), id);
        } else if entry["event"] == "privileged.outcome" {
            *outcomes.entry(entry["ref"].as_str().unwrap()).or_default() += 1;
        }
    }
    assert!(attempts.values().all(|count| *count == 1));
    assert_eq!(outcomes, attempts, "one outcome for each attempt");
    let acknowledged = acknowledged.lock().unwrap();
    let lost = acknowledged.iter().filter(|id| !requests.contains_key(id.as_str())).count();
    assert_eq!(lost, 0, "of {} acknowledged actions", acknowledged.len());
    assert!(hits.iter().all(|id| requests.contains_key(id.as_str())), "a hit without an attempt");
    assert!(hits.len() <= attempts.len());
    println!(
        "{rounds} kills, verified before and after each start: {} acknowledged, {} attempts, {} hits, {} entries; \
         {lost} lost, {gaps} gaps; slowest start {slowest:?}",
        acknowledged.len(),
        attempts.len(),
        hits.len(),
        entries.len()
    );
}
