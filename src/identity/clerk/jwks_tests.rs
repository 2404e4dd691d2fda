use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::testing::{KID, OTHER, OURS};
use super::{KeySet, KeySetProblem, MAX_SET_BYTES};

fn parse(keys: &[Value]) -> Result<KeySet, KeySetProblem> {
    KeySet::parse_jwks(json!({ "keys": keys }).to_string().as_bytes())
}

/// Our key with these members on top; `null` takes one away.
fn ours(changes: Value) -> Value {
    let mut key = OURS.jwk(KID);
    let Value::Object(changes) = changes else { panic!("an object") };
    for (name, value) in changes {
        match value {
            Value::Null => drop(key.as_object_mut().unwrap().remove(&name)),
            value => key[name] = value,
        }
    }
    key
}

fn number(bytes: &[u8]) -> Value {
    Value::from(URL_SAFE_NO_PAD.encode(bytes))
}

/// A number of this many bits, odd unless told otherwise.
fn bits(bits: usize, last: u8) -> Value {
    let mut bytes = vec![0xff; bits.div_ceil(8)];
    bytes[0] = 0xff >> ((8 - bits % 8) % 8);
    *bytes.last_mut().unwrap() = last;
    number(&bytes)
}

#[test]
fn what_is_read() {
    let table = [
        ("as Clerk writes it", ours(json!({}))),
        ("no alg", ours(json!({"alg": null}))),
        ("no use", ours(json!({"use": null}))),
        ("may verify", ours(json!({"key_ops": ["verify"]}))),
        ("certificates are not looked at", ours(json!({"x5c": ["junk"], "x5u": "http://169.254.169.254/"}))),
        ("8192 bits", ours(json!({"n": bits(8192, 0xff)}))),
    ];
    for (name, key) in table {
        let set = parse(&[key]).unwrap();
        assert_eq!((set.len(), set.leaked), (1, false), "{name}");
    }
    let leaked = parse(&[ours(json!({"d": "AQ"}))]).unwrap();
    assert!(leaked.leaked, "a published private part is an alarm, not an outage");
    let others = [json!({"kty": "EC", "crv": "P-256"}), json!({"kty": "oct", "k": "AA", "kid": KID}), OURS.jwk(KID)];
    assert_eq!(parse(&others).unwrap().kids().collect::<Vec<_>>(), [KID]);
}

#[test]
fn hostile_sets_are_refused_whole() {
    use KeySetProblem::*;
    let good = OTHER.jwk("good");
    let (modulus, _) = OURS.numbers();
    let zero_first = [[0].as_slice(), &modulus].concat();
    let at = 1;
    let table = [
        ("duplicate kid", ours(json!({"kid": "good"})), DuplicateKid { at }),
        ("no kid", ours(json!({"kid": null})), MissingKid { at }),
        ("empty kid", ours(json!({"kid": ""})), MissingKid { at }),
        ("kid with line", ours(json!({"kid": "a\nb"})), MissingKid { at }),
        ("for encryption", ours(json!({"use": "enc"})), WrongPurpose { at }),
        ("use is a list", ours(json!({"use": ["sig"]})), WrongPurpose { at }),
        ("may only sign", ours(json!({"key_ops": ["sign"]})), WrongPurpose { at }),
        ("may do nothing", ours(json!({"key_ops": []})), WrongPurpose { at }),
        ("RS512", ours(json!({"alg": "RS512"})), WrongPurpose { at }),
        ("alg none", ours(json!({"alg": "none"})), WrongPurpose { at }),
        ("1024 bits", ours(json!({"n": bits(1024, 0xff)})), ModulusSize { at, bits: 1024 }),
        ("2047 bits", ours(json!({"n": bits(2047, 0xff)})), ModulusSize { at, bits: 2047 }),
        ("16384 bits", ours(json!({"n": bits(16_384, 0xff)})), ModulusSize { at, bits: 16_384 }),
        ("even n", ours(json!({"n": bits(2048, 0xfe)})), Even { at }),
        ("leading zero", ours(json!({"n": number(&zero_first)})), BadNumber { at }),
        ("padded n", ours(json!({"n": "AQ=="})), BadNumber { at }),
        ("n is a number", ours(json!({"n": 1})), BadNumber { at }),
        ("no n", ours(json!({"n": null})), BadNumber { at }),
        ("empty n", ours(json!({"n": ""})), BadNumber { at }),
        ("e = 1", ours(json!({"e": "AQ"})), ExponentSize { at }),
        ("e = 3", ours(json!({"e": "Aw"})), ExponentSize { at }),
        ("even e", ours(json!({"e": "AQAC"})), Even { at }),
        ("e of 34 bits", ours(json!({"e": number(&[3, 0xff, 0xff, 0xff, 0xff])})), ExponentSize { at }),
        ("e of 9 bytes", ours(json!({"e": number(&[1; 9])})), ExponentSize { at }),
        ("no kty", ours(json!({"kty": null})), Malformed),
        ("no object", json!("key"), Malformed),
    ];
    for (name, key, expected) in table {
        assert_eq!(parse(&[good.clone(), key]).unwrap_err(), expected, "{name}");
    }
}

