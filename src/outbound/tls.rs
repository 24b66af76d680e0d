//! TLS of the HTTP client: which authorities it trusts, and which certificate it presents. No setting switches verification
//! off.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use reqwest::{Certificate, ClientBuilder};
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::Error;

/// The settings of TLS for a client.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The authorities that sign certificates of servers. Default: the system's.
    pub authorities: Authorities,
    /// The certificate to present when the server asks for one.
    pub identity: Option<ClientIdentity>,
}

impl Tls {
    /// TLS with the authorities of a PEM file, or the system's, and without a certificate of the client.
    #[must_use]
    pub fn trusting(ca_file: Option<&Path>) -> Self {
        let authorities = ca_file.map_or(Authorities::System, |path| Authorities::File(path.into()));
        Self { authorities, identity: None }
    }
}

/// The authorities that a client trusts.
#[derive(Clone, Debug, Default)]
pub enum Authorities {
    /// The authorities that the system trusts.
    #[default]
    System,
    /// The authorities in this PEM file, and no others.
    File(PathBuf),
    /// The authority with this fingerprint, which the server has to present along with its own certificate.
    Fingerprint(Fingerprint),
}

/// A client's certificate with its chain, and its key; PEM files.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// The file with the certificate, followed by those between it and an authority.
    pub certificate: PathBuf,
    /// The file with the certificate's private key.
    pub key: PathBuf,
}

/// SHA-256 of a certificate in DER, as Elasticsearch prints it at its first start and as `openssl x509 -fingerprint
/// -sha256` does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// The text does not have 64 hex digits, with or without colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hex digits, with or without colons")]
pub struct NoFingerprint;

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
        let mut bytes = [0_u8; 32];
        if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NoFingerprint);
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            let pair = digits.get(at..at + 2).ok_or(NoFingerprint)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NoFingerprint)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

pub(super) fn configure(client: ClientBuilder, tls: &Tls) -> Result<ClientBuilder, Error> {
    let client = match &tls.authorities {
        Authorities::Fingerprint(fingerprint) => {
            return Ok(client.tls_backend_preconfigured(pinned(*fingerprint, tls.identity.as_ref())?));
        }
        Authorities::System => client,
        Authorities::File(path) => client.tls_certs_only(authorities(path)?),
    };
    let Some(ClientIdentity { certificate, key }) = &tls.identity else { return Ok(client) };
    let mut pem = read(certificate)?;
    pem.push(b'\n');
    pem.append(&mut read(key)?);
    let why = |_| Error::Identity { path: key.clone(), why: "not a PEM file with a key of the certificate".into() };
    Ok(client.identity(reqwest::Identity::from_pem(&pem).map_err(why)?))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.into(), source })
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, Error> {
    match Certificate::from_pem_bundle(&read(path)?) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::Certificates { path: path.into() }),
    }
}

/// Reads the files and checks them as the making of a client would: certificates that cannot be read, and a key that does not
/// belong to the certificate.
pub(crate) fn check(tls: &Tls) -> Result<(), Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    if let Authorities::File(path) = &tls.authorities {
        let broken = || Error::Certificates { path: path.clone() };
        for certificate in CertificateDer::pem_slice_iter(&read(path)?) {
            roots.add(certificate.map_err(|_| broken())?).map_err(|_| broken())?;
        }
        if roots.is_empty() {
            return Err(broken());
        }
    }
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    with_identity(config.with_root_certificates(roots), tls.identity.as_ref()).map(drop)
}

fn pinned(fingerprint: Fingerprint, identity: Option<&ClientIdentity>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Pinned { fingerprint, provider }));
    with_identity(config, identity)
}

fn with_identity(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, Error> {
    let Some(ClientIdentity { certificate, key }) = identity else { return Ok(config.with_no_client_auth()) };
    let broken = |path: &Path, error: &dyn fmt::Display| Error::Identity { path: path.into(), why: error.to_string() };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let chain = chain.map_err(|error| broken(certificate, &error))?;
    if chain.is_empty() {
        return Err(broken(certificate, &"not a PEM file with certificates"));
    }
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| broken(key, &error))?;
    config.with_client_auth_cert(chain, secret).map_err(|error| broken(key, &error))
}

/// A verifier that looks for the authority with a fingerprint in the presented chain, and then checks everything that is checked
/// with an authority from a file: signatures, names, times, uses.
#[derive(Debug)]
struct Pinned {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let wanted = |certificate: &&CertificateDer<'_>| digest(&SHA256, certificate).as_ref() == self.fingerprint.0;
        let authority = intermediates.iter().find(wanted);
        let authority = authority.ok_or(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let rest = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider)).build();
        let rest = rest.map_err(|error| rustls::Error::General(error.to_string()))?;
        rest.verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_64_hex_digits_with_or_without_colons() {
        let plain = "0123456789abcdef".repeat(4);
        let colons = plain.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect::<Vec<_>>();
        let upper = colons.join(":").to_uppercase();
        assert_eq!(plain.parse::<Fingerprint>(), upper.parse());
        assert_eq!(format!("{:?}", plain.parse::<Fingerprint>().unwrap()), plain);
        for bad in ["", "12", &plain[1..], &format!("{plain}0"), &"zz".repeat(32), &"é".repeat(32)] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(NoFingerprint), "{bad}");
        }
    }
}
