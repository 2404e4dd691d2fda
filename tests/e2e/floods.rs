//! A flood of made-up tokens costs its sender, and nobody else.

use super::bed::{Bed, until};
use super::issuer::{tampered, token};

#[test]
fn bad_signatures_are_soon_not_even_checked_and_others_do_not_notice() {
    let bed = Bed::new().section("trusted_proxies: [127.0.0.0/8]").start();
    let known = token("user_known").sign();
    let from = |address: &str, bearer: &str| bed.get("/me/x").header("x-forwarded-for", address).bearer(bearer);
    assert_eq!(from("198.51.100.1", &known).send().status, 200);
    let bad = tampered(&token("user_eve").sign(), 2);
    let mut wire = bed.connect();
    let refused = until("the end of the budget", || {
        let answer = (0..20).map(|_| wire.exchange(&from("198.51.100.1", &bad))).last()?;
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.outcome(), "503 overloaded");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(wire.exchange(&from("198.51.100.1", &known)).status, 200, "known tokens go on");
    let fresh = token("user_other").sign();
    assert_eq!(wire.exchange(&from("198.51.100.2", &fresh)).status, 200, "other addresses do not notice");
    assert_eq!(wire.exchange(&from("198.51.100.2", &bad)).outcome(), "401 clerk_invalid");
    let late = token("user_late").sign();
    until("some budget again", || (from("198.51.100.1", &late).send().status == 200).then_some(()));
}
