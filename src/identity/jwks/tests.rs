use serde_json::json;

use super::*;
use crate::identity::testing::{Signer, base64url, key_set};

const ALL: &[Algorithm] = &[Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];

/// A real modulus of 1024 bits.
const SHORT: &str = "uZbCBaVyK6IkUFlIj_AuOYZuEUmu0TLI-_JY7OnrOCaaTjYasGnif5Qi4z1-MsSevVo3E0nra9a6KPDpudHRBt0pYbxh87D9qv5D3M8zmMJFzWfpAxW7QPImLGewjqBz8ehJFpj8nGDlu7txxC9sgUQK047wqoPxaefRshTbXOk";

fn with(algorithm: Algorithm, member: &str, value: Value) -> Value {
    let mut jwk = Signer::for_algorithm(algorithm).jwk(Some("k"));
    jwk[member] = value;
    jwk
}

#[test]
fn a_key_verifies_what_type_curve_alg_and_configuration_permit() {
    use Algorithm::{ES256, ES384, EdDSA, PS256, RS256};
    let verifies = |jwk: Value, allowed: &[Algorithm]| -> Vec<Algorithm> {
        let parsed = parse(&key_set(&[jwk]), allowed).unwrap();
        let everything = [ALL, &[Algorithm::RS512, Algorithm::HS256]].concat();
        everything.into_iter().filter(|a| parsed.keys.iter().any(|key| key.verifies(*a))).collect()
    };
    for (jwk, expected) in [
        (with(RS256, "use", json!("sig")), &[RS256, PS256][..]),
        (with(RS256, "alg", json!("PS256")), &[PS256]),
        (with(RS256, "key_ops", json!(["sign", "verify"])), &[RS256, PS256]),
        (with(ES256, "x5c", json!(["ignored"])), &[ES256]),
        (with(ES384, "alg", json!("ES384")), &[ES384]),
        (with(EdDSA, "alg", json!("Ed25519")), &[EdDSA]),
        (with(EdDSA, "alg", json!("EdDSA")), &[EdDSA]),
    ] {
        assert_eq!(verifies(jwk.clone(), ALL), expected, "{jwk}");
    }
    assert_eq!(verifies(with(RS256, "use", json!("sig")), &[PS256]), [PS256]);
}

#[test]
fn keys_for_another_purpose_are_left_out_in_silence() {
    let foreign = [
        with(Algorithm::RS256, "use", json!("enc")),
        with(Algorithm::RS256, "key_ops", json!(["encrypt", "wrapKey"])),
        with(Algorithm::RS256, "key_ops", json!([])),
        with(Algorithm::RS256, "alg", json!("RSA-OAEP")),
        with(Algorithm::RS256, "alg", json!("HS256")),
        with(Algorithm::ES256, "alg", json!("RS256")),
        with(Algorithm::ES256, "crv", json!("P-521")),
        with(Algorithm::ES256, "crv", json!("secp256k1")),
        with(Algorithm::EdDSA, "crv", json!("Ed448")),
        with(Algorithm::EdDSA, "kty", json!("future")),
        json!({"kty": "oct", "k": base64url([7; 32]), "alg": "HS256"}),
        // without saying what it is for
        json!({"kty": "oct", "k": base64url([7; 32]), "x": base64url([7; 32])}),
    ];
    for jwk in foreign {
        let parsed = parse(&key_set(std::slice::from_ref(&jwk)), ALL).unwrap();
        assert!(parsed.keys.is_empty() && parsed.bad.is_empty(), "{jwk}");
    }
}

#[test]
fn a_bad_key_is_skipped_alone_and_counted() {
    let bad = [
        with(Algorithm::RS256, "n", json!(SHORT)),
        with(Algorithm::RS256, "n", json!(base64url([0xff; 1025]))),
        with(Algorithm::RS256, "n", json!("")),
        with(Algorithm::RS256, "n", json!("a+b/")),
        with(Algorithm::RS256, "n", json!(null)),
        with(Algorithm::RS256, "e", json!(base64url([1]))),
        with(Algorithm::RS256, "e", json!(base64url([2]))),
        with(Algorithm::RS256, "e", json!(base64url([0xff; 6]))),
        with(Algorithm::ES256, "x", json!(base64url([1; 31]))),
        with(Algorithm::ES256, "crv", json!("P-384")),
        with(Algorithm::EdDSA, "x", json!(base64url([1; 33]))),
        with(Algorithm::ES256, "kid", json!(5)),
        json!("not an object"),
    ];
    let good = Signer::for_algorithm(Algorithm::ES256).jwk(Some("good"));
    for jwk in &bad {
        let parsed = parse(&key_set(&[jwk.clone(), good.clone()]), ALL).unwrap();
        assert_eq!(parsed.keys.iter().map(|key| key.id().unwrap()).collect::<Vec<_>>(), ["good"], "{jwk}");
        assert_eq!(parsed.bad.len(), 1, "{jwk}");
    }
}

#[test]
fn a_zero_byte_before_the_modulus_is_tolerated() {
    let mut jwk = Signer::for_algorithm(Algorithm::RS256).jwk(None);
    let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    jwk["n"] = json!(base64url([&[0], &n[..]].concat()));
    let parsed = parse(&key_set(&[jwk]), ALL).unwrap();
    let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n: read, .. } = parsed.keys[0].decoding().kind() else {
        panic!("not RSA");
    };
    assert_eq!(read, &n);
}

#[test]
fn another_document_is_refused_as_a_whole() {
    for document in ["", "[]", "{}", "{\"keys\":{}}", "<html>"] {
        assert!(parse(document.as_bytes(), ALL).is_err(), "{document}");
    }
}

#[test]
fn a_key_id_that_stands_for_two_keys_stands_for_none() {
    let (a, b) = (Signer::for_algorithm(Algorithm::ES256), Signer::for_algorithm(Algorithm::ES256));
    let rsa = Signer::for_algorithm(Algorithm::RS256);
    let ids = |keys: &[Value]| {
        let parsed = parse(&key_set(keys), ALL).unwrap();
        (parsed.keys.iter().map(|key| key.id().unwrap_or("-").to_owned()).collect::<Vec<_>>(), parsed.bad.len())
    };
    assert_eq!(ids(&[a.jwk(Some("k")), b.jwk(Some("k")), b.jwk(Some("l"))]), (vec!["l".to_owned()], 2));
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&[a.jwk(Some("k")), a.jwk(Some("k"))]), (owned(&["k", "k"]), 0), "the same key twice");
    assert_eq!(ids(&[a.jwk(Some("k")), rsa.jwk(Some("k"))]), (owned(&["k", "k"]), 0), "RFC 7517 §4.5: other types");
    assert_eq!(ids(&[a.jwk(None), b.jwk(None)]), (owned(&["-", "-"]), 0), "no id names them");
}
