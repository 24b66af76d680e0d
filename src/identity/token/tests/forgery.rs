use super::*;

#[tokio::test]
async fn each_algorithm_refuses_a_changed_message_and_a_changed_signature() {
    for algorithm in algorithm::ALL {
        let signer = Signer::for_algorithm(algorithm);
        let verifier = verifier(&[signer.jwk(Some("k"))]);
        let token = signer.sign(algorithm, &header(algorithm), &claims().to_string());
        let [head, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
        let mut other = claims();
        other["preferred_username"] = json!("root");
        let mut flipped = base64url_decode(signature);
        flipped[20] ^= 1;
        for forged in [
            format!("{head}.{}.{signature}", base64url(other.to_string())),
            format!("{}.{payload}.{signature}", base64url(header(algorithm) + " ")),
            format!("{head}.{payload}.{}", base64url(&flipped)),
            format!("{head}.{payload}.{}", base64url(&flipped[1..])),
            format!("{head}.{payload}.{}", base64url(vec![0; flipped.len()])),
        ] {
            assert_eq!(verifier.verify(&forged, now()).await.unwrap_err(), Error::Signature, "{algorithm:?}");
        }
    }
}

fn base64url_decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

#[tokio::test]
async fn the_public_key_is_not_a_shared_secret() {
    let signer = Signer::for_algorithm(Algorithm::RS256);
    let jwk = signer.jwk(Some("k"));
    let secret = base64url_decode(jwk["n"].as_str().unwrap());
    let message = format!("{}.{}", base64url(header(Algorithm::HS256)), base64url(claims().to_string()));
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret), message.as_bytes());
    let token = format!("{message}.{}", base64url(tag));
    assert_eq!(verifier(std::slice::from_ref(&jwk)).verify(&token, now()).await.unwrap_err(), Error::Algorithm);
    // not even where the configuration asks for it
    let lax = verifier_over(Provider::new([Ok(key_set(&[jwk]))]), &[Algorithm::HS256, Algorithm::RS256]);
    assert_eq!(lax.verify(&token, now()).await.unwrap_err(), Error::Algorithm);
}

#[tokio::test]
async fn an_algorithm_that_does_not_fit_the_key_or_the_list_is_refused() {
    let rsa = Signer::for_algorithm(Algorithm::RS256);
    let jwk = rsa.jwk(Some("k"));
    let strict = verifier_over(Provider::new([Ok(key_set(std::slice::from_ref(&jwk)))]), &[Algorithm::PS256]);
    let plain = rsa.sign(Algorithm::RS256, &header(Algorithm::RS256), &claims().to_string());
    assert_eq!(strict.verify(&plain, now()).await.unwrap_err(), Error::Algorithm);
    let confused = rsa.sign(Algorithm::RS256, &header(Algorithm::ES256), &claims().to_string());
    assert_eq!(verifier(&[jwk]).verify(&confused, now()).await.unwrap_err().reason(), "token_algorithm");
    let unsigned = format!("{}.{}.", base64url(r#"{"alg":"none"}"#), base64url(claims().to_string()));
    assert!(strict.verify(&unsigned, now()).await.is_err());
    assert_eq!(strict.verify(&format!("{unsigned}AA"), now()).await.unwrap_err(), Error::Algorithm);
}

#[tokio::test]
async fn a_key_in_the_header_is_not_looked_at() {
    let bench = Bench::new();
    let mallory = Signer::for_algorithm(Algorithm::ES256);
    let header = json!({"alg": "ES256", "kid": "k", "jwk": mallory.jwk(Some("k"))}).to_string();
    let token = mallory.sign(Algorithm::ES256, &header, &claims().to_string());
    assert_eq!(bench.verify(&token).await, Err("token_signature"));
}
