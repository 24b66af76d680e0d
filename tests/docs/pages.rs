//! The Markdown files of the repository.

use std::fs;
use std::path::Path;

use elastauth_support::files;
use elastauth_support::servers::root;
use pulldown_cmark::{CowStr, Event, Options, Parser};

/// Folders with pages; `docs` is the book.
const FOLDERS: [&str; 5] = ["docs", "envoy", "benches", "fuzz", "tests"];

/// Folders with files that pages name.
const SOURCES: [&str; 7] = ["src/", "tests/", "docs/", "envoy/", "benches/", "fuzz/", "proto/"];

/// A page and where it is, relative to the root of the repository.
pub struct Page {
    pub path: String,
    pub text: String,
}

impl Page {
    /// The page as mdBook and GitHub read it.
    pub fn events(&self) -> Parser<'_> {
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_GFM;
        Parser::new_ext(&self.text, options)
    }
}

/// All of them: those at the root and those in [`FOLDERS`].
pub fn pages() -> Vec<Page> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root()).unwrap() {
        add(&entry.unwrap().path(), &mut found);
    }
    for folder in FOLDERS {
        for file in files::below(&root().join(folder)) {
            add(&file, &mut found);
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 10, "the pages were found");
    found
}

fn add(file: &Path, found: &mut Vec<Page>) {
    if file.extension().is_some_and(|extension| extension == "md") {
        let path = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        found.push(Page { path, text: fs::read_to_string(file).unwrap() });
    }
}

/// The files and folders that a page names as code. Patterns such as `src/{a,b}.rs` and `src/NAME.rs` are left out.
pub fn sources(page: &Page) -> Vec<String> {
    let named = |code: CowStr<'_>| {
        let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        (plain && !code.contains("NAME") && SOURCES.iter().any(|folder| code.starts_with(folder)))
            .then(|| code.into_string())
    };
    page.events()
        .filter_map(|event| match event {
            Event::Code(code) => named(code),
            _ => None,
        })
        .collect()
}
