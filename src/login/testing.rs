//! A site and settings for the unit tests of the login.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use url::Url;

use super::settings::{Settings, Site};
use super::token_endpoint::Endpoints;
use crate::credentials::seal::{self, Seal};

/// `https://kibana.example.org`
pub(crate) fn site() -> Site {
    Site { host: "kibana.example.org".into(), origin: "https://kibana.example.org".into() }
}

/// Another host of the same deployment.
pub(crate) fn other_site() -> Site {
    Site { host: "elastic.example.org:8443".into(), origin: "https://elastic.example.org:8443".into() }
}

/// The defaults, for both sites.
pub(crate) fn settings() -> Settings {
    Settings {
        hosts: vec![site(), other_site()],
        path: "/.elastauth".into(),
        issuer: 0,
        client_id: "kibana login".into(),
        scopes: vec!["openid".into(), "profile".into()],
        pkce: true,
        session_lifetime: Duration::from_secs(12 * 3600),
        idle_timeout: Duration::from_secs(3600),
        max_stale: Duration::from_secs(900),
        logout_paths: Vec::new(),
        after_logout: None,
    }
}

/// Endpoints of a provider whose authorization endpoint has a query of its own.
pub(crate) fn endpoints() -> Endpoints {
    Endpoints {
        authorization: Url::parse("https://id.example.org/authorize?tenant=a%26b").unwrap(),
        end_session: None,
        names_itself: false,
    }
}

/// Seals with a key of this byte.
pub(crate) fn seal(key: u8) -> Seal {
    let key = seal::Key::Given(Box::new([key; 32]).into());
    Seal::new(&seal::Settings { key, previous: Vec::new(), cluster: "c".into() }).unwrap()
}

/// So many seconds after a fixed moment.
pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}
