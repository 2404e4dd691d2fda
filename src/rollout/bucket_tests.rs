use std::collections::HashSet;

use aws_lc_rs::digest;
use proptest::prelude::{ProptestConfig, any, proptest};
use serde_json::Value;

use super::{Algorithm, Bucket, Bucketing, Percent};

fn vectors(algorithm: &str) -> Vec<Value> {
    let text = include_str!("../../tests/conformance/buckets/vectors.json");
    let all: Value = serde_json::from_str(text).unwrap();
    let rows = all[algorithm].as_array().unwrap().clone();
    assert_eq!(rows.len(), 33, "{algorithm}");
    rows
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap()
}

fn number(row: &Value, field: &str) -> u64 {
    row[field].as_u64().unwrap()
}

fn ppm(ppm: u32) -> Percent {
    Percent::from_ppm(ppm).unwrap()
}

fn key() -> [u8; 32] {
    std::array::from_fn(|at| u8::try_from(at).unwrap())
}

fn all() -> [Bucketing; 3] {
    [Bucketing::crossgate("auth-clerk", &key()), Bucketing::unleash("auth-clerk"), Bucketing::flagd("auth-clerk")]
}

/// The form without a key, which only vectors use: what is hashed, and in which order the bytes are read.
fn unkeyed(salt: &str, key: &str) -> Bucket {
    let digest = digest::digest(&digest::SHA256, [salt, "\u{1f}", key].concat().as_bytes());
    Bucket::new(Algorithm::Crossgate1, u32::from_be_bytes(digest.as_ref()[..4].try_into().unwrap()))
}

#[test]
fn unleash_buckets_as_unleash_does() {
    for row in vectors("unleash") {
        let bucket = Bucketing::unleash(text(&row, "groupId")).bucket(text(&row, "id"));
        assert_eq!(u64::from(bucket.hash()), number(&row, "murmur3_32"), "{row}");
        let normalized = u32::try_from(number(&row, "normalized")).unwrap();
        assert_eq!(bucket.enrolled_from(), ppm(normalized * 10_000), "{row}");
        for percent in 0..=100 {
            assert_eq!(bucket.is_in(ppm(percent * 10_000)), normalized <= percent, "{row} at {percent} %");
        }
        // Between two whole percents nobody moves.
        assert!(!bucket.is_in(ppm(normalized * 10_000 - 1)), "{row}");
    }
}

#[test]
fn flagd_buckets_as_flagd_does() {
    for row in vectors("flagd_v2") {
        let bucket = Bucketing::flagd(text(&row, "flagKey")).bucket(text(&row, "targetingKey"));
        assert_eq!(u64::from(bucket.hash()), number(&row, "hash"), "{row}");
        let [of_100, of_100k] = ["of_100", "of_100000"].map(|field| u32::try_from(number(&row, field)).unwrap());
        for weight in 0..=100 {
            assert_eq!(bucket.is_in(ppm(weight * 10_000)), of_100 < weight, "{row} at {weight} of 100");
        }
        for weight in [of_100k.saturating_sub(1), of_100k, of_100k + 1] {
            assert_eq!(bucket.is_in(ppm(weight * 10)), of_100k < weight, "{row} at {weight} of 100,000");
        }
        // With the largest total that flagd knows each weight is far below one part per million.
        let least = number(&row, "of_maxint32") * 1_000_000 / 2_147_483_647;
        assert!((least..=least + 1).contains(&u64::from(bucket.enrolled_from().ppm())), "{row}");
    }
}

#[test]
fn crossgate_frames_reads_and_rounds_as_the_vectors_say() {
    for row in vectors("crossgate") {
        let bucket = unkeyed(text(&row, "salt"), text(&row, "key"));
        assert_eq!(u64::from(bucket.hash()), number(&row, "u32"), "{row}");
        assert_eq!(u64::from(bucket.enrolled_from().ppm()), number(&row, "enrolled_at_ppm_min"), "{row}");
    }
}

#[test]
fn crossgate_with_the_key_of_the_vectors() {
    // HMAC-SHA256 under the bytes 00 to 1f: salt, id, hash, smallest ppm.
    let table = [
        ("auth-clerk", "user_2abcDEFghiJKLmnoPQRstuVWXyz", 1_548_035, 361),
        ("auth-clerk", "user_1", 3_010_001_106, 700_821),
        ("auth-clerk", "42", 2_943_642_938, 685_371),
        ("auth-clerk", "org_2ZZtop", 524_624_668, 122_149),
        ("auth-clerk", "ünïcødé", 104_594_449, 24_353),
        ("auth-clerk", "日本語", 83_493_811, 19_440),
        ("x", "user_2abcDEFghiJKLmnoPQRstuVWXyz", 2_822_875_145, 657_252),
        ("x", "user_1", 3_687_344_241, 858_527),
        ("x", "42", 629_332_873, 146_528),
        ("x", "org_2ZZtop", 2_610_694_963, 607_850),
        ("x", "ünïcødé", 3_464_239_933, 806_582),
        ("x", "日本語", 3_266_812_229, 760_614),
    ];
    for (salt, id, hash, from) in table {
        let bucket = Bucketing::crossgate(salt, &key()).bucket(id);
        assert_eq!((bucket.hash(), bucket.enrolled_from().ppm()), (hash, from), "{salt} {id}");
        assert_ne!(bucket, unkeyed(salt, id), "{salt} {id}: who knows the salt alone must not know the bucket");
        assert_ne!(bucket, Bucketing::crossgate(salt, &[0; 32]).bucket(id), "{salt} {id}");
    }
}

