//! Why an HTTP client could not be made.

use std::path::{Path, PathBuf};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with authorities cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file that could not be read.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The file has no certificate, or one that is broken.
    #[error("{path}: not a PEM file with certificates")]
    Certificates {
        /// The file with the authorities.
        path: PathBuf,
    },
    /// The client's certificate or its key is missing or broken.
    #[error("{path}: {why}")]
    Identity {
        /// The file with the certificate or the key.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The TLS library refuses the settings.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The client cannot be built, as when the system has no certificates.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

impl Error {
    /// The file that cannot be used, where a file is the reason.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Read { path, .. } | Self::Certificates { path } | Self::Identity { path, .. } => Some(path),
            Self::Tls(_) | Self::Client(_) => None,
        }
    }
}
