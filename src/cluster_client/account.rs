//! The credential of the administrator's account, which may change while the process runs.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How long a secret is used before its file is read again.
const FILE_INTERVAL: Duration = Duration::from_secs(1);
/// How long after a 401 nothing is sent with the administrator's credential: each attempt would cost the cluster a hash.
const PAUSE_AFTER_REJECTION: Duration = Duration::from_secs(5);

/// The account with which elastauth manages users.
#[derive(Clone, Debug)]
pub struct Account {
    /// How the secret is sent.
    pub scheme: Scheme,
    /// The password, the key or the token.
    pub secret: SecretString,
    /// The file that the secret came from, if one did: it is read again every second in use, and after a 401.
    pub file: Option<PathBuf>,
}

/// The scheme of the `Authorization` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A username, with the secret as its password (RFC 7617).
    Basic {
        /// The name of the user of the cluster that elastauth works as.
        username: String,
    },
    /// The secret is `id:key`, or the base64 form of it.
    ApiKey,
    /// The secret is a service account's token, or an access token.
    Bearer,
}

/// RFC 7617 §2, marked as sensitive so that it is not printed. None where a header cannot hold it, which is never, as base64
/// fits.
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

/// Whether the file had another secret than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refreshed {
    Same,
    Changed,
}

/// The credential that is used at present.
pub(super) struct Administrator {
    scheme: Scheme,
    file: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    secret: SecretString,
    read_at: Instant,
    paused_until: Option<Instant>,
}

impl Administrator {
    pub(super) fn new(account: Account) -> Self {
        let Account { scheme, secret, file } = account;
        let state = Mutex::new(State { secret, read_at: Instant::now(), paused_until: None });
        Self { scheme, file, state }
    }

    fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The `Authorization` header, unless the cluster rejected the credential a moment ago.
    pub(super) async fn header(&self) -> Result<HeaderValue, String> {
        if self.state().read_at.elapsed() >= FILE_INTERVAL {
            self.refresh().await;
        }
        let state = self.state();
        if state.paused_until.is_some_and(|until| Instant::now() < until) {
            return Err("the administrator's account was rejected a moment ago".into());
        }
        self.scheme.header(&state.secret).ok_or_else(|| "the administrator's secret does not fit into a header".into())
    }

    /// To be called after a 401.
    pub(super) fn rejected(&self) {
        self.state().paused_until = Some(Instant::now() + PAUSE_AFTER_REJECTION);
    }

    /// Reads the file, if there is one. A file that cannot be read, or is empty, changes nothing.
    pub(super) async fn refresh(&self) -> Refreshed {
        self.state().read_at = Instant::now();
        let Some(path) = self.file.clone() else { return Refreshed::Same };
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        let text = match read {
            Ok(Ok(text)) => Zeroizing::new(text),
            Ok(Err(error)) => {
                tracing::warn!(%error, "The file with the administrator's secret cannot be read: the last secret stays in use");
                return Refreshed::Same;
            }
            Err(_panicked) => return Refreshed::Same,
        };
        let text = text.trim_end_matches(['\r', '\n']);
        let mut state = self.state();
        if text.is_empty() || text == state.secret.expose_secret() {
            return Refreshed::Same;
        }
        state.secret = text.to_owned().into();
        state.paused_until = None;
        tracing::info!("The administrator's secret has changed: the new one is used from now on");
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

    /// Requirement 33: a username with a password, an API key, or a token.
    #[test]
    fn each_scheme_has_its_header() {
        let basic = Scheme::Basic { username: "provisioner".into() };
        assert_eq!(shown(&basic, "p:w"), format!("Basic {}", STANDARD.encode("provisioner:p:w")));
        assert_eq!(shown(&Scheme::ApiKey, "id:key"), "ApiKey aWQ6a2V5");
        assert_eq!(shown(&Scheme::ApiKey, "aWQ6a2V5"), "ApiKey aWQ6a2V5");
        assert_eq!(shown(&Scheme::Bearer, "AAEAAW"), "Bearer AAEAAW");
        assert!(Scheme::Bearer.header(&"a\nb".to_owned().into()).is_none());
    }

    /// Requirement 33: the secret in a file may be exchanged.
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
