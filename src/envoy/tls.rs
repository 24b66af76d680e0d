//! TLS on the gRPC port: elastauth's certificate, the authorities of clients' certificates, and the clients that may call.
//! The files are read again when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{Context, Digest, SHA256};
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, VerifierBuilderError, WebPkiClientVerifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

mod files;
pub mod peer;

pub(super) use files::Watched;
use peer::{Name, UnlistedPeer};

/// The settings of TLS on the gRPC port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `grpc.tls_cert_file`: the PEM file with elastauth's certificate and its chain.
    pub cert_file: PathBuf,
    /// `grpc.tls_key_file`: the PEM file with the certificate's private key.
    pub key_file: PathBuf,
    /// `grpc.tls_client_ca_file`: the PEM file with the authorities that sign clients' certificates. Without it clients need
    /// none.
    pub client_ca_file: Option<PathBuf>,
    /// `grpc.tls_allowed_sans`: the names of clients that may call. Empty: every client with a certificate that verifies.
    pub allowed: Vec<Name>,
    /// `grpc.tls_reload_interval`: the interval at which the files are read again. Default 10 s.
    pub reload_interval: Duration,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file that could not be read.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// A file does not hold what it should. Its content is not part of the text.
    #[error("{path}: {what}")]
    Content {
        /// The file with the wrong content.
        path: PathBuf,
        /// What is missing or damaged in it.
        what: String,
    },
    /// Certificate and key can both be read, and do not belong together.
    #[error("certificate and key: {0}")]
    Pair(rustls::Error),
    /// The authorities of clients cannot be used.
    #[error("authorities of clients: {0}")]
    Authorities(#[from] VerifierBuilderError),
}

/// The contents of the files at one moment.
struct Material {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    authorities: Option<Vec<u8>>,
}

impl Material {
    fn read(settings: &Settings) -> Result<Self, Error> {
        let read = |path: &Path| std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source });
        Ok(Self {
            cert: read(&settings.cert_file)?,
            key: read(&settings.key_file)?.into(),
            authorities: settings.client_ca_file.as_deref().map(read).transpose()?,
        })
    }

    fn digest(&self) -> Digest {
        let mut context = Context::new(&SHA256);
        for part in [&self.cert, &*self.key, self.authorities.as_deref().unwrap_or_default()] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.finish()
    }

    /// The configuration of rustls. Each has a session cache of its own, so that no session is resumed after the authorities
    /// that verified it were replaced.
    fn config(&self, settings: &Settings) -> Result<ServerConfig, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(&settings.cert_file, &self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| content(&settings.key_file, "private key", error))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Error::Pair)?;
        let builder = match (&settings.client_ca_file, &self.authorities) {
            (Some(path), Some(pem)) => {
                let roots = Arc::new(authorities(path, pem)?);
                builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(roots, provider).build()?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(Error::Pair)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn authorities(path: &Path, pem: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, pem)? {
        roots.add(certificate).map_err(|error| Error::Content { path: path.into(), what: error.to_string() })?;
    }
    Ok(roots)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| content(path, "certificate", error))?;
    if certificates.is_empty() {
        return Err(content(path, "certificate", pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// An error about the content of a file. The library's text is left out, since it may quote the file.
fn content(path: &Path, wanted: &str, error: pem::Error) -> Error {
    let what = match error {
        pem::Error::NoItemsFound => format!("no {wanted} in PEM format"),
        _ => format!("a damaged {wanted} in PEM format"),
    };
    Error::Content { path: path.into(), what }
}

/// Reads the files once, for the errors in them.
pub(crate) fn check(settings: &Settings) -> Result<(), Error> {
    Material::read(settings)?.config(settings).map(|_| ())
}

/// Does one handshake. The inner error means a client with a valid certificate that is not on the list.
pub(super) async fn accept<IO: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ServerConfig>,
    allowed: &[Name],
    io: IO,
) -> io::Result<(TlsStream<IO>, Result<(), UnlistedPeer>)> {
    let stream = TlsAcceptor::from(config).accept(io).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let verdict = peer::admit(certificate, allowed);
    Ok((stream, verdict))
}
