//! The certificates for TLS to Redis, read from files and checked when the configuration is read.

use std::path::Path;

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Authorities to trust and, for mutual TLS, a certificate to show.
#[derive(Clone, Debug)]
pub struct Tls(pub(super) TlsCertificates);

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
        let mut trusted = RootCertStore::empty();
        let root_cert = authorities.map(file).transpose().map_err(TlsError::Authorities)?;
        for certificate in root_cert.iter().map(|pem| certificates(pem)) {
            for certificate in certificate.map_err(TlsError::Authorities)? {
                trusted.add(certificate).map_err(|error| TlsError::Authorities(error.to_string()))?;
            }
        }
        let mut client_tls = None;
        if let Some((certificate, key)) = client {
            let client_cert = file(certificate).map_err(TlsError::Certificate)?;
            let client_key = file(key).map_err(TlsError::Key)?;
            let chain = certificates(&client_cert).map_err(TlsError::Certificate)?;
            let secret = PrivateKeyDer::from_pem_slice(&client_key)
                .map_err(|_| TlsError::Key("not a PEM file with a private key".into()))?;
            ClientConfig::builder()
                .with_root_certificates(trusted)
                .with_client_auth_cert(chain, secret)
                .map_err(|error| TlsError::Key(format!("does not fit the certificate: {error}")))?;
            client_tls = Some(ClientTlsConfig { client_cert, client_key });
        }
        Ok(Self(TlsCertificates { client_tls, root_cert }))
    }
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| "not a PEM file with certificates".into())
}
