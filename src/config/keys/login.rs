//! `login`: people log in with a browser.

use std::time::Duration;

use super::key::{key, section, unset};

section! {
    ENABLED: bool = key(
        "login.enabled",
        "false",
        "page loads without a session are sent to the provider to log in",
    );
    HOSTS: Vec<String> = unset(
        "login.hosts",
        "required; hosts whose visitors may log in, such as `kibana.example.org` or `kibana.example.org:8443`; `http://` before \
         it is for this machine only (`http://localhost:5601`)",
    );
    PATH: String = key(
        "login.path",
        "/.elastauth",
        "below this path elastauth answers itself on these hosts: `callback`, `login`, `logout`, `session`, \
         `backchannel-logout`",
    );
    ISSUER: Option<String> = key(
        "login.issuer",
        "the only one",
        "the `oidc.issuer` that people log in at, where `oidc` is a list",
    );
    SESSION_LIFETIME: Duration = key("login.session_lifetime", "12h", "longest life of a session");
    IDLE_TIMEOUT: Duration = key("login.idle_timeout", "1h", "a session without a request for so long ends");
    MAX_STALE: Option<Duration> = key(
        "login.max_stale",
        "15m",
        "how long a session is served after the end of its tokens while the provider does not answer; `0` for not at all",
    );
    LOGOUT_PATHS: Vec<String> = unset(
        "login.logout_paths",
        "paths of the application that mean a logout; Kibana: `/logout`, `/api/security/logout`",
    );
    AFTER_LOGOUT: Option<String> = key(
        "login.after_logout",
        "a page of elastauth's",
        "URL where browsers go after a logout; the provider must know it",
    );
}
