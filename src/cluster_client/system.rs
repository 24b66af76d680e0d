//! Which of the two systems a client talks to.

/// The system that has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Either of the two, as long as it is not known which.
    Either,
    /// Elasticsearch, 7.10 or later.
    Elasticsearch,
    /// OpenSearch, 1 or later, with its security plugin.
    OpenSearch,
}

impl System {
    /// The name in messages and log lines.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Either => "the cluster",
            Self::Elasticsearch => "Elasticsearch",
            Self::OpenSearch => "OpenSearch",
        }
    }
}
