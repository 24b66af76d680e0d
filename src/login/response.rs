//! What elastauth answers itself, instead of letting a request through or only refusing it.

use serde_json::{Value, json};

/// An answer to a browser or another client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, and values without control characters. A name may repeat, as `set-cookie` does.
    pub headers: Vec<(&'static str, String)>,
    /// The body; its type is among the headers.
    pub body: String,
}

impl Response {
    /// An answer without a body, which is not to be kept by anybody.
    #[must_use]
    pub fn new(status: u16) -> Self {
        Self { status, headers: vec![("cache-control", "no-store".to_owned())], body: String::new() }
    }

    /// Sends a browser elsewhere: 302 after a GET, 303 after anything else (RFC 9110 §15.4.4). `location` is in visible ASCII
    /// characters, as `Url` and `ReturnPath` are.
    #[must_use]
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::new(status).with("location", location)
    }

    /// An answer in JSON.
    #[must_use]
    pub fn json(status: u16, value: &Value) -> Self {
        Self { body: value.to_string(), ..Self::new(status).with("content-type", "application/json") }
            .with("x-content-type-options", "nosniff")
    }

    /// What programs get where a person gets a page. `reason` is the stable name of the reason, `message` one constant text.
    #[must_use]
    pub fn error(status: u16, reason: &str, message: &str, request_id: &str) -> Self {
        let mut error = json!({ "error": reason, "message": message });
        if !request_id.is_empty() {
            error["request_id"] = request_id.into();
        }
        Self::json(status, &error)
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same with these cookies, each a value of `Set-Cookie`.
    #[must_use]
    pub fn with_cookies(mut self, cookies: impl IntoIterator<Item = String>) -> Self {
        self.headers.extend(cookies.into_iter().map(|cookie| ("set-cookie", cookie)));
        self
    }
}
