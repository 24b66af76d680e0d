//! Properties of the parser and of the claim checks, over whatever can be thought up.

use proptest::prelude::*;

use super::*;

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (NOW - 400..NOW + 400).prop_map(Value::from),
        Just(json!(ISSUER)),
        Just(json!("elastauth")),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(".{0,6}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

proptest! {
    #[test]
    fn no_text_that_nobody_signed_is_accepted(text in ".{0,200}") {
        let bench = Bench::new();
        prop_assert!(block(bench.verify(&text)).is_err());
    }

    #[test]
    fn no_three_parts_that_nobody_signed_are_accepted(
        header in json_value(), payload in json_value(), signature in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let bench = Bench::new();
        let mut header = header;
        if let Some(members) = header.as_object_mut() {
            members.insert("alg".into(), json!("ES256"));
        }
        let parts = [base64url(header.to_string()), base64url(payload.to_string()), base64url(signature)];
        prop_assert!(block(bench.verify(&parts.join("."))).is_err());
    }

    #[test]
    fn a_good_token_with_one_character_changed_is_refused(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.=-]") {
        let bench = Bench::new();
        let token = bench.sign(&claims().to_string());
        let at = at.index(token.len());
        let mut forged = token.clone();
        forged.replace_range(at..=at, &to);
        prop_assert!(forged == token || block(bench.verify(&forged)).is_err());
    }

    #[test]
    fn whatever_a_claim_holds_the_outcome_is_a_reason_or_the_identity_that_was_signed(
        name in prop::sample::select(vec!["iss", "aud", "azp", "exp", "nbf", "iat", "sub", "preferred_username", "realm_access", "email"]),
        value in json_value(),
    ) {
        let bench = Bench::new();
        if let Ok(identity) = block(bench.with(name, Some(value.clone()))) {
            prop_assert_eq!(&*identity.owner.issuer, ISSUER);
            let text = |claim: &str| if name == claim { value.as_str().map(str::to_owned) } else { claims()[claim].as_str().map(str::to_owned) };
            prop_assert_eq!(Some(identity.owner.subject.to_string()), text("sub"));
            prop_assert_eq!(Some(identity.username.to_string()), text("preferred_username"));
            prop_assert!(identity.expires + Duration::from_secs(60) > now());
        }
    }

    #[test]
    fn an_object_reads_as_serde_json_reads_it(members in proptest::collection::btree_map(".{0,6}", json_value(), 0..6)) {
        let text = json!(members).to_string();
        let object: StrictObject = serde_json::from_str(&text).unwrap();
        let plain: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(Value::Object(object.members().clone()), plain);
    }
}
