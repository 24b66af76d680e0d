//! What a key is.

/// What a value is, for the table and for `check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum Kind {
    Text,
    /// Also readable from a file named by `…_FILE`; never shown.
    Secret,
    /// Several, in one place; also readable from a file named by `…_FILE`; never shown.
    Secrets,
    List,
    /// Something with a form of its own; from the file only.
    Mapping,
}

impl Kind {
    /// Never shown, and readable from a file.
    pub(in crate::config) fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Secrets)
    }
}

/// A key.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Key {
    pub(in crate::config) path: &'static str,
    pub(in crate::config) kind: Kind,
    pub(in crate::config) default: &'static str,
    pub(in crate::config) help: &'static str,
}

pub(super) const fn key(path: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { path, kind: Kind::Text, default, help }
}

pub(super) const fn secret(path: &'static str, help: &'static str) -> Key {
    Key { path, kind: Kind::Secret, default: "", help }
}

pub(super) const fn list(path: &'static str, default: &'static str, help: &'static str) -> Key {
    Key { path, kind: Kind::List, default, help }
}
