//! A real browser for tests: Chromium without a window, steered by chromedriver.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use thirtyfour::error::WebDriverResult;
use thirtyfour::prelude::{By, DesiredCapabilities, WebDriver, WebElement};
use thirtyfour::{CapabilitiesHelper as _, ChromiumLikeCapabilities as _};
pub use thirtyfour::{Cookie, WindowHandle};

use crate::process::{PATIENCE, Process, free_port, run};
use crate::servers::{optional_tool, root};

/// A running browser with a fresh profile and one tab; dropping it ends it. Every name below `example.org` and `example.test` is
/// this machine for it, and it takes every certificate.
pub struct Chromium {
    driver: Option<WebDriver>,
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

impl Chromium {
    /// Starts a browser; `None` where it is not installed.
    pub async fn start() -> Option<Self> {
        let (browser, driver) = (optional_tool("chromium")?, optional_tool("chromedriver")?);
        let profile = tempfile::tempdir().unwrap();
        let port = free_port();
        let process = Process::start("chromedriver", Command::new(driver).arg(format!("--port={port}")));
        process.wait_for_line(0, &["was started successfully"]);
        let mut wanted = DesiredCapabilities::chrome();
        wanted.set_binary(browser.to_str().unwrap()).unwrap();
        wanted.accept_insecure_certs(true).unwrap();
        for argument in [
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
        ] {
            wanted.add_arg(argument).unwrap();
        }
        // the client of the driver needs the process's cryptography
        drop(crate::http());
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted).await.unwrap();
        let browser = driver.capabilities().get("goog:processID").unwrap().as_u64().unwrap();
        Some(Self { driver: Some(driver), browser, _chromedriver: process, _profile: profile })
    }

    /// Everything that WebDriver offers.
    pub fn driver(&self) -> &WebDriver {
        self.driver.as_ref().unwrap()
    }

    /// Opens an address in this tab, as a person who types it, and waits until its page is there.
    pub async fn open(&self, url: &str) {
        self.driver().goto(url).await.unwrap();
    }

    /// The address of the page in this tab.
    pub async fn url(&self) -> String {
        self.driver().current_url().await.unwrap().into()
    }

    /// The text of the page that a person sees.
    pub async fn text(&self) -> String {
        let body = self.driver().find(By::Css("body")).await;
        match body {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
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
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Clicks on a part of the page. The next page may not be there yet.
    pub async fn click(&self, css: &str) {
        self.part(css).await.click().await.unwrap();
    }

    async fn find(&self, css: &str) -> WebDriverResult<WebElement> {
        self.driver().find(By::Css(css)).await
    }

    /// The same, for a part that must be there.
    async fn part(&self, css: &str) -> WebElement {
        match self.find(css).await {
            Ok(part) => part,
            Err(error) => panic!("{css}: {error}\non {}:\n{}", self.url().await, self.text().await),
        }
    }

    /// Goes through the pages of the provider, which this tab shows, until they lead elsewhere: its login, and its question for
    /// consent.
    pub async fn log_in(&self, user: &str, password: &str) {
        let provider = origin(&self.url().await);
        for _page in 0..5 {
            if self.find("[name=password]").await.is_ok() {
                self.fill("[name=login], [name=username]", user).await;
                self.fill("[name=password]", password).await;
            }
            let button = self.part("[type=submit]").await;
            button.click().await.unwrap();
            // a click waits for the next page only if the way there begins at once
            let left = async || origin(&self.url().await) != provider;
            self.wait("next page", async || left().await || !button.is_present().await.unwrap()).await;
            self.wait("form of the provider's", async || left().await || self.find("[type=submit]").await.is_ok())
                .await;
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
        let answer = self.driver().execute_async(script, Vec::new()).await.unwrap().json().clone();
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
    pub async fn tab(&self) -> WindowHandle {
        self.driver().window().await.unwrap()
    }

    /// All tabs.
    pub async fn tabs(&self) -> Vec<WindowHandle> {
        self.driver().windows().await.unwrap()
    }

    /// From now on everything is done in this tab.
    pub async fn switch(&self, tab: &WindowHandle) {
        self.driver().switch_to_window(tab.clone()).await.unwrap();
    }

    /// Opens an empty tab and switches to it.
    pub async fn new_tab(&self) -> WindowHandle {
        let tab = self.driver().new_tab().await.unwrap();
        self.switch(&tab).await;
        tab
    }

    /// Opens these addresses at once, each in a tab of its own, and returns the tabs; everything is still done in this one.
    pub async fn open_at_once(&self, urls: &[String]) -> Vec<WindowHandle> {
        let before = self.tabs().await;
        let urls = Value::from(urls.to_vec());
        self.run(&format!("for (const url of {urls}) window.open(url, '_blank', 'noopener');")).await;
        let mut tabs = self.tabs().await;
        tabs.retain(|tab| !before.contains(tab));
        tabs
    }

    /// The cookies that the browser would send to the page of this tab, also those that scripts do not see.
    pub async fn cookies(&self) -> Vec<Cookie> {
        self.driver().get_all_cookies().await.unwrap()
    }

    /// Writes a picture of the page to `target/screenshots/NAME.png`, for people to look at.
    pub async fn screenshot(&self, name: &str) -> PathBuf {
        let folder = root().join("target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.png"));
        self.driver().screenshot(&file).await.unwrap();
        file
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // the driver's own end would wait for the browser, and a test that failed has no runtime to do it in
        let _ = self.driver.take().map(WebDriver::leak);
        let _ = run(Command::new("kill").args(["-KILL", &self.browser.to_string()]), "");
    }
}

fn origin(url: &str) -> String {
    url.parse::<reqwest::Url>().unwrap().origin().ascii_serialization()
}
