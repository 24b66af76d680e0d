//! An item of a section that is written as a list.

use crate::config::keys::Repeatable;

/// The section, and the number of the item in it.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) section: Repeatable,
    pub(super) at: usize,
}

impl Item {
    /// The path with the number of the item: `oidc.issuer` → `oidc[1].issuer`.
    pub(super) fn shown(self, path: &str) -> String {
        let Self { section: Repeatable { name }, at } = self;
        format!("{name}[{at}]{}", &path[name.len()..])
    }
}
