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
