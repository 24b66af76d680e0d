//! The settings of the login: `login.*`, and what of `oidc.*` it uses.

use std::time::Duration;

use url::Url;

/// How people log in with a browser. There are none where `login.enabled` is off.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `login.hosts`: where visitors may log in. Required.
    pub hosts: Vec<Site>,
    /// `login.path`: below it elastauth answers itself on these hosts. Begins with `/` and does not end with it. Default
    /// `/.elastauth`.
    pub path: String,
    /// `login.issuer`: at which of the issuers people log in: its place in the list.
    pub issuer: usize,
    /// `oidc.client_id` of that issuer.
    pub client_id: String,
    /// `oidc.scopes`. Default `openid profile email`.
    pub scopes: Vec<String>,
    /// `oidc.use_pkce`. Default on.
    pub pkce: bool,
    /// `login.session_lifetime`: the absolute end of a session. Default 12 h.
    pub session_lifetime: Duration,
    /// `login.idle_timeout`: the end of a session without a request. Default 1 h.
    pub idle_timeout: Duration,
    /// `login.max_stale`: for how long after the end of its tokens a session is served while the provider does not answer.
    /// Default 15 min.
    pub max_stale: Duration,
    /// `login.logout_paths`: paths of the application that mean a logout. Default none.
    pub logout_paths: Vec<String>,
    /// `login.after_logout`: where browsers go after a logout. Default: a page of elastauth's.
    pub after_logout: Option<Url>,
}

impl Settings {
    /// Where the provider says that sessions have ended.
    #[must_use]
    pub fn back_channel_logout_path(&self) -> String {
        format!("{}/backchannel-logout", self.path)
    }
}

/// A host where people may log in, with the scheme that its visitors use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// As browsers name it in `Host`: in lower case, with the port unless it is the scheme's own.
    pub host: String,
    /// `https://` and the host, or `http://` and the host on this machine (`localhost`, for trials): what redirect URIs begin with.
    pub origin: String,
}
