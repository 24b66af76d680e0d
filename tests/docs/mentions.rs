//! Pages that source files, shipped files and messages name: `docs/redis.md`, perhaps with a heading.

use std::fs;

use elastauth_support::files;
use elastauth_support::servers::root;

use crate::pages::Page;
use crate::slug::anchors;

/// Folders with files that name pages.
const FOLDERS: [&str; 6] = ["src", "tests", "envoy", "benches", "fuzz/src", ".ci"];

/// What is wrong with pages that any file names; and how many were found.
pub fn problems(pages: &[Page]) -> (Vec<String>, usize) {
    let (mut problems, mut found) = (Vec::new(), 0);
    // these tests have made-up names
    let own = root().join("tests/docs");
    let files = FOLDERS.iter().flat_map(|folder| files::below(&root().join(folder)));
    for path in files.filter(|path| !path.starts_with(&own)) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        for mention in mentions(&text) {
            found += 1;
            let file = path.strip_prefix(root()).unwrap().display();
            problems.extend(problem(&mention, pages).map(|problem| format!("{file}: {problem}")));
        }
    }
    (problems, found)
}

/// Every `docs/….md` and `docs/….md#…` of a text.
fn mentions(text: &str) -> Vec<String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_/.#".contains(c);
    let mut found = Vec::new();
    for (at, _) in text.match_indices("docs/") {
        // a longer path, such as that of another repository
        if text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "-_/".contains(c))
            && !text[..at].ends_with("../")
        {
            continue;
        }
        let rest = &text[at..];
        let end = rest.find(|c| !inner(c)).unwrap_or(rest.len());
        let mention = rest[..end].trim_end_matches('.');
        if mention.contains(".md") {
            found.push(mention.to_owned());
        }
    }
    found
}

fn problem(mention: &str, pages: &[Page]) -> Option<String> {
    let (path, heading) = mention.split_once('#').map_or((mention, None), |(path, heading)| (path, Some(heading)));
    let Some(page) = pages.iter().find(|page| page.path == path) else {
        return Some(format!("{path} does not exist"));
    };
    let heading = heading?;
    (!anchors(page).contains(heading)).then(|| format!("{path} has no heading {heading}"))
}

#[test]
fn mentions_are_found_in_sentences_and_beside_other_paths() {
    let text = "see docs/redis.md. Or ../docs/a/b.md#c-d, not https://example.org/docs/x.md nor docs/picture.svg";
    assert_eq!(mentions(text), ["docs/redis.md", "docs/a/b.md#c-d"]);
}
