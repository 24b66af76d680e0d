//! The examples of the specifications, by the whole way that a token takes. RFC 7520's are among Wycheproof's too.

use super::*;

const A2_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

/// `{"iss":"joe", "exp":1300819380, "http://example.com/is_root":true}` with the line ends of the text.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/// What each example comes to under a key set with its key.
async fn outcome(jwk: Value, token: &str) -> Error {
    verifier(&[jwk]).verify(token, now()).await.unwrap_err()
}

#[tokio::test]
async fn the_signatures_of_rfc_7515_and_rfc_8037_are_accepted_and_their_claims_judged() {
    let rsa = json!({"kty": "RSA", "n": A2_N, "e": "AQAB"});
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let a2 = format!(
        "eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    let a3 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    // both are from another issuer; without their signature they would not come so far
    assert_eq!(outcome(rsa.clone(), &a2).await, Error::Issuer, "A.2");
    assert_eq!(outcome(ec.clone(), &a3).await, Error::Issuer, "A.3");
    assert_eq!(outcome(ec.clone(), &a3.replace(".Dt", ".Du")).await, Error::Signature);
    // signed with the other's key
    assert_eq!(outcome(ec, &a2).await, Error::Key(keyring::Error::Algorithm));

    let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let a4 = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert!(matches!(outcome(okp, a4).await, Error::Malformed(why) if why.starts_with("its claims")), "RFC 8037 A.4");
}

#[tokio::test]
async fn the_examples_with_a_shared_secret_and_without_a_signature_are_refused() {
    let secret = json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"});
    let a1 = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert_eq!(outcome(secret.clone(), &a1).await, Error::Algorithm, "RFC 7515 A.1");
    let a5 = format!("eyJhbGciOiJub25lIn0.{CLAIMS}.");
    assert!(matches!(outcome(secret, &a5).await, Error::Malformed("it is not signed")), "RFC 7515 A.5");
}
