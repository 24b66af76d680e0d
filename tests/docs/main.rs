//! The documentation: links lead to something that exists, every page is in the book, and every example works.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod commands;
mod examples;
mod links;
mod mentions;
mod pages;
mod slug;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use elastauth_support::files;
use elastauth_support::process::{run, said};
use elastauth_support::servers::{optional_tool, root};
use links::Link;
use pages::{pages, sources};
use pulldown_cmark::{Event, Parser, Tag};

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_exist() {
    let pages = pages();
    let mut problems = Vec::new();
    let mut checked = 0;
    for page in &pages {
        for link in Link::all(page) {
            checked += 1;
            problems.extend(link.problem(&pages).map(|problem| format!("{}: {problem}", page.path)));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(checked > 50, "the links were found");
}

/// The book's own order of pages; a page that it does not list is not built.
#[test]
fn every_page_of_the_book_is_listed_once() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let mut listed = Vec::new();
    for event in Parser::new(&summary) {
        if let Event::Start(Tag::Link { dest_url, .. }) = event {
            listed.push(format!("docs/{dest_url}"));
        }
    }
    let once: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(once.len(), listed.len(), "docs/SUMMARY.md lists a page twice");
    let there: BTreeSet<_> = pages()
        .into_iter()
        .map(|page| page.path)
        .filter(|path| path.starts_with("docs/") && path != "docs/SUMMARY.md")
        .collect();
    assert_eq!(once, there);
}

/// Pages name files of the repository as code; a file that was moved or renamed must not stay there under its old name.
#[test]
fn every_file_that_a_page_names_exists() {
    let mut missing = Vec::new();
    let mut found = 0;
    for page in pages() {
        for source in sources(&page) {
            let beside = Path::new(&page.path).parent().unwrap();
            if [root().join(&source), root().join(beside).join(&source)].iter().any(|file| file.exists()) {
                found += 1;
            } else {
                missing.push(format!("{}: {source}", page.path));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(found > 200, "the names were found");
}

/// Comments, shipped files and messages send readers to pages, some of them in the middle of an outage.
#[test]
fn every_page_that_another_file_names_exists() {
    let (problems, found) = mentions::problems(&pages());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(found > 10, "the names were found");
}

/// A newcomer finds each file in one step.
#[test]
fn the_architecture_says_what_each_source_file_does() {
    let page = pages().into_iter().find(|page| page.path == "docs/architecture.md").unwrap();
    let named: BTreeSet<_> = sources(&page).into_iter().collect();
    let of_tests = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    let files = files::with_extension(&root().join("src"), "rs");
    let files = files.iter().map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
    let files: Vec<_> = files.filter(|path| !of_tests(path)).collect();
    assert!(files.len() > 100, "the files were found");
    let missing: Vec<_> = files.into_iter().filter(|file| !named.contains(file)).collect();
    assert!(missing.is_empty(), "docs/architecture.md has no row for {missing:#?}");
}

#[test]
fn every_code_block_says_how_it_is_checked_and_works() {
    let mut problems = Vec::new();
    let mut checked = 0;
    for page in pages() {
        for block in examples::all(&page) {
            checked += 1;
            if let Err(problem) = block.check() {
                problems.push(format!("{}: {problem}\n{}", page.path, block.text));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    assert!(checked > 20, "the blocks were found");
}

#[test]
fn every_test_that_stands_for_a_command_exists() {
    commands::tests_exist();
}

/// Links of a page of the finished book to files that it does not have.
fn dead_links(file: &Path) -> Vec<String> {
    let html = fs::read_to_string(file).unwrap();
    let links = html.split(" href=\"").skip(1).map(|rest| rest.split(['"', '#']).next().unwrap());
    let dead = |link: &&str| !link.contains(':') && !file.parent().unwrap().join(link).exists();
    links.filter(dead).map(|link| format!("{}: {link}", file.display())).collect()
}

/// What `make docs` does, where mdBook has been fetched.
#[test]
fn the_book_builds_without_a_warning() {
    let Some(mdbook) = optional_tool("mdbook") else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = run(Command::new(mdbook).arg("build").arg("--dest-dir").arg(folder.path()).arg(root()), "").unwrap();
    let said = said(&output);
    assert!(output.status.success() && !said.contains("WARN") && !said.contains("ERROR"), "{said}");
    let html = files::with_extension(folder.path(), "html");
    // the page for what is not found is shown at any address
    let dead: Vec<_> =
        html.iter().filter(|path| !path.ends_with("404.html")).flat_map(|file| dead_links(file)).collect();
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    assert!(folder.path().join("index.html").exists(), "the first page is there");
}
