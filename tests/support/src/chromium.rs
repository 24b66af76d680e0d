//! A real browser for tests: Chromium without a window, steered by chromedriver.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{PATIENCE, Process, free_port, run};
use crate::servers::{optional_tool, root};
use crate::webdriver::{Element, Session};

/// A running browser with a fresh profile and one tab; dropping it ends it. Every name below `example.org` and `example.test` is
/// this machine for it, and it takes every certificate.
pub struct Chromium {
    session: Session,
    browser: u64,
    _chromedriver: Process,
    _profile: TempDir,
}

/// What a script of a page got from a request.
#[derive(Debug)]
pub struct Fetched {
    /// The status of the answer; 0 where the browser refused to show it.
    pub status: u16,
    /// Where the answer came from at last.
    pub url: String,
    /// `content-type` of the answer.
    pub kind: String,
    /// Its body.
    pub body: String,
}

/// A tab, by the driver's name for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab(String);

impl Chromium {
    /// Starts a browser; `None` where it is not installed.
    pub async fn start() -> Option<Self> {
        let (browser, driver) = (optional_tool("chromium")?, optional_tool("chromedriver")?);
        let profile = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = Process::start("chromedriver", Command::new(driver).arg(format!("--port={port}")));
        process.wait_for_line(0, &["was started successfully"]);
        let arguments = [
            "--headless",
            // it only visits servers of the tests, and root has no other choice
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-proxy-server",
            "--disable-background-networking",
            "--disable-component-update",
            "--window-size=1000,700",
            "--host-resolver-rules=MAP *.example.org 127.0.0.1, MAP *.example.test 127.0.0.1",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted =
            json!({ "acceptInsecureCerts": true, "goog:chromeOptions": { "binary": browser, "args": arguments } });
        let (session, got) = Session::start(&format!("http://127.0.0.1:{port}"), wanted).await;
        let browser = got["goog:processID"].as_u64().unwrap();
        Some(Self { session, browser, _chromedriver: process, _profile: profile })
    }

    /// Opens an address in this tab, as a person who types it, and waits until its page is there.
    pub async fn open(&self, url: &str) {
        self.session.post("/url", json!({ "url": url })).await;
    }

    /// The address of the page in this tab.
    pub async fn url(&self) -> String {
        self.session.get("/url").await.as_str().unwrap().to_owned()
    }

    /// Loads the page of this tab again, as a person who reloads it.
    pub async fn reload(&self) {
        self.session.post("/refresh", json!({})).await;
    }

    /// Goes to the page before, as a person who uses the back button.
    pub async fn back(&self) {
        self.session.post("/back", json!({})).await;
    }

    /// The text of the page that a person sees.
    pub async fn text(&self) -> String {
        match self.session.find("body").await {
            Some(body) => self.session.text(&body).await.unwrap_or_default(),
            None => String::new(),
        }
    }

    /// Whether the page has such a part.
    pub async fn has(&self, css: &str) -> bool {
        self.session.find(css).await.is_some()
    }

    /// Waits until the page in this tab contains this text.
    pub async fn wait_for(&self, text: &str) {
        self.wait(&format!("{text} on the page"), async || self.text().await.contains(text)).await;
    }

    /// Waits until the address of this tab begins like this, and returns it.
    pub async fn wait_at(&self, start: &str) -> String {
        self.wait(&format!("a page at {start}"), async || self.url().await.starts_with(start)).await;
        self.url().await
    }

    /// Waits until this is true; if it does not become true, the failure shows the page.
    async fn wait(&self, what: &str, ask: impl AsyncFn() -> bool) {
        let ends = Instant::now() + PATIENCE;
        while !ask().await {
            assert!(Instant::now() < ends, "no {what} in time; on {}:\n{}", self.url().await, self.text().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Fills a field of the page.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.part(css).await;
        self.session.fill(&field, text).await;
    }

    /// Clicks on a part of the page. The next page may not be there yet.
    pub async fn click(&self, css: &str) {
        self.session.click(&self.part(css).await).await;
    }

    /// A part of the page that must be there.
    async fn part(&self, css: &str) -> Element {
        match self.session.find(css).await {
            Some(part) => part,
            None => panic!("no {css} on {}:\n{}", self.url().await, self.text().await),
        }
    }

    /// Goes through the pages of the provider, which this tab shows, until they lead elsewhere: its login, and its question for
    /// consent.
    pub async fn log_in(&self, user: &str, password: &str) {
        let provider = origin(&self.url().await);
        for _page in 0..5 {
            if self.has("[name=password]").await {
                self.fill("[name=login], [name=username]", user).await;
                self.fill("[name=password]", password).await;
            }
            let button = self.part("[type=submit]").await;
            self.session.click(&button).await;
            // a click waits for the next page only if the way there begins at once
            let left = async || origin(&self.url().await) != provider;
            self.wait("next page", async || left().await || !self.session.is_there(&button).await).await;
            self.wait("form of the provider's", async || left().await || self.has("[type=submit]").await).await;
            if left().await {
                return;
            }
        }
        panic!("the login of {user} does not end: {}\n{}", self.url().await, self.text().await);
    }

    /// Runs a script in the page, the body of an async function, and returns what it returns.
    pub async fn run(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async () => {{ {script} }})().then((value) => done({{ value: value ?? null }}), (error) => done({{ error: `${{error}}` }}));"
        );
        let answer = self.session.post("/execute/async", json!({ "script": script, "args": [] })).await;
        assert!(answer["error"].is_null(), "{answer}");
        answer["value"].clone()
    }

    /// Sends a request as a script of the page does; `arguments` are those of JavaScript's `fetch`.
    pub async fn fetch(&self, arguments: &str) -> Fetched {
        let script = format!(
            "const answer = await fetch({arguments}).catch(() => null);
             if (!answer) return {{ status: 0, url: '', kind: '', body: '' }};
             return {{ status: answer.status, url: answer.url, kind: answer.headers.get('content-type') ?? '', body: await answer.text() }};"
        );
        let got = self.run(&script).await;
        let text = |name: &str| got[name].as_str().unwrap().to_owned();
        let status = u16::try_from(got["status"].as_u64().unwrap()).unwrap();
        Fetched { status, url: text("url"), kind: text("kind"), body: text("body") }
    }

    /// This tab, to come back to.
    pub async fn tab(&self) -> Tab {
        Tab(self.session.get("/window").await.as_str().unwrap().to_owned())
    }

    /// All tabs.
    pub async fn tabs(&self) -> Vec<Tab> {
        let all = self.session.get("/window/handles").await;
        all.as_array().unwrap().iter().map(|tab| Tab(tab.as_str().unwrap().to_owned())).collect()
    }

    /// From now on everything is done in this tab.
    pub async fn switch(&self, tab: &Tab) {
        self.session.post("/window", json!({ "handle": tab.0 })).await;
    }

    /// Opens an empty tab and switches to it.
    pub async fn new_tab(&self) -> Tab {
        let new = self.session.post("/window/new", json!({ "type": "tab" })).await;
        let tab = Tab(new["handle"].as_str().unwrap().to_owned());
        self.switch(&tab).await;
        tab
    }

    /// Opens these addresses at once, each in a tab of its own, and returns the tabs; everything is still done in this one.
    pub async fn open_at_once(&self, urls: &[String]) -> Vec<Tab> {
        let before = self.tabs().await;
        let urls = Value::from(urls.to_vec());
        self.run(&format!("for (const url of {urls}) window.open(url, '_blank', 'noopener');")).await;
        let mut tabs = self.tabs().await;
        tabs.retain(|tab| !before.contains(tab));
        tabs
    }

    /// The cookies that the browser would send to the page of this tab, also those that scripts do not see: objects with `name`,
    /// `value`, `path`, `secure`, `httpOnly`, `sameSite` and, unless they end with the browser, `expiry`.
    pub async fn cookies(&self) -> Vec<Value> {
        self.session.get("/cookie").await.as_array().unwrap().clone()
    }

    /// Sets a cookie for the page of this tab, as an attacker who could.
    pub async fn set_cookie(&self, cookie: Value) {
        self.session.post("/cookie", json!({ "cookie": cookie })).await;
    }

    /// Forgets the cookies of the page's host.
    pub async fn forget_cookies(&self) {
        self.session.delete("/cookie").await;
    }

    /// Writes a picture of the page to `target/screenshots/NAME.png`, for people to look at.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let folder = root().join("target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        let picture = self.session.get("/screenshot").await;
        std::fs::write(&file, STANDARD.decode(picture.as_str().unwrap()).unwrap()).unwrap();
        file
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // the driver, which is killed next, would leave it behind
        let _ = run(Command::new("kill").args(["-KILL", &self.browser.to_string()]), "");
    }
}

fn origin(url: &str) -> String {
    url.parse::<reqwest::Url>().unwrap().origin().ascii_serialization()
}
