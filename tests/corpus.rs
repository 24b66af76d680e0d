//! Runs the assertions of the fuzz targets with every file of their corpus. Inputs that a fuzzer finds are added there, under
//! `fuzz/corpus/`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
#[expect(dead_code, reason = "some parts are for tests/encodings.rs")]
mod targets;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn no_token_of_the_corpus_is_accepted() {
    let corpus = corpus("token");
    assert!(corpus.len() >= 20);
    for (path, data) in corpus {
        eprintln!("{}", path.display());
        targets::token(&data);
    }
}

#[test]
fn signed_claims_of_the_corpus_end_in_a_reason_or_in_whom_they_name() {
    let corpus = corpus("claims");
    assert!(corpus.len() >= 15);
    let mut accepted = Vec::new();
    for (path, data) in corpus {
        eprintln!("{}", path.display());
        if targets::claims(&data) {
            accepted.push(path.file_name().unwrap().to_owned());
        }
    }
    accepted.sort();
    assert_eq!(accepted, ["azp", "float_times", "good"]);
}

#[test]
fn checks_of_the_corpus_end_in_a_reply_that_keeps_the_rules() {
    let corpus = corpus("check");
    assert!(corpus.len() >= 30);
    let mut passed = std::collections::BTreeMap::new();
    for (path, data) in corpus {
        eprintln!("{}", path.display());
        let users = targets::check::check(&data);
        if users.iter().any(Option::is_some) {
            passed.insert(path.file_name().unwrap().to_string_lossy().into_owned(), users);
        }
    }
    let names: Vec<_> = passed.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "a92",
            "connect",
            "es_headers_joined",
            "es_headers_raw",
            "good_joined",
            "good_raw",
            // names of built-in users are refused by the back end, and the one of the fuzz targets accepts every name
            "reserved_joined",
            "reserved_raw",
            "unknown_field",
            "upper_case_joined",
            "upper_case_raw"
        ]
    );
}
