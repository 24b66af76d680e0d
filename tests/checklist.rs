//! The pages that say which test holds which behaviour are complete, and each test that they name exists.

use std::fs;
use std::path::Path;

/// A page with its number of rows.
struct Page {
    name: &'static str,
    text: &'static str,
    rows: usize,
}

const PAGES: [Page; 5] = [
    Page { name: "checklist.md", text: include_str!("../docs/verification/checklist.md"), rows: 54 },
    Page { name: "identity.md", text: include_str!("../docs/verification/identity.md"), rows: 115 },
    Page { name: "failures.md", text: include_str!("../docs/verification/failures.md"), rows: 34 },
    Page { name: "sessions.md", text: include_str!("../docs/verification/sessions.md"), rows: 27 },
    Page { name: "login.md", text: include_str!("../docs/verification/login.md"), rows: 91 },
];

/// Pages of facts. Their last column names the tests that would notice a change.
const FACTS: [(&str, &str); 2] = [
    ("facts/envoy.md", include_str!("../docs/facts/envoy.md")),
    ("facts/elasticsearch.md", include_str!("../docs/facts/elasticsearch.md")),
];

/// A numbered row: its cells, the number first, then the behaviour and the tests.
fn rows(page: &Page) -> Vec<(usize, Vec<&'static str>)> {
    let row = |line: &'static str| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        Some((cells.first()?.parse().ok()?, cells))
    };
    page.text.lines().filter_map(row).collect()
}

#[test]
fn every_behaviour_has_a_row() {
    for page in &PAGES {
        let numbers: Vec<_> = rows(page).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, (1..=page.rows).collect::<Vec<_>>(), "{}", page.name);
        let heads = page.text.lines().find(|line| line.contains("| behaviour |")).unwrap_or_default();
        let columns = heads.matches('|').count() - 1;
        for (number, cells) in rows(page) {
            assert_eq!(cells.len(), columns, "{} {number}", page.name);
            assert!(cells.iter().all(|cell| !cell.is_empty()), "{} {number}", page.name);
        }
    }
}

/// The words of a cell that are set as code.
fn code(cell: &'static str) -> impl Iterator<Item = &'static str> {
    cell.split('`').skip(1).step_by(2)
}

fn is_rust(word: &str) -> bool {
    Path::new(word).extension().is_some_and(|extension| extension == "rs")
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_test_that_a_page_names_exists() {
    for page in &PAGES {
        let mut named = 0;
        for (number, cells) in rows(page) {
            let (tests, row) = (cells[2], format!("{} {number}", page.name));
            let mut file = None;
            for word in code(tests) {
                if is_rust(word) {
                    file = Some((word, read(word)));
                    continue;
                }
                let (path, text) = file.as_ref().unwrap_or_else(|| panic!("{row}: {word} stands before its file"));
                assert!(text.contains(&format!("fn {word}(")), "{row}: {path} has no {word}");
                named += 1;
            }
            assert!(file.is_some() || tests.starts_with("not held: "), "{row}: no test, and no reason why");
        }
        assert!(named >= page.rows, "{}", page.name);
    }
}

#[test]
fn every_test_that_holds_a_fact_exists() {
    for (name, text) in FACTS {
        let (mut held_by, mut named) = (false, 0);
        for line in text.lines().filter(|line| line.starts_with('|')) {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            if cells.contains(&"fact") {
                held_by = cells.last() == Some(&"held by");
            }
            let (Some(number), Some(tests)) = (cells.first(), cells.last().filter(|_| held_by)) else { continue };
            let mut file: Option<(&str, String)> = None;
            for word in code(tests) {
                if is_rust(word) {
                    file = Some((word, read(word)));
                } else if let Some((path, text)) = file.as_ref().filter(|_| word.contains('_') && !word.contains('/')) {
                    // what stands before the first file is a setting or a field
                    assert!(text.contains(&format!("fn {word}(")), "{name} {number}: {path} has no {word}");
                    named += 1;
                }
            }
        }
        assert!(named > 40, "{name}: the tests were found");
    }
}
