//! Project Wycheproof's vectors, by the whole way that a token takes. They sign arbitrary bytes and no claims, so an accepted signature shows
//! as the complaint that comes after it: about the claims.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct File {
    #[serde(rename = "numberOfTests")]
    number_of_tests: usize,
    #[serde(rename = "testGroups")]
    groups: Vec<Group>,
}

/// One key, or a set of them; `private` alone where it is symmetric.
#[derive(Deserialize)]
struct Group {
    public: Option<Value>,
    private: Option<Value>,
    tests: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    #[serde(rename = "tcId")]
    id: u32,
    comment: String,
    jws: Value,
    result: String,
}

/// Beside the repository; where that is not there either, in the place that the variable names.
fn vectors(name: &str) -> Option<File> {
    let folder = option_env!("WYCHEPROOF")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/wycheproof"), PathBuf::from);
    let path = folder.join(name);
    let Ok(text) = std::fs::read(&path) else {
        eprintln!("skipped: {} is not there; WYCHEPROOF=folder names another place", path.display());
        return None;
    };
    Some(serde_json::from_slice(&text).unwrap())
}

impl Group {
    fn keys(&self) -> Vec<Value> {
        let key = self.public.as_ref().or(self.private.as_ref()).unwrap();
        key["keys"].as_array().cloned().unwrap_or_else(|| vec![key.clone()])
    }

    fn is(&self, member: &str, value: &str) -> bool {
        self.keys().iter().any(|key| key[member] == value)
    }

    /// The vectors with a signature that is judged here, and the reasons of the others.
    async fn outcomes(&self) -> BTreeMap<u32, &'static str> {
        let verifier = verifier(&self.keys());
        let mut outcomes = BTreeMap::new();
        for vector in &self.tests {
            // some are in JSON serialization, which is not the compact form that headers carry
            let token = vector.jws.as_str().map_or_else(|| vector.jws.to_string(), str::to_owned);
            let outcome = match verifier.verify(&token, now()).await.unwrap_err() {
                Error::Malformed(why) if why.starts_with("its claims") => "accepted",
                other => other.reason(),
            };
            outcomes.insert(vector.id, outcome);
        }
        outcomes
    }
}

#[tokio::test]
async fn the_signature_vectors_of_wycheproof_end_as_they_should_under_our_policy() {
    let Some(file) = vectors("json_web_signature_test.json") else { return };
    let (mut seen, mut refused_though_valid) = (0, Vec::new());
    for group in &file.groups {
        // shared secrets and P-521 are not offered
        let not_offered = group.is("kty", "oct") || group.is("crv", "P-521");
        let outcomes = group.outcomes().await;
        for vector in &group.tests {
            seen += 1;
            let outcome = outcomes[&vector.id];
            let context = format!("{} {}: {outcome}", vector.id, vector.comment);
            match vector.result.as_str() {
                "invalid" => assert_ne!(outcome, "accepted", "{context}"),
                // signed with PS384 on a key with the `alg` PS256: RFC 7517 §4.4 leaves it open, and a key is for one
                // algorithm here if it says so (RFC 8725 §3.1)
                "valid" if [346, 350].contains(&vector.id) => assert_eq!(outcome, "token_algorithm", "{context}"),
                "valid" if not_offered => {
                    assert_ne!(outcome, "accepted", "{context}");
                    refused_though_valid.push(vector.id);
                }
                "valid" => assert_eq!(outcome, "accepted", "{context}"),
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!((file.number_of_tests, seen), (401, 401));
    assert_eq!(refused_though_valid.len(), 12, "HS256 and P-521: {refused_though_valid:?}");
}

#[tokio::test]
async fn the_key_set_vectors_of_wycheproof_end_as_they_should_under_our_policy() {
    let Some(file) = vectors("json_web_key_test.json") else { return };
    let mut seen = 0;
    for group in &file.groups {
        let outcomes = group.outcomes().await;
        for vector in &group.tests {
            seen += 1;
            let outcome = outcomes[&vector.id];
            let context = format!("{} {}: {outcome}", vector.id, vector.comment);
            // shared secrets are not offered, and a modulus with the ROCA fingerprint (7) is not looked for: a provider that
            // publishes such a key is the one to be told
            let accepted = (vector.result == "valid" && !group.is("kty", "oct")) || vector.id == 7;
            assert_eq!(outcome == "accepted", accepted, "{context}");
        }
    }
    assert_eq!((file.number_of_tests, seen), (26, 26));
}
