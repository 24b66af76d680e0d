//! The checklist of an ext_authz server is complete, and each test that it names exists.

use std::fs;
use std::path::Path;

/// A row: its number, and the pairs of file and test of its last cell.
fn rows() -> Vec<(usize, String)> {
    let text = include_str!("checklist.md");
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let number = cells.get(1)?.parse().ok()?;
        Some((number, cells.get(3)?.to_string()))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_behaviour_of_the_checklist_has_a_row() {
    let numbers: Vec<_> = rows().into_iter().map(|(number, _)| number).collect();
    assert_eq!(numbers, (1..=54).collect::<Vec<_>>());
}

#[test]
fn every_test_that_the_checklist_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for (number, tests) in rows() {
        let mut file = None;
        for word in tests.split('`').skip(1).step_by(2) {
            if Path::new(word).extension().is_some_and(|extension| extension == "rs") {
                file = Some((
                    word,
                    fs::read_to_string(root.join(word)).unwrap_or_else(|e| panic!("{number}: {word}: {e}")),
                ));
                continue;
            }
            let (path, text) = file.as_ref().unwrap_or_else(|| panic!("{number}: {word} stands before its file"));
            assert!(text.contains(&format!("fn {word}(")), "{number}: {path} has no {word}");
            named += 1;
        }
        assert!(file.is_some() || tests.starts_with("not held: "), "{number}: no test, and no reason why");
    }
    assert!(named > 54);
}
