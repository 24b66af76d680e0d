//! The files of a folder, for tests that read the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Every file below a folder, at any depth, in the order of the paths.
#[must_use]
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Those with this extension.
#[must_use]
pub fn with_extension(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = below(folder);
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    found
}
