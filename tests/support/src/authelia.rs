//! A stand-in for Authelia's endpoint for Envoy (`/api/authz/ext-authz/`): a session cookie names the user, and without one it
//! redirects to the portal.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The address of the portal where users log in.
pub const PORTAL: &str = "https://auth.example.org/";

/// A running stand-in; dropping it ends it.
pub struct Authelia {
    /// The address to connect to, as `127.0.0.1:port`.
    pub address: String,
    asked: Asked,
    task: JoinHandle<()>,
}

/// The headers of each request.
type Asked = Arc<Mutex<Vec<HeaderMap>>>;

impl Drop for Authelia {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Authelia {
    /// Starts the stand-in on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Asked::default();
        let router = Router::new().fallback(authorize).with_state(Arc::clone(&asked));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, asked, task }
    }

    /// The headers of each request so far.
    #[must_use]
    pub fn asked(&self) -> Vec<HeaderMap> {
        self.asked.lock().unwrap().clone()
    }
}

/// The session is `authelia_session=USER:GROUPS`. A user without groups gets no header of groups, as with Authelia itself, so
/// that one that the client sent would stay.
async fn authorize(State(asked): State<Asked>, uri: Uri, headers: HeaderMap) -> Response {
    asked.lock().unwrap().push(headers.clone());
    assert!(uri.path().starts_with("/api/authz/ext-authz/"), "{uri}");
    assert_eq!(headers["x-forwarded-proto"], "http", "the portal would not find back");
    let cookie = headers.get("cookie").and_then(|value| value.to_str().ok()?.strip_prefix("authelia_session="));
    let Some((user, groups)) = cookie.and_then(|session| session.split_once(':')) else {
        return (StatusCode::FOUND, [("location", PORTAL)]).into_response();
    };
    let named = [
        ("remote-user", user.to_owned()),
        ("remote-groups", groups.to_owned()),
        ("remote-name", format!("{user} of Authelia")),
        ("remote-email", format!("{user}@example.org")),
        ("set-cookie", "authelia_session=renewed".to_owned()),
    ];
    let named = named.into_iter().filter(|(_, value)| !value.is_empty());
    let named = named.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
    (StatusCode::OK, named.collect::<HeaderMap>()).into_response()
}
