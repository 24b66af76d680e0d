//! `docs/configuration.md` holds what `elastauth keys` prints, and texts name keys that exist.

use std::collections::BTreeSet;
use std::path::PathBuf;

use elastauth_support::files;

use super::*;
use crate::config::keys;

#[test]
fn the_page_is_what_the_command_prints() {
    let page = include_str!("../../../docs/configuration.md");
    assert!(page == reference(), "docs/configuration.md: put in what `elastauth keys` prints");
}

#[test]
fn no_path_stands_twice() {
    let mut paths: Vec<_> = keys::all().map(|key| key.path).collect();
    let all = paths.len();
    paths.sort_unstable();
    paths.dedup();
    assert_eq!(paths.len(), all);
    assert!(keys::REMOVED.iter().all(|removed| keys::named(removed.path).is_none()));
}

/// Texts in quotes or backticks, which may name keys: of a source file without its tests, or of a page.
fn texts(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    if path.extension().is_some_and(|extension| extension == "md") {
        return vec![text.to_owned()];
    }
    let (comments, code): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.trim_start().starts_with("//"));
    let code = code.join("\n").replace("'\"'", "").replace("\\\"", "");
    let literals = code.split('"').skip(1).step_by(2).map(str::to_owned);
    let comments = comments.join("\n");
    literals.chain(comments.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// What looks like a key in a text: a section's name, a dot and names, and the character after them.
fn mentions(text: &str) -> Vec<(String, char)> {
    let sections: BTreeSet<&str> =
        keys::all().filter_map(|key| key.path.split_once('.')).map(|(name, _)| name).collect();
    let mut found = Vec::new();
    for section in sections {
        for (at, _) in text.match_indices(&format!("{section}.")) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || "_.$/-".contains(c)) {
                continue;
            }
            let rest = &text[at..];
            let end = rest.find(|c: char| !(c.is_ascii_lowercase() || "_.".contains(c))).unwrap_or(rest.len());
            let path = rest[..end].trim_end_matches('.');
            if path.contains('.') {
                found.push((path.to_owned(), rest[path.len()..].chars().next().unwrap_or(' ')));
            }
        }
    }
    found
}

/// Keys are typed where they are read; texts can only be compared. Only the table of removed keys names one of those.
#[test]
fn every_key_that_an_error_or_a_comment_names_is_one() {
    let mut all = files::below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let tests = |path: &PathBuf| path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
    all.retain(|path| !tests(&path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned()));
    let mut seen = 0;
    for path in
        all.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs" || extension == "md"))
    {
        for (named, next) in texts(path).iter().flat_map(|text| mentions(text)) {
            seen += 1;
            let removed = path.ends_with("config/keys/removed.rs") && keys::REMOVED.iter().any(|key| key.path == named);
            let section = keys::all().any(|key| key.path.starts_with(&format!("{named}.")));
            let several = "*…{".contains(next) && keys::all().any(|key| key.path.starts_with(&named));
            let whole = keys::named(&named).is_some();
            let page = Path::new(&named).extension().is_some_and(|extension| extension == "md");
            assert!(whole || removed || section || several || page, "{}: {named} is no key", path.display());
        }
    }
    assert!(seen > 200, "texts were found: {seen}");
}

/// `tests/docs` loads every one of them.
#[test]
fn each_chapter_of_the_page_has_an_example() {
    assert!(keys::SECTIONS.iter().all(|section| section.text.contains("```yaml,config")));
}
