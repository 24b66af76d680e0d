//! `docs/configuration.md` holds what `elastauth keys` prints, and its examples load.

use std::collections::BTreeSet;
use std::path::PathBuf;

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

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Keys are typed where they are read; texts can only be compared.
#[test]
fn every_key_that_an_error_or_a_comment_names_is_one() {
    let mut all = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let tests = |path: &PathBuf| path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
    all.retain(|path| !tests(&path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned()));
    let mut seen = 0;
    for path in
        all.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs" || extension == "md"))
    {
        for (named, next) in texts(path).iter().flat_map(|text| mentions(text)) {
            seen += 1;
            let whole = keys::named(&named).is_some() || keys::REMOVED.iter().any(|removed| removed.path == named);
            let section = keys::all().any(|key| key.path.starts_with(&format!("{named}.")));
            let several = "*…{".contains(next) && keys::all().any(|key| key.path.starts_with(&named));
            assert!(whole || section || several, "{}: {named} is no key", path.display());
        }
    }
    assert!(seen > 200, "texts were found: {seen}");
}

/// The code blocks of the page with their language, each with the line on which it begins.
fn blocks(page: &str) -> Vec<(usize, &str, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, &str, String)> = None;
    for (number, line) in page.lines().enumerate() {
        open = match (open, line.strip_prefix("```")) {
            (None, Some(language)) => Some((number + 1, language, String::new())),
            (Some(block), Some(_)) => {
                blocks.push(block);
                None
            }
            (Some((at, language, text)), None) => Some((at, language, text + line + "\n")),
            (None, None) => None,
        };
    }
    assert!(open.is_none(), "a block without its end");
    blocks
}

/// What a fragment is merged over: a section that the fragment has is taken from there, but for what a configuration needs.
fn complete(fragment: &str) -> String {
    let issuer = "  issuer: https://id.example.com\n  client_id: elastauth\n";
    let cluster = "  hosts: [https://es:9200]\n  username: elastauth\n  password: changeme\n";
    let mut text = fragment.to_owned();
    for (section, needed, decisive) in [("oidc", issuer, "issuer:"), ("elasticsearch", cluster, "username:")] {
        let heading = format!("{section}:\n");
        let Some(at) = fragment.lines().position(|line| line == format!("{section}:")) else {
            text.push_str(&format!("{heading}{needed}"));
            continue;
        };
        let own: Vec<&str> =
            fragment.lines().skip(at + 1).take_while(|line| line.starts_with([' ', '-', '#'])).collect();
        let has = |key: &str| own.iter().any(|line| line.trim_start_matches([' ', '-']).starts_with(key));
        if has(decisive) || has("api_key:") || has("bearer_token:") {
            continue;
        }
        let missing: String = needed
            .split_inclusive('\n')
            .filter(|line| !has(line.trim_start().split_inclusive(':').next().unwrap()))
            .filter(|line| !(has("cloud_id:") && line.contains("hosts:")))
            .collect();
        text = text.replacen(&heading, &format!("{heading}{missing}"), 1);
    }
    text
}

#[test]
fn every_example_of_the_page_loads() {
    let folder = tempfile::tempdir().unwrap();
    let page = reference();
    let mut loaded = 0;
    for (line, language, text) in blocks(&page) {
        let text = match language {
            "yaml,config" => text,
            "yaml,config-part" => complete(&text),
            other => panic!("docs/configuration.md:{line}: {other} is no kind of example"),
        };
        // files that an example names are there, each with what it must hold
        let pair = rcgen::generate_simple_self_signed(vec!["elastauth".to_owned()]).unwrap();
        let lines: Vec<String> = text
            .lines()
            .map(|line| match line.rsplit_once("/etc/elastauth/") {
                Some((before, name)) => {
                    let path = folder.path().join(name);
                    let key = name.contains("key");
                    std::fs::write(&path, if key { pair.signing_key.serialize_pem() } else { pair.cert.pem() })
                        .unwrap();
                    format!("{before}{}", path.display())
                }
                None => line.to_owned(),
            })
            .collect();
        let text = lines.join("\n");
        let variables = env(&[
            ("OIDC_CLIENT_SECRET", "client-secret"),
            ("REDIS_PASSWORD", "redis-password"),
            ("ELASTICSEARCH_PASSWORD", "password"),
            ("SECRET_KEY", &"ab".repeat(32)),
            ("ENVOY_SECRET", &"cd".repeat(32)),
        ]);
        if let Err(problems) = load_text(&text, &variables) {
            panic!("docs/configuration.md:{line}: {problems}\n{text}");
        }
        loaded += 1;
    }
    assert!(loaded >= keys::SECTIONS.len(), "each chapter has an example");
}
