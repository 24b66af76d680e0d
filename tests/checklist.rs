//! The pages that say which test holds which behaviour are complete, and each test that they name exists.

use std::fs;
use std::path::Path;

/// A page with its number of rows.
struct Page {
    name: &'static str,
    text: &'static str,
    rows: usize,
}

const PAGES: [Page; 2] = [
    Page { name: "checklist.md", text: include_str!("checklist.md"), rows: 54 },
    Page { name: "identity.md", text: include_str!("identity.md"), rows: 115 },
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

#[test]
fn every_test_that_a_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in &PAGES {
        let mut named = 0;
        for (number, cells) in rows(page) {
            let (tests, row) = (cells[2], format!("{} {number}", page.name));
            let mut file = None;
            for word in tests.split('`').skip(1).step_by(2) {
                if Path::new(word).extension().is_some_and(|extension| extension == "rs") {
                    let text = fs::read_to_string(root.join(word)).unwrap_or_else(|e| panic!("{row}: {word}: {e}"));
                    file = Some((word, text));
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
