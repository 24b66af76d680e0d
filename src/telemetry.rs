//! Logs.

/// `log_level`, `log_format`
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Governs elastauth's own targets; dependencies stay at `warn`.
    pub level: tracing::Level,
    /// How a line looks.
    pub format: Format,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}
