//! Every file of the fuzz targets' corpus, through what the targets do with it. What a fuzzer finds is added there, under `fuzz/corpus/`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
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
