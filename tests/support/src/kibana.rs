//! A stand-in for Kibana behind Envoy: a page that shows who is logged in, which asks Elasticsearch for that with the credential
//! of the request, as Kibana does.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request that reached it.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The method.
    pub method: String,
    /// The path with the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
}

struct Shared {
    elasticsearch: String,
    logout: String,
    http: reqwest::Client,
    arrived: Mutex<Vec<Arrived>>,
}

/// A running stand-in; dropping it ends it.
pub struct Kibana {
    /// The address to connect to, as `127.0.0.1:port`.
    pub address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Kibana {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Kibana {
    /// Starts it in front of this Elasticsearch. `logout` is where its button leads.
    pub async fn start(elasticsearch: &str, logout: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (elasticsearch, logout) = (elasticsearch.to_owned(), logout.to_owned());
        let shared = Arc::new(Shared { elasticsearch, logout, http: crate::http(), arrived: Mutex::default() });
        let router = Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    /// Every request so far.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arrived> {
        self.shared.arrived.lock().unwrap().clone()
    }
}

/// A page for whoever accepts HTML, and JSON for others: who asks, with which roles, and where.
async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (method, path, headers) = (request.method().to_string(), request.uri().to_string(), request.headers().clone());
    if path == "/favicon.ico" {
        return StatusCode::NO_CONTENT.into_response();
    }
    shared.arrived.lock().unwrap().push(Arrived {
        method: method.clone(),
        path: path.clone(),
        headers: headers.clone(),
    });
    let mut ask = shared.http.get(format!("{}/_security/_authenticate", shared.elasticsearch));
    if let Some(credential) = headers.get(AUTHORIZATION) {
        ask = ask.header(AUTHORIZATION, credential);
    }
    let answer = ask.send().await.unwrap();
    if !answer.status().is_success() {
        // as Elasticsearch does, and with it a Kibana that passes on its answers
        let challenge = [(WWW_AUTHENTICATE, "Basic realm=\"security\" charset=\"UTF-8\"")];
        return (StatusCode::UNAUTHORIZED, challenge, "unable to authenticate user").into_response();
    }
    let user: Value = answer.json().await.unwrap();
    let who = json!({ "username": user["username"], "roles": user["roles"], "method": method, "path": path });
    let html =
        headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("text/html"));
    if html {
        ([(CONTENT_TYPE, "text/html; charset=utf-8")], page(&who, &shared.logout)).into_response()
    } else {
        ([(CONTENT_TYPE, "application/json")], who.to_string()).into_response()
    }
}

fn page(who: &Value, logout: &str) -> String {
    let escaped = |value: &Value| value.as_str().unwrap_or_default().replace('&', "&amp;").replace('<', "&lt;");
    let roles: Vec<_> = who["roles"].as_array().unwrap().iter().map(escaped).collect();
    let roles = if roles.is_empty() { String::new() } else { format!("<li>{}</li>", roles.join("</li><li>")) };
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<title>Elasticsearch</title>
<meta name="viewport" content="width=device-width">
<style>
  :root {{ color-scheme: light dark; font: 1.1rem/1.5 system-ui, sans-serif }}
  body {{ max-width: 34rem; margin: 4rem auto; padding: 0 1rem }}
  button, a.button {{ font: inherit; color: inherit; background: none; border: 1px solid; border-radius: .3rem; padding: .3rem .9rem; text-decoration: none }}
</style>
<h1>You are <span id="name">{}</span></h1>
<p>Elasticsearch knows you by this name, with these roles:</p>
<ul id="roles">{roles}</ul>
<p>You opened <code id="path">{}</code></p>
<p><button id="ask">Ask Elasticsearch again</button> <span id="answer"></span></p>
<p><a class="button" id="logout" href="{logout}">Log out</a></p>
<script>
  document.getElementById("ask").onclick = async () => {{
    const answer = await fetch("/api/who", {{ headers: {{ "kbn-xsrf": "true" }} }});
    const said = answer.ok ? (await answer.json()).username : `status ${{answer.status}}: reload this page to log in`;
    document.getElementById("answer").textContent = said;
  }};
</script>
"#,
        escaped(&who["username"]),
        escaped(&who["path"]),
    )
}
