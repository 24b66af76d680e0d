//! How values are written.

/// How a value is written, and which places besides the file may hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// Also readable from a file named by `…_FILE`; never shown.
    Secret,
    /// Several secrets in one place; also readable from a file named by `…_FILE`; never shown.
    Secrets,
    List,
    /// A structure of its own, which only the file can hold.
    Mapping,
}

impl Kind {
    /// Secrets are never shown, and may come from a file named by `…_FILE`.
    pub(crate) fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Secrets)
    }
}
