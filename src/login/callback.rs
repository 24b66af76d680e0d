//! Reads what the provider sends the browser back with (RFC 6749 §4.1.2, RFC 9207).

use std::borrow::Cow;

use secrecy::SecretString;
use url::form_urlencoded;

use super::attempt::State;
use crate::printable::printable;

/// The most bytes of a query that are read. Codes of some providers have about 2,000.
const LONGEST_QUERY: usize = 16 * 1024;

/// The most characters of a provider's error that are shown, and of its description.
const ERROR_SHOWN: usize = 64;
const DESCRIPTION_SHOWN: usize = 300;

/// The parameters of a callback, nothing of it verified but its form.
#[derive(Clone, Debug)]
pub struct Callback {
    /// Which attempt of this browser it answers.
    pub state: State,
    /// What the provider says.
    pub answer: Answer,
    issuer: Option<String>,
}

/// What the provider says at the end of a login.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A code, to be exchanged for tokens.
    Code(SecretString),
    /// That there is no login (RFC 6749 §4.1.2.1), bounded and safe to show. Both texts may be anybody's until the state was found
    /// in a cookie of this browser.
    Error {
        /// Such as `access_denied`.
        error: String,
        /// `error_description`
        description: Option<String>,
    },
}

/// The query is no callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCallback {
    /// It is longer than any provider's.
    #[error("the query of the callback is too long")]
    TooLong,
    /// Which of two values the provider sent cannot be told (RFC 6749 §3.1).
    #[error("the callback has the parameter {0} twice")]
    Repeated(&'static str),
    /// Some other page than the provider's made it, or the provider has forgotten the state.
    #[error("the callback has no state, or one that elastauth does not make")]
    State,
    /// A code has visible ASCII characters only (RFC 6749 §A.11).
    #[error("the code in the callback has characters that no code has")]
    Code,
    /// There is either a code or an error.
    #[error("the callback has neither a code nor an error, or both")]
    Neither,
}

/// The answer is of another provider, or does not say whose it is although this provider says so: a mix-up (RFC 9207 §2.4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherIssuer {
    /// `iss` is another.
    #[error("the callback comes from {0}, another provider than the one that was asked")]
    Is(String),
    /// There is no `iss`.
    #[error("the callback does not name the provider (iss), which this provider announces that it does")]
    Missing,
}

