//! The outer form of a token: JWS Compact Serialization (RFC 7515 §3.1) and what its header may say.

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, Engine as _};
use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::algorithm;
use super::error::Error;
use super::strict_object::StrictObject;

/// Above this a token is not looked at. Envoy's own limit for all headers together is 60 KiB by default.
pub(super) const MAX_BYTES: usize = 16 * 1024;

/// What the header says. Nothing is verified yet: good for choosing a key and for nothing else.
#[derive(Debug, PartialEq)]
pub(super) struct Unverified {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

/// What a token is taken for. Tokens of all kinds are signed with the same keys, so that none of them may pass for another (RFC
/// 8725 §3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An access or ID token that its bearer shows: RFC 9068 §2.1, RFC 7519 §5.1.
    Bearer,
    /// The ID token of a login: `OpenID` Connect Core §2.
    Id,
    /// `OpenID` Connect Back-Channel Logout 1.0 §2.4. It should say so in `typ`; Keycloak and older providers write `JWT` there.
    Logout,
}

/// Reads the header of a token that has the form of a signed one, and may be one of this kind.
pub(super) fn read(token: &str, kind: Kind) -> Result<Unverified, Error> {
    bounded(token)?;
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Error::Malformed("it has not three parts"));
    };
    if signature.is_empty() {
        return Err(Error::Malformed("it is not signed"));
    }
    let header = decode(header)?;
    decode(payload)?;
    decode(signature)?;
    let header: StrictObject = serde_json::from_slice(&header)
        .map_err(|_| Error::Malformed("its header is not a JSON object without repeated names"))?;
    let header = header.members();

    // RFC 7515 §4.1.11: extensions that we do not understand, and we understand none. It covers `b64`
    // (RFC 7797 §6) too.
    if header.contains_key("crit") {
        return Err(Error::Critical);
    }
    // RFC 7519 §5.2: a token within a token
    if header.get("cty").is_some_and(|cty| cty.as_str().is_none_or(|cty| cty.eq_ignore_ascii_case("jwt"))) {
        return Err(Error::Malformed("it holds another token"));
    }
    kind.allows(header.get("typ"))?;
    let algorithm = match header.get("alg") {
        Some(Value::String(name)) => algorithm::named(name).ok_or(Error::Algorithm)?,
        _ => return Err(Error::Malformed("its header names no algorithm")),
    };
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err(Error::Malformed("its key id is not a string")),
    };
    Ok(Unverified { algorithm, kid })
}

/// The message that is signed, its payload, and the signature, of a token that [`read`] has found in order. The message and the
/// signature are as they were sent.
pub(super) fn parts(token: &str) -> Result<(&str, Vec<u8>, &str), Error> {
    let parts =
        token.rsplit_once('.').and_then(|(message, signature)| Some((message, message.split_once('.')?.1, signature)));
    let (message, payload, signature) = parts.ok_or(Error::Malformed("it has not three parts"))?;
    Ok((message, decode(payload)?, signature))
}

/// Refuses a token that is too long to be looked at.
pub(super) fn bounded(token: &str) -> Result<(), Error> {
    if token.len() > MAX_BYTES { Err(Error::TooLong) } else { Ok(()) }
}

/// Whether a token claims to be a signed one, as opposed to an opaque (or encrypted) one that only the provider can judge. Read
/// with more tolerance than any parser has: a provider that forgives a damaged header must not be asked about a token that would
/// not verify here.
pub(super) fn is_signed(token: &str) -> bool {
    let mut parts = token.split('.');
    let header = parts.next().and_then(tolerant).unwrap_or_default();
    let object = header.trim_ascii_start().starts_with(b"{");
    let encrypted = parts.count() == 4
        && serde_json::from_slice::<StrictObject>(&header).is_ok_and(|header| header.members().contains_key("enc"));
    object && !encrypted
}

/// The claims of a signed token by its own word: good for asking the right provider, and for refusing.
pub(super) fn unverified_claims(token: &str) -> Option<StrictObject> {
    if !is_signed(token) {
        return None;
    }
    serde_json::from_slice(&tolerant(token.split('.').nth(1)?)?).ok()
}

fn tolerant(part: &str) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &alphabet::URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let text: String = part
        .chars()
        .filter_map(|c| match c {
            '+' => Some('-'),
            '/' => Some('_'),
            '-' | '_' => Some(c),
            _ => Some(c).filter(char::is_ascii_alphanumeric),
        })
        .collect();
    // one character more than whole bytes need
    let whole = if text.len() % 4 == 1 { &text[..text.len() - 1] } else { &text };
    ENGINE.decode(whole).ok()
}

impl Kind {
    /// Whether a token with this `typ` may be one of the kind. RFC 7515 §4.1.9 lets `application/` be left out.
    fn allows(self, typ: Option<&Value>) -> Result<(), Error> {
        let name = match typ {
            None => return Ok(()),
            Some(Value::String(name)) => name.to_ascii_lowercase(),
            Some(_) => return Err(Error::Kind),
        };
        match (name.strip_prefix("application/").unwrap_or(&name), self) {
            ("jwt", _) | ("at+jwt", Self::Bearer) | ("logout+jwt", Self::Logout) => Ok(()),
            _ => Err(Error::Kind),
        }
    }
}