#[test]
fn crossgate_thresholds_are_those_of_the_formula() {
    for (percent, threshold) in [
        (0, 0),
        (1, 4_294),
        (100, 429_496),
        (250_000, 1_073_741_824),
        (999_999, 4_294_963_001),
        (1_000_000, 4_294_967_296_u64),
    ] {
        assert_eq!((u64::from(percent) << 32) / 1_000_000, threshold);
        for hash in
            [threshold.checked_sub(1), Some(threshold), Some(0), Some(u64::from(u32::MAX))].into_iter().flatten()
        {
            let Ok(short) = u32::try_from(hash) else { continue };
            let bucket = Bucket::new(Algorithm::Crossgate1, short);
            assert_eq!(bucket.is_in(ppm(percent)), hash < threshold, "{hash} at {percent} ppm");
        }
    }
}

#[test]
fn nobody_at_0_and_everybody_at_100() {
    for algorithm in Algorithm::ALL {
        for hash in [0, 1, 99, 100, (1 << 31) - 1, 1 << 31, u32::MAX - 1, u32::MAX] {
            let bucket = Bucket::new(algorithm, hash);
            assert!(!bucket.is_in(Percent::ZERO), "{algorithm:?} {hash}");
            assert!(bucket.is_in(Percent::ALL), "{algorithm:?} {hash}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    /// The published formulas, said again and independently of the threshold that a bucket holds.
    #[test]
    fn is_in_is_the_formula(hash: u32, percent in 0..=1_000_000_u32) {
        let (wide, share) = (u64::from(hash), u64::from(percent));
        let is_in = |algorithm| Bucket::new(algorithm, hash).is_in(ppm(percent));
        assert_eq!(is_in(Algorithm::Crossgate1), wide < (share << 32) / 1_000_000);
        assert_eq!(is_in(Algorithm::Unleash), wide % 100 < share / 10_000);
        assert_eq!(is_in(Algorithm::Flagd2), (wide * 1_000_000) >> 32 < share);
    }

    #[test]
    fn the_sets_are_nested(id in any::<String>(), p in 0..=1_000_000_u32, q in 0..=1_000_000_u32) {
        let (p, q) = (ppm(p.min(q)), ppm(p.max(q)));
        for bucketing in all() {
            assert!(bucketing.is_in(&id, q) || !bucketing.is_in(&id, p), "{bucketing:?} {id:?} {p} {q}");
        }
    }
}

#[test]
fn the_share_is_the_percentage() {
    let ids: Vec<String> = (0..100_000).map(|n| format!("user_{n}")).collect();
    for bucketing in all() {
        let buckets: Vec<Bucket> = ids.iter().map(|id| bucketing.bucket(id)).collect();
        for percent in [1, 10, 25, 50, 75, 90, 99_u32] {
            let inside = buckets.iter().filter(|bucket| bucket.is_in(ppm(percent * 10_000))).count();
            let off = i64::try_from(inside).unwrap() - i64::from(percent) * 1_000;
            assert!(off.abs() < 1_000, "{bucketing:?}: {inside} of 100,000 at {percent} %");
        }
    }
}

/// Of what one algorithm enrols at 50 %, another enrols about half: a change re-deals, also one of key or salt alone.
#[test]
fn another_key_salt_or_algorithm_deals_anew() {
    let half = ppm(500_000);
    let enrolled = |bucketing: &Bucketing| -> HashSet<u32> {
        (0..20_000).filter(|n| bucketing.is_in(&format!("user_{n}"), half)).collect()
    };
    let ours = enrolled(&Bucketing::crossgate("auth-clerk", &key()));
    for other in [
        Bucketing::crossgate("auth-clerk", &[0; 32]),
        Bucketing::crossgate("auth-clerl", &key()),
        Bucketing::unleash("auth-clerk"),
        Bucketing::flagd("auth-clerk"),
    ] {
        let common = enrolled(&other).intersection(&ours).count();
        assert!((4_500..=5_500).contains(&common), "{other:?}: {common} of 10,000 in common");
    }
    let unkeyed = (0..20_000).filter(|n| unkeyed("auth-clerk", &format!("user_{n}")).is_in(half));
    let common = unkeyed.filter(|n| ours.contains(n)).count();
    assert!((4_500..=5_500).contains(&common), "unkeyed: {common} of 10,000 in common");
}

#[test]
fn salt_and_id_do_not_run_into_each_other() {
    assert_ne!(Bucketing::crossgate("ab", &key()).bucket("c"), Bucketing::crossgate("a", &key()).bucket("bc"));
}

#[test]
fn names_are_those_of_the_config_and_nothing_secret_is_printed() {
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::named(algorithm.as_str()), Some(algorithm));
    }
    for name in ["", "crossgate", "Crossgate-1", "flagd", "flagd-1", "growthbook-2", "launchdarkly"] {
        assert_eq!(Algorithm::named(name), None, "{name:?}");
    }
    assert_eq!(format!("{:?}", Bucketing::crossgate("salt", &key())), "Bucketing(Crossgate1)");
    assert_eq!(
        Bucketing::unleash("auth-clerk").bucket("user_1").to_string(),
        "unleash bucket 2239370162, clerk from 63 %"
    );
}