impl Callback {
    /// Reads the query. Parameters that are not known are ignored, as RFC 6749 §4.1.2 asks for.
    pub fn read(query: &[u8]) -> Result<Self, NoCallback> {
        if query.len() > LONGEST_QUERY {
            return Err(NoCallback::TooLong);
        }
        let [mut code, mut state, mut iss, mut error, mut description] = [const { None::<Cow<'_, str>> }; 5];
        for (name, value) in form_urlencoded::parse(query) {
            let (place, name) = match &*name {
                "code" => (&mut code, "code"),
                "state" => (&mut state, "state"),
                "iss" => (&mut iss, "iss"),
                "error" => (&mut error, "error"),
                "error_description" => (&mut description, "error_description"),
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(NoCallback::Repeated(name));
            }
        }
        let state = state.as_deref().and_then(State::parse).ok_or(NoCallback::State)?;
        let answer = match (code, error) {
            (Some(code), None) if code.is_empty() || !code.bytes().all(|b| (b' '..=b'~').contains(&b)) => {
                return Err(NoCallback::Code);
            }
            (Some(code), None) => Answer::Code(code.into_owned().into()),
            (None, Some(error)) => Answer::Error {
                error: shown(&error, ERROR_SHOWN),
                description: description.map(|text| shown(&text, DESCRIPTION_SHOWN)).filter(|text| !text.is_empty()),
            },
            (None, None) | (Some(_), Some(_)) => return Err(NoCallback::Neither),
        };
        Ok(Self { state, answer, issuer: iss.map(Cow::into_owned) })
    }

    /// Whether it is this issuer's answer, compared to the letter. `names_itself`: the provider announces that it always sends
    /// `iss`.
    pub fn is_of(&self, issuer: &str, names_itself: bool) -> Result<(), OtherIssuer> {
        match &self.issuer {
            Some(named) if named == issuer => Ok(()),
            Some(other) => Err(OtherIssuer::Is(shown(other, DESCRIPTION_SHOWN))),
            None if names_itself => Err(OtherIssuer::Missing),
            None => Ok(()),
        }
    }
}

fn shown(text: &str, most: usize) -> String {
    let bounded: String = text.trim().chars().take(most).collect();
    printable(&bounded).into_owned()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const STATE: &str = "state=0123456789abcdef0123456789abcdef";
    const ISSUER: &str = "https://id.example.org";

    fn read(more: &str) -> Result<Callback, NoCallback> {
        Callback::read(format!("{STATE}&{more}").as_bytes())
    }

    fn outcome(more: &str) -> String {
        match read(more).map(|callback| callback.answer) {
            Ok(Answer::Code(code)) => format!("code {}", code.expose_secret()),
            Ok(Answer::Error { error, description }) => format!("error {error} {description:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_callback_has_a_code_or_an_error_and_each_once() {
        let long = format!("code={}", "x".repeat(4000));
        for (more, expected) in [
            ("code=abc", "code abc"),
            ("code=a%2Fb%2B%3D.-_~", "code a/b+=.-_~"),
            ("code=a&session_state=x&session_state=y&foo", "code a"),
            ("error=access_denied", "error access_denied None"),
            ("error=a&error_description=", "error a None"),
            ("error=access_denied&error_description=Not+today&error_uri=x", "error access_denied Some(\"Not today\")"),
            ("", "the callback has neither a code nor an error, or both"),
            ("code=a&error=b", "the callback has neither a code nor an error, or both"),
            ("code=", "the code in the callback has characters that no code has"),
            ("code=a%0d%0ab", "the code in the callback has characters that no code has"),
            ("code=%c3%a9", "the code in the callback has characters that no code has"),
            ("code=a&code=a", "the callback has the parameter code twice"),
            ("code=a&code=b", "the callback has the parameter code twice"),
            ("code=a&%63ode=b", "the callback has the parameter code twice"),
            ("code=a&state=1", "the callback has the parameter state twice"),
            ("code=a&iss=x&iss=x", "the callback has the parameter iss twice"),
            ("error=a&error=a", "the callback has the parameter error twice"),
            (
                "error=a&error_description=a&error_description=b",
                "the callback has the parameter error_description twice",
            ),
            (&long, &long.replace("code=", "code ")),
        ] {
            assert_eq!(outcome(more), expected, "{more}");
        }
        assert_eq!(outcome(&format!("code={}", "x".repeat(LONGEST_QUERY))), NoCallback::TooLong.to_string());
    }

    #[test]
    fn a_callback_without_a_state_of_ours_is_none() {
        for query in ["code=a", "code=a&state=", "code=a&state=abc", "code=a&State=x", "error=a", "", "=", "&&", "%"] {
            assert_eq!(Callback::read(query.as_bytes()).map(drop), Err(NoCallback::State), "{query}");
        }
        assert_eq!(read("code=a").unwrap().state.as_str(), &STATE[6..]);
    }

    #[test]
    fn what_the_provider_says_is_bounded_and_made_safe_to_show() {
        let script = "error=%3Cscript%3Ealert(1)%3C/script%3E&error_description=a%0d%0ab%1b%5b2J%e2%80%ae";
        assert_eq!(outcome(script), r#"error <script>alert(1)</script> Some("a\\r\\nb\\u001b[2J\\u202e")"#);
        let Answer::Error { error, description } =
            read(&format!("error={0}&error_description={0}", "%c3%a9".repeat(1000))).unwrap().answer
        else {
            panic!("an error")
        };
        assert_eq!((error.chars().count(), description.unwrap().chars().count()), (ERROR_SHOWN, DESCRIPTION_SHOWN));
    }

    #[test]
    fn the_answer_of_another_provider_is_a_mix_up() {
        for (iss, names_itself, expected) in [
            (Some(ISSUER), true, Ok(())),
            (Some(ISSUER), false, Ok(())),
            (None, false, Ok(())),
            (None, true, Err(OtherIssuer::Missing)),
            (Some(""), false, Err(OtherIssuer::Is(String::new()))),
            (Some("https://id.example.org/"), false, Err(OtherIssuer::Is("https://id.example.org/".into()))),
            (Some("https://evil.org"), false, Err(OtherIssuer::Is("https://evil.org".into()))),
            (Some("HTTPS://ID.EXAMPLE.ORG"), true, Err(OtherIssuer::Is("HTTPS://ID.EXAMPLE.ORG".into()))),
        ] {
            for answer in ["code=a", "error=b"] {
                let iss = iss.map(|iss| format!("&iss={iss}")).unwrap_or_default();
                let callback = read(&format!("{answer}{iss}")).unwrap();
                assert_eq!(callback.is_of(ISSUER, names_itself), expected, "{iss} {answer}");
            }
        }
    }

    #[test]
    fn a_code_is_never_shown() {
        assert!(!format!("{:?}", read("code=topsecret").unwrap()).contains("topsecret"));
    }
}
