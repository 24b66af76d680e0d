//! An item of a section that is written as a list.

use crate::config::keys::Repeatable;

/// The section, and the number of the item in it.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) section: Repeatable,
    pub(super) at: usize,
}

impl Item {
    /// Whether the key is one of the item's.
    pub(super) fn has(self, path: &str) -> bool {
        path.strip_prefix(self.section.name).is_some_and(|rest| rest.starts_with('.'))
    }

    /// The path with the number of the item: `oidc.issuer` → `oidc[1].issuer`.
    pub(super) fn shown(self, path: &str) -> String {
        let Self { section: Repeatable { name }, at } = self;
        format!("{name}[{at}]{}", &path[name.len()..])
    }
}
