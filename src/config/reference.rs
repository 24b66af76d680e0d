//! The documentation of all keys, `docs/configuration.md`, which `elastauth keys` prints.

use super::keys::{Info, SECTIONS};

/// The page's head: what holds for all keys.
const HEAD: &str = include_str!("keys/head.md");

/// Every key with its default and its meaning, as a page of Markdown with a chapter for each part.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(HEAD);
    for section in SECTIONS {
        page.push('\n');
        page.push_str(section.text);
        page.push('\n');
        page.push_str(&table(section.keys));
    }
    page
}

fn table(keys: &[&Info]) -> String {
    let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
    for Info { path, default, help, .. } in keys.iter().copied() {
        let described = default.is_empty() || default.contains(' ') || default.contains('\'');
        let default = if described { (*default).to_owned() } else { format!("`{default}`") };
        table.push_str(&format!("| `{path}` | {default} | {help} |\n"));
    }
    table
}
