//! Signature algorithms: `jsonwebtoken` over `ring`, for verification only.
//!
//! Not offered, and so never accepted whatever a configuration or a token says: `none`, the HMAC family
//! (a public key must not become a shared secret) and the P-521 and secp256k1 curves.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: refuse_to_sign,
    verifier_factory: verifier,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(unsupported()),
        rsa_pub_components_from_public_key: |_| Err(unsupported()),
        ec_pub_components_from_private_key: |_, _| Err(unsupported()),
        ed_pub_components_from_private_key: |_, _| Err(unsupported()),
        compute_digest: |_, _| Err(unsupported()),
    },
};

/// Makes `ring` the cryptography behind `jsonwebtoken` in this process. Needed before the first
/// verification; calling it again does nothing.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only when there is a provider already. Only this function installs one.
        let _ = PROVIDER.install_default();
    });
}

/// Every algorithm that a token can be accepted with.
pub const ALL: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The algorithm of this name. `Ed25519` (RFC 9864 §2.2) is the newer and exact name for what `EdDSA` means with a key on that
/// curve; the other curve of `EdDSA` is not supported.
#[must_use]
pub fn named(name: &str) -> Option<Algorithm> {
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { name.parse().ok() }
}

/// Whether a token with this algorithm can be accepted at all.
#[must_use]
pub fn supported(algorithm: Algorithm) -> bool {
    Scheme::of(algorithm).is_some()
}

/// How `ring` names an algorithm of RFC 7518 §3.1 and RFC 8037 §3.1.
#[derive(Clone, Copy)]
enum Scheme {
    /// Moduli from 2048 to 8192 bits; others fail to verify.
    Rsa(&'static RsaParameters),
    /// The signature is `r ‖ s` (RFC 7518 §3.4) or Ed25519's 64 bytes.
    Curve(&'static dyn VerificationAlgorithm),
}

impl Scheme {
    fn of(algorithm: Algorithm) -> Option<Self> {
        Some(match algorithm {
            Algorithm::RS256 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Self::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Self::Rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Self::Rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Self::Rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Self::Curve(&ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Self::Curve(&ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => Self::Curve(&ED25519),
            // the HMAC family, and whatever a later jsonwebtoken adds to its non-exhaustive list
            _ => return None,
        })
    }

    fn family(self, algorithm: Algorithm) -> AlgorithmFamily {
        match self {
            Self::Rsa(_) => AlgorithmFamily::Rsa,
            Self::Curve(_) => algorithm.family(),
        }
    }
}

struct RingVerifier {
    algorithm: Algorithm,
    scheme: Scheme,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match (self.scheme, self.key.kind()) {
            (Scheme::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Scheme::Rsa(parameters), DecodingKeyKind::SecretOrDer(der)) => {
                UnparsedPublicKey::new(parameters, der).verify(message, signature)
            }
            (Scheme::Curve(curve), DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(curve, point).verify(message, signature)
            }
            (Scheme::Curve(_), DecodingKeyKind::RsaModulusExponent { .. }) => Err(ring::error::Unspecified),
        };
        // ring says no more than "no", and no more must be said
        verified.map_err(|ring::error::Unspecified| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is jsonwebtoken's")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let algorithm = *algorithm;
    let scheme = Scheme::of(algorithm).ok_or_else(|| new_error(ErrorKind::UnsupportedAlgorithm))?;
    if key.family() != scheme.family(algorithm) {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    Ok(Box::new(RingVerifier { algorithm, scheme, key: key.clone() }))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is jsonwebtoken's")]
fn refuse_to_sign(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(new_error(ErrorKind::Provider("this process verifies tokens and signs none".into())))
}

fn unsupported() -> Error {
    new_error(ErrorKind::Provider("taking keys apart is not supported".into()))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::crypto;

    use super::*;

    #[test]
    fn installing_twice_is_harmless() {
        install();
        install();
    }

    #[test]
    fn nothing_is_signed() {
        install();
        let key = EncodingKey::from_secret(b"secret");
        assert!(crypto::sign(b"message", &key, Algorithm::HS256).is_err());
        assert!(crypto::sign(b"message", &key, Algorithm::RS256).is_err());
    }

    #[test]
    fn the_hmac_family_is_refused_even_with_a_secret() {
        install();
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            assert!(!supported(algorithm));
            let error = crypto::verify("", b"message", &DecodingKey::from_secret(b"secret"), algorithm).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::UnsupportedAlgorithm), "{error}");
        }
    }

    #[test]
    fn a_key_of_another_family_is_refused() {
        install();
        let rsa = DecodingKey::from_rsa_raw_components(&[0xff; 256], &[1, 0, 1]);
        let curve = DecodingKey::from_ec_der(&[4; 65]);
        for (key, algorithm) in
            [(&rsa, Algorithm::ES256), (&rsa, Algorithm::EdDSA), (&curve, Algorithm::EdDSA), (&curve, Algorithm::RS256)]
        {
            let error = crypto::verify("", b"message", key, algorithm).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::InvalidAlgorithm), "{algorithm:?}: {error}");
        }
    }
}