#[test]
fn what_is_no_key_set() {
    let many: Vec<Value> = (0..101).map(|n| OURS.jwk(&format!("k{n}"))).collect();
    let set = json!({"keys": [OURS.jwk(KID)]}).to_string();
    let table = [
        ("nothing", String::new(), KeySetProblem::Malformed),
        ("HTML", "<html></html>".to_owned(), KeySetProblem::Malformed),
        ("a list", "[]".to_owned(), KeySetProblem::Malformed),
        ("no keys", "{}".to_owned(), KeySetProblem::Malformed),
        ("keys twice", format!("{},\"keys\":[]}}", &set[..set.len() - 1]), KeySetProblem::Malformed),
        ("keys no list", r#"{"keys":{}}"#.to_owned(), KeySetProblem::Malformed),
        ("empty list", r#"{"keys":[]}"#.to_owned(), KeySetProblem::Empty),
        ("no RSA", r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#.to_owned(), KeySetProblem::Empty),
        ("many", json!({ "keys": many }).to_string(), KeySetProblem::TooManyKeys),
        ("large", format!("{set}{}", " ".repeat(MAX_SET_BYTES)), KeySetProblem::TooLarge),
        ("trailing", format!("{set}x"), KeySetProblem::Malformed),
    ];
    for (name, text, expected) in table {
        assert_eq!(KeySet::parse_jwks(text.as_bytes()).unwrap_err(), expected, "{name}");
    }
}

#[test]
fn pem() {
    let text = OURS.pem();
    let set = KeySet::from_pem(&text).unwrap();
    assert!(set.find(None).is_some() && set.find(Some("any")).is_some() && set.kids().next().is_none());
    assert!(KeySet::from_pem(&text.replace('\n', "\r\n")).is_ok());
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let cut = text.replacen(&body[10..14], "", 1);
    let table = [
        ("nothing", String::new()),
        ("no armour", body),
        ("cut", cut),
        ("two keys", format!("{text}{}", OTHER.pem())),
        ("private", text.replace("PUBLIC", "PRIVATE")),
        ("text in front", format!("key: {text}")),
        ("not base64", text.replacen("MII", "M!I", 1)),
    ];
    for (name, text) in table {
        assert_eq!(KeySet::from_pem(&text).unwrap_err(), KeySetProblem::BadPem, "{name}");
    }
}

/// Every byte of the DER changed, one at a time: an error or a key, never a panic.
#[test]
fn der_never_panics() {
    use base64::engine::general_purpose::STANDARD;
    let text = OURS.pem();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(body).unwrap();
    for at in 0..der.len() {
        for value in [0, 1, 0x7f, 0x80, 0x84, 0xff] {
            let mut changed = der.clone();
            changed[at] = value;
            let text = format!("-----BEGIN PUBLIC KEY-----{}-----END PUBLIC KEY-----", STANDARD.encode(&changed));
            drop(KeySet::from_pem(&text));
            drop(KeySet::from_pem(&text.replacen(&STANDARD.encode(&changed), &STANDARD.encode(&changed[..at]), 1)));
        }
    }
}
