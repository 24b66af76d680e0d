//! The client and the purpose that a token was made for.

use super::*;

fn accepts(parties: &[&str], signer: &Signer) -> Verifier<Provider> {
    let provider = Provider::new([Ok(key_set(&[signer.jwk(Some("k"))]))]);
    let mut verifier = verifier_over(provider, &algorithm::ALL);
    verifier.rules.authorized_parties = parties.iter().map(|party| (*party).to_owned()).collect();
    verifier
}

#[tokio::test]
async fn the_client_that_asked_for_a_token_of_several_audiences_must_be_ours() {
    let (one, others) = (json!("elastauth"), json!(["elastauth", "account"]));
    let cases: [(&[&str], &Value, Value, Option<&str>); 15] = [
        (&[], &one, json!({}), None),
        (&[], &one, json!({"azp": "proxy"}), None),
        (&[], &json!(["kibana", "elastauth"]), json!({"azp": "proxy"}), None),
        (&[], &others, json!({"azp": "elastauth"}), None),
        (&[], &others, json!({"azp": "kibana"}), None),
        (&[], &others, json!({"client_id": "kibana"}), None),
        (&[], &others, json!({}), Some("token_authorized_party")),
        (&[], &others, json!({"azp": "account"}), Some("token_authorized_party")),
        (&[], &others, json!({"azp": ["elastauth"]}), Some("token_authorized_party")),
        (&[], &others, json!({"azp": "account", "client_id": "kibana"}), Some("token_authorized_party")),
        (&["proxy"], &others, json!({"azp": "proxy"}), None),
        (&["proxy"], &one, json!({"azp": "proxy"}), None),
        (&["proxy"], &one, json!({}), Some("token_authorized_party")),
        (&["proxy"], &one, json!({"azp": "elastauth"}), Some("token_authorized_party")),
        (&["proxy"], &json!("other"), json!({"azp": "proxy"}), Some("token_audience")),
    ];
    let signer = Signer::for_algorithm(Algorithm::ES256);
    for (parties, audience, more, reason) in cases {
        let mut claims = claims();
        claims["aud"] = audience.clone();
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let token = signer.sign(Algorithm::ES256, &header(Algorithm::ES256), &claims.to_string());
        let outcome = accepts(parties, &signer).verify(&token, now()).await.err().map(|error| error.reason());
        assert_eq!(outcome, reason, "{parties:?} {audience} {more}");
    }
}

#[tokio::test]
async fn tokens_for_another_purpose_are_refused_although_the_same_keys_sign_them() {
    let bench = Bench::new();
    let logout = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    for (claim, value, reason) in [
        ("events", logout, "token_kind"),
        ("events", json!(null), "token_kind"),
        ("typ", json!("Logout"), "token_kind"),
        ("typ", json!("Refresh"), "token_kind"),
        ("typ", json!("Offline"), "token_kind"),
        ("token_use", json!("refresh_token"), "token_kind"),
        ("cnf", json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}), "token_bound"),
        ("cnf", json!({}), "token_bound"),
    ] {
        assert_eq!(bench.with(claim, Some(value.clone())).await, Err(reason), "{claim} {value}");
    }
    for kind in ["Bearer", "ID"] {
        assert!(bench.with("typ", Some(json!(kind))).await.is_ok(), "{kind}");
    }
    let header = json!({"alg": "ES256", "kid": "k", "typ": "logout+jwt"}).to_string();
    let token = bench.signer.sign(Algorithm::ES256, &header, &claims().to_string());
    assert_eq!(bench.verify(&token).await, Err("token_kind"));
}

#[tokio::test]
async fn a_token_within_a_token_is_not_opened() {
    let bench = Bench::new();
    let inner = bench.sign(&claims().to_string());
    let header = json!({"alg": "ES256", "kid": "k", "cty": "JWT"}).to_string();
    let nested = bench.signer.sign(Algorithm::ES256, &header, &inner);
    assert_eq!(bench.verify(&nested).await, Err("token_malformed"));
    // nor without the header that says so
    assert_eq!(bench.verify(&bench.sign(&inner)).await, Err("token_malformed"));
    assert_eq!(bench.verify(&bench.sign(&json!(inner).to_string())).await, Err("token_malformed"));
}
