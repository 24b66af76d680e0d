//! The certificates for TLS to Redis, read from files and checked when the configuration is read.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Authorities to trust and, for mutual TLS, a certificate to show: one configuration for all connections.
#[derive(Clone)]
pub struct Tls(pub(super) Arc<ClientConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// A file that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file with the trusted authorities, `cache.redis_tls_ca_file`.
    #[error("{0}")]
    Authorities(String),
    /// The file with the client's certificate.
    #[error("{0}")]
    Certificate(String),
    /// The file with the client's private key.
    #[error("{0}")]
    Key(String),
}

impl Tls {
    /// Reads the PEM files: `authorities` to trust instead of the system's, and in `client` the certificate and the key of mutual
    /// TLS.
    pub fn read(authorities: Option<&Path>, client: Option<(&Path, &Path)>) -> Result<Self, TlsError> {
        // ring is the provider of the whole process; an error means that it was installed before
        let _ = rustls::crypto::ring::default_provider().install_default();
        let trusted = match authorities {
            Some(path) => authorities_of(path),
            None => authorities_of_the_system(),
        };
        let config = ClientConfig::builder().with_root_certificates(trusted.map_err(TlsError::Authorities)?);
        let config = match client {
            None => config.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(&file(certificate).map_err(TlsError::Certificate)?);
                let secret = PrivateKeyDer::from_pem_slice(&file(key).map_err(TlsError::Key)?)
                    .map_err(|_| TlsError::Key("not a PEM file with a private key".into()))?;
                config
                    .with_client_auth_cert(chain.map_err(TlsError::Certificate)?, secret)
                    .map_err(|error| TlsError::Key(format!("does not fit the certificate: {error}")))?
            }
        };
        Ok(Self(Arc::new(config)))
    }
}

fn authorities_of(path: &Path) -> Result<RootCertStore, String> {
    let mut trusted = RootCertStore::empty();
    for certificate in certificates(&file(path)?)? {
        trusted.add(certificate).map_err(|error| error.to_string())?;
    }
    Ok(trusted)
}

/// The authorities that the system trusts, read once: that takes milliseconds of the processor.
fn authorities_of_the_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut trusted = RootCertStore::empty();
    // a single one that cannot be read is no reason to trust none of the others
    let (read, _) = trusted.add_parsable_certificates(found.certs);
    if read > 0 {
        return Ok(trusted);
    }
    let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
    Err(format!("is required here: the system has no authorities that it trusts{why}"))
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| "not a PEM file with certificates".into())
}
