//! The commands of `WebDriver` (<https://www.w3.org/TR/webdriver2/>) that tests use.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

/// A session with a driver, that is, a browser which it started.
pub struct Session {
    url: String,
    http: reqwest::Client,
}

/// A part of a page, by the driver's name for it.
pub struct Element(String);

/// The name under which an element is in an answer (`WebDriver` §12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Session {
    /// Starts a browser with these capabilities; returns those that it has.
    pub async fn start(driver: &str, wanted: Value) -> (Self, Value) {
        // commands take as long as pages and scripts do
        let http = crate::http_patient(Duration::from_secs(120));
        let driver = Self { url: driver.to_owned(), http };
        let started = driver.post("/session", json!({ "capabilities": { "alwaysMatch": wanted } })).await;
        let url = format!("{}/session/{}", driver.url, started["sessionId"].as_str().unwrap());
        (Self { url, ..driver }, started["capabilities"].clone())
    }

    /// The value of a command; its error, such as `no such element`.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, String> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let good = answer.status().is_success();
        let value = answer.json::<Value>().await.map_err(|error| error.to_string())?["value"].take();
        if good { Ok(value) } else { Err(format!("{}: {}", value["error"], value["message"])) }
    }

    /// The value of a command without arguments, which must succeed.
    pub async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, None).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The value of a command with arguments, which must succeed.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.ask(Method::POST, path, Some(body)).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A command that removes something, which must succeed.
    pub async fn delete(&self, path: &str) {
        self.ask(Method::DELETE, path, None).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// The first part of the page that this CSS selector finds.
    pub async fn find(&self, css: &str) -> Option<Element> {
        let found = self.ask(Method::POST, "/element", Some(json!({ "using": "css selector", "value": css }))).await;
        Some(Element(found.ok()?[ELEMENT].as_str().unwrap().to_owned()))
    }

    /// The text of a part that a person sees; `None` if the page is another one by now.
    pub async fn text(&self, element: &Element) -> Option<String> {
        let text = self.ask(Method::GET, &format!("/element/{}/text", element.0), None).await;
        Some(text.ok()?.as_str().unwrap().to_owned())
    }

    /// Whether the page still has this part.
    pub async fn is_there(&self, element: &Element) -> bool {
        self.ask(Method::GET, &format!("/element/{}/name", element.0), None).await.is_ok()
    }

    /// Clicks on a part.
    pub async fn click(&self, element: &Element) {
        self.post(&format!("/element/{}/click", element.0), json!({})).await;
    }

    /// Replaces the text of a field.
    pub async fn fill(&self, element: &Element, text: &str) {
        self.post(&format!("/element/{}/clear", element.0), json!({})).await;
        self.post(&format!("/element/{}/value", element.0), json!({ "text": text })).await;
    }
}
