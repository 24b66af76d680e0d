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
    /// Whether more would be let in, trusted or believed if the key were not there. An operator who writes such a key relies on it,
    /// so that one which is written and comes out empty is an error, and never the default.
    pub(in crate::config) restricts: bool,
}

impl Key {
    const fn new(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        Self { path, kind, default, help, restricts: false }
    }

    pub(super) const fn restricting(self) -> Self {
        Self { restricts: true, ..self }
    }
}

pub(super) const fn key(path: &'static str, default: &'static str, help: &'static str) -> Key {
    Key::new(path, Kind::Text, default, help)
}

pub(super) const fn secret(path: &'static str, help: &'static str) -> Key {
    Key::new(path, Kind::Secret, "", help)
}

pub(super) const fn secrets(path: &'static str, help: &'static str) -> Key {
    Key::new(path, Kind::Secrets, "", help)
}

pub(super) const fn list(path: &'static str, default: &'static str, help: &'static str) -> Key {
    Key::new(path, Kind::List, default, help)
}

pub(super) const fn mapping(path: &'static str, help: &'static str) -> Key {
    Key::new(path, Kind::Mapping, "", help)
}