/// RFC 7515 §2: base64url without padding; a part that decodes in two ways is refused too.
fn decode(part: &str) -> Result<Vec<u8>, Error> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Error::Malformed("a part is not base64url"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header))
    }

    #[test]
    fn a_header_yields_algorithm_and_key_id_and_ignores_the_rest() {
        let header = r#"{"alg":"ES256","kid":"ü","typ":"at+jwt","jku":"https://evil"}"#;
        let read = read(&token(header), Kind::Bearer).unwrap();
        assert_eq!(read, Unverified { algorithm: Algorithm::ES256, kid: Some("ü".into()) });
    }

    #[test]
    fn access_and_id_tokens_pass_and_no_other_kind() {
        let outcome = |typ: &str| read(&token(&format!(r#"{{"alg":"ES256","typ":{typ}}}"#)), Kind::Bearer).err();
        for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt"] {
            assert_eq!(outcome(&format!("{typ:?}")), None, "{typ}");
        }
        for typ in
            [r#""logout+jwt""#, r#""dpop+jwt""#, r#""secevent+jwt""#, r#""JOSE""#, r#""""#, r#"" JWT""#, "null", "[]"]
        {
            assert_eq!(outcome(typ), Some(Error::Kind), "{typ}");
        }
    }

    #[test]
    fn a_login_takes_no_access_token_and_a_logout_neither_that_nor_another_kind() {
        for (typ, id, logout) in [
            (r#""JWT""#, true, true),
            (r#""logout+jwt""#, false, true),
            (r#""application/LOGOUT+jwt""#, false, true),
            (r#""at+jwt""#, false, false),
            (r#""secevent+jwt""#, false, false),
            ("null", false, false),
        ] {
            let token = token(&format!(r#"{{"alg":"ES256","typ":{typ}}}"#));
            let passes = [Kind::Id, Kind::Logout].map(|kind| read(&token, kind).is_ok());
            assert_eq!(passes, [id, logout], "{typ}");
        }
        for kind in [Kind::Id, Kind::Logout] {
            assert!(read(&token(r#"{"alg":"ES256"}"#), kind).is_ok(), "older providers write no typ");
        }
    }

    #[test]
    fn a_damaged_signed_token_is_no_opaque_one() {
        let signed = token(r#"{"alg":"ES256"}"#);
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
        for token in [
            &signed,
            &signed.replacen('.', "=.", 1),
            &format!("~{signed}"),
            &format!("{header}.e30"),
            &format!("{header}A.e30.AA"),
            &format!("{header}.e30.AA..."),
            &format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(r#"  {"enc":1}"#)),
            &format!("{}.e30.AA", URL_SAFE_NO_PAD.encode("{broken")),
            &header,
        ] {
            assert!(is_signed(token), "{token}");
        }
        let encrypted = URL_SAFE_NO_PAD.encode(r#"{"alg":"dir","enc":"A256GCM"}"#);
        for token in ["", "2YotnFZFEjr1zCsicMWpAA", "ya29.a0Af_x", "a.b.c", &format!("{encrypted}..AA.AA.AA")] {
            assert!(!is_signed(token), "{token}");
            assert_eq!(unverified_claims(token), None);
        }
    }

    #[test]
    fn what_is_not_a_plain_signed_token_is_refused_with_its_reason() {
        let long = "a".repeat(MAX_BYTES + 1);
        let good = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
        let parts = Error::Malformed("it has not three parts");
        let encoding = Error::Malformed("a part is not base64url");
        let object = Error::Malformed("its header is not a JSON object without repeated names");
        let algorithm = Error::Malformed("its header names no algorithm");
        let kid = Error::Malformed("its key id is not a string");
        let nested = Error::Malformed("it holds another token");
        let cases = [
            (long.as_str(), &Error::TooLong),
            ("", &parts),
            (&format!("{good}.e30"), &parts),
            (&format!("{good}.e30.AA.AA"), &parts),
            (&format!("{good}.e30.AA.AA.AA"), &parts),
            (&format!("{good}.e30."), &Error::Malformed("it is not signed")),
            (&format!("{good}=.e30.AA"), &encoding),
            (&format!("{good}.e30=.AA"), &encoding),
            (&format!("{good}.e30.AB"), &encoding),
            (&format!("{good}.jürgen.AA"), &encoding),
            (".e30.AA", &object),
            (&token("[]"), &object),
            (&token(r#"{"alg":"RS256","alg":"none"}"#), &object),
            (&token("{}"), &algorithm),
            (&token(r#"{"alg":5}"#), &algorithm),
            (&token(r#"{"alg":"none"}"#), &Error::Algorithm),
            (&token(r#"{"alg":"ES512"}"#), &Error::Algorithm),
            (&token(r#"{"alg":"RS256","kid":1}"#), &kid),
            (&token(r#"{"alg":"RS256","kid":null}"#), &kid),
            (&token(r#"{"alg":"RS256","cty":"JWT"}"#), &nested),
            (&token(r#"{"alg":"RS256","cty":null}"#), &nested),
            (&token(r#"{"alg":"RS256","crit":["exp"]}"#), &Error::Critical),
            (&token(r#"{"alg":"RS256","crit":[]}"#), &Error::Critical),
            (&token(r#"{"alg":"RS256","b64":false,"crit":["b64"]}"#), &Error::Critical),
        ];
        for (token, error) in cases {
            assert_eq!(read(token, Kind::Bearer).as_ref(), Err(error), "{token:.60}");
        }
    }
}
