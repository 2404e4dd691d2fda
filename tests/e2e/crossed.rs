//! Two requests with different tokens never share an answer, however many there are and however alike they look.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::bed::Bed;
use super::issuer::token;
use super::origin::Answer;

const PEOPLE: usize = 10_000;
const CONNECTIONS: usize = 64;

/// Each token is sent as soon as it exists, by whichever connection made it, and once more at the end, when the
/// cache holds many of the others.
#[test]
fn ten_thousand_people_at_once() {
    let bed = Bed::new().start();
    bed.origin().answers(|request| {
        let told = [request.values("x-crossgate-subject"), request.values("x-crossgate-session")].concat();
        Answer::text(200, &told.join(" "))
    });
    // Alike in everything that stands in front: header, kid, jti, session prefix, times.
    let alike = token("user_0").claim("jti", json!("jti_same"));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut wire = bed.connect();
                let mut mine = Vec::new();
                let mut ask = |n: usize, token: &str| {
                    let answer = wire.exchange(&bed.get("/me").bearer(token));
                    assert_eq!(answer.status, 200, "{n}: {}", answer.text());
                    assert_eq!(answer.text(), format!("user_{n:06} sess_{n:06}"), "a crossed identity");
                };
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= PEOPLE {
                        break;
                    }
                    let token = alike
                        .clone()
                        .claim("sub", json!(format!("user_{n:06}")))
                        .claim("sid", json!(format!("sess_{n:06}")))
                        .sign();
                    ask(n, &token);
                    mine.push((n, token));
                }
                for (n, token) in mine.iter().rev() {
                    ask(*n, token);
                }
            });
        }
    });
    assert_eq!(bed.origin().count(), 2 * PEOPLE);
    assert_eq!(bed.metric("crossgate_panics_total"), 0.0);
}
