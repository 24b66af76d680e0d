//! The administrator's credential, which may be exchanged while the process runs.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Between two looks at the file.
const LOOK: Duration = Duration::from_secs(1);
/// After a 401 nothing is sent in the administrator's name for this long: each attempt would cost the cluster a hash.
const BARRED: Duration = Duration::from_secs(5);

/// Who the administrator is.
#[derive(Clone, Debug)]
pub struct Account {
    /// How it is shown.
    pub scheme: Scheme,
    /// The password, the key or the token.
    pub secret: SecretString,
    /// Where the secret came from, if a file: it is read again now and then, and after a 401.
    pub file: Option<PathBuf>,
}

/// How a credential is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A name, and the secret is its password.
    Basic {
        /// The name.
        username: String,
    },
    /// `id:key`, or the encoded form of it.
    ApiKey,
    /// A service account's token, or an access token.
    Bearer,
}

/// RFC 7617 §2, marked so that nobody prints it. None where a header cannot hold it: never, as base64 fits.
pub(super) fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    let pair = Zeroizing::new(format!("{username}:{password}"));
    sensitive("Basic", &STANDARD.encode(pair.as_bytes()))
}

fn sensitive(scheme: &str, value: &str) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("{scheme} {value}"));
    let mut header = HeaderValue::from_str(&text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

impl Scheme {
    fn header(&self, secret: &SecretString) -> Option<HeaderValue> {
        let secret = secret.expose_secret();
        match self {
            Self::Basic { username } => basic(username, secret),
            Self::ApiKey if secret.contains(':') => sensitive("ApiKey", &STANDARD.encode(secret)),
            Self::ApiKey => sensitive("ApiKey", secret),
            Self::Bearer => sensitive("Bearer", secret),
        }
    }
}

/// Whether a look at the file brought another secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refreshed {
    Same,
    Changed,
}

/// The credential in force.
pub(super) struct Administrator {
    scheme: Scheme,
    file: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    secret: SecretString,
    looked: Instant,
    barred_until: Option<Instant>,
}

impl Administrator {
    pub(super) fn new(account: Account) -> Self {
        let Account { scheme, secret, file } = account;
        let state = Mutex::new(State { secret, looked: Instant::now(), barred_until: None });
        Self { scheme, file, state }
    }

    fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The header, unless the server rejected it a moment ago.
    pub(super) async fn header(&self) -> Result<HeaderValue, String> {
        if self.state().looked.elapsed() >= LOOK {
            self.refresh().await;
        }
        let state = self.state();
        if state.barred_until.is_some_and(|until| Instant::now() < until) {
            return Err("the administrator's account was rejected a moment ago".into());
        }
        self.scheme.header(&state.secret).ok_or_else(|| "the administrator's secret does not fit into a header".into())
    }

    /// The server answered 401.
    pub(super) fn rejected(&self) {
        self.state().barred_until = Some(Instant::now() + BARRED);
    }

    /// Looks at the file, if there is one. A file that cannot be read, or is empty, changes nothing.
    pub(super) async fn refresh(&self) -> Refreshed {
        self.state().looked = Instant::now();
        let Some(path) = self.file.clone() else { return Refreshed::Same };
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        let text = match read {
            Ok(Ok(text)) => Zeroizing::new(text),
            Ok(Err(error)) => {
                tracing::warn!(%error, "The file with the administrator's secret cannot be read: the former one is used");
                return Refreshed::Same;
            }
            Err(_lost) => return Refreshed::Same,
        };
        let text = text.trim_end_matches(['\r', '\n']);
        let mut state = self.state();
        if text.is_empty() || text == state.secret.expose_secret() {
            return Refreshed::Same;
        }
        state.secret = text.to_owned().into();
        state.barred_until = None;
        tracing::info!("The administrator's secret was read anew");
        Refreshed::Changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(scheme: &Scheme, secret: &str) -> String {
        let header = scheme.header(&secret.to_owned().into()).unwrap();
        assert!(header.is_sensitive());
        header.to_str().unwrap().to_owned()
    }

    /// Requirement 33.
    #[test]
    fn each_scheme_has_its_header() {
        let basic = Scheme::Basic { username: "provisioner".into() };
        assert_eq!(shown(&basic, "p:w"), format!("Basic {}", STANDARD.encode("provisioner:p:w")));
        assert_eq!(shown(&Scheme::ApiKey, "id:key"), "ApiKey aWQ6a2V5");
        assert_eq!(shown(&Scheme::ApiKey, "aWQ6a2V5"), "ApiKey aWQ6a2V5");
        assert_eq!(shown(&Scheme::Bearer, "AAEAAW"), "Bearer AAEAAW");
        assert!(Scheme::Bearer.header(&"a\nb".to_owned().into()).is_none());
    }

    /// Requirement 33.
    #[tokio::test]
    async fn a_changed_file_is_taken_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "one\n").unwrap();
        let account = Account { scheme: Scheme::Bearer, secret: "one".to_owned().into(), file: Some(file.clone()) };
        let administrator = Administrator::new(account);
        assert_eq!(administrator.refresh().await, Refreshed::Same);
        std::fs::write(&file, "two\r\n").unwrap();
        administrator.rejected();
        assert!(administrator.header().await.is_err());
        assert_eq!(administrator.refresh().await, Refreshed::Changed);
        assert_eq!(administrator.header().await.unwrap(), "Bearer two", "and what was rejected is forgotten");
        std::fs::write(&file, "").unwrap();
        assert_eq!(administrator.refresh().await, Refreshed::Same);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(administrator.refresh().await, Refreshed::Same);
        assert_eq!(administrator.header().await.unwrap(), "Bearer two");
    }
}
