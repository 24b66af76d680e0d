//! A browser as far as a login needs one: it keeps cookies, follows redirects and fills in forms.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, Method, Url};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;

use crate::secrets;

/// The tokens that a login returns.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token, for the API.
    pub access: String,
    /// The ID token, for the client itself.
    pub id: String,
    /// The refresh token, which returns new tokens.
    pub refresh: String,
}

/// A client that is registered at a provider.
#[derive(Clone, Debug)]
pub struct OidcClient {
    /// The provider's issuer address.
    pub issuer: String,
    /// The `client_id` at the provider.
    pub id: &'static str,
    /// The address to which the provider redirects the browser; no process listens there.
    pub redirect_uri: &'static str,
}

enum Landed {
    Page(Url, String),
    Back(Url),
}

struct Browser<'a> {
    http: Client,
    cookies: BTreeMap<String, String>,
    client: &'a OidcClient,
}

impl OidcClient {
    /// Logs in as a user does: by the authorization code flow with PKCE (RFC 7636), through the provider's own pages.
    pub async fn log_in(&self, user: &str, password: &str) -> Tokens {
        let mut random = [0; 32];
        SystemRandom::new().fill(&mut random).unwrap();
        let verifier = URL_SAFE_NO_PAD.encode(random);
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let endpoint = self.endpoint("authorization_endpoint").await;
        let question = [
            ("response_type", "code"),
            ("client_id", self.id),
            ("redirect_uri", self.redirect_uri),
            ("scope", "openid profile email"),
            ("state", "as-sent"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let start = Url::parse_with_params(&endpoint, question).unwrap();
        let mut browser = Browser { http: crate::http(), cookies: BTreeMap::new(), client: self };
        let mut landed = browser.go(Method::GET, start, None).await;
        for _page in 0..5 {
            match landed {
                Landed::Back(url) => {
                    let answer: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
                    assert_eq!(answer["state"], "as-sent", "{url}");
                    let grant = [
                        ("grant_type", "authorization_code"),
                        ("code", answer["code"].as_str()),
                        ("redirect_uri", self.redirect_uri),
                        ("code_verifier", &verifier),
                    ];
                    return self.grant(&grant).await;
                }
                Landed::Page(url, page) => {
                    let (action, fields) = form(&page, user, password);
                    landed = browser.go(Method::POST, url.join(&action).unwrap(), Some(encode(&fields))).await;
                }
            }
        }
        panic!("the login of {user} does not end");
    }

    /// Exchanges a refresh token for new tokens.
    pub async fn refresh(&self, refresh_token: &str) -> Tokens {
        self.grant(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    async fn grant(&self, grant: &[(&str, &str)]) -> Tokens {
        let fields: Vec<_> =
            grant.iter().chain(&[("client_id", self.id)]).map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let request = crate::http().post(self.endpoint("token_endpoint").await).header("content-type", FORM);
        let answer = request.body(encode(&fields)).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let token = |name: &str| {
            let token = answer[name].as_str().unwrap_or_else(|| panic!("no {name}: {answer}"));
            secrets::keep_token(token);
            token.to_owned()
        };
        Tokens { access: token("access_token"), id: token("id_token"), refresh: token("refresh_token") }
    }

    async fn endpoint(&self, name: &str) -> String {
        let url = format!("{}/.well-known/openid-configuration", self.issuer);
        let document: Value = crate::http().get(url).send().await.unwrap().json().await.unwrap();
        document[name].as_str().unwrap().to_owned()
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

impl Browser<'_> {
    /// Follows redirects until there is a page, or until one leads back to the client.
    async fn go(&mut self, mut method: Method, mut url: Url, mut body: Option<String>) -> Landed {
        for _redirect in 0..10 {
            if url.as_str().starts_with(self.client.redirect_uri) {
                return Landed::Back(url);
            }
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut request = self.http.request(method, url.clone()).header("cookie", cookies.join("; "));
            if let Some(body) = body.take() {
                request = request.header("content-type", FORM).body(body);
            }
            let answer = request.send().await.unwrap();
            for cookie in answer.headers().get_all("set-cookie") {
                let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
            self.cookies.retain(|_, value| !value.is_empty());
            let Some(location) = answer.headers().get("location") else {
                let status = answer.status();
                let page = answer.text().await.unwrap();
                assert!(status.is_success(), "{status} from {url}: {page}");
                return Landed::Page(url, page);
            };
            (method, url) = (Method::GET, url.join(location.to_str().unwrap()).unwrap());
        }
        panic!("redirects without end, the last one to {url}");
    }
}

fn encode(fields: &[(String, String)]) -> String {
    Url::parse_with_params("http://form", fields).unwrap().query().unwrap().to_owned()
}

/// Fills in the page's form; returns the address to which it is sent, and its fields.
fn form(page: &str, user: &str, password: &str) -> (String, Vec<(String, String)>) {
    let (_, form) = page.split_once("<form").unwrap_or_else(|| panic!("no form on the page: {page}"));
    let form = form.split("</form>").next().unwrap();
    let (tag, _) = form.split_once('>').unwrap();
    let filled = |tag: &str| {
        let name = attribute(tag, "name")?;
        let value = match name.as_str() {
            "login" | "username" => user.to_owned(),
            "password" => password.to_owned(),
            _ => attribute(tag, "value").unwrap_or_default(),
        };
        Some((name, value))
    };
    let fields = form.split("<input").skip(1).filter_map(|tag| filled(tag.split('>').next().unwrap())).collect();
    (attribute(tag, "action").unwrap(), fields)
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(rest.split('"').next()?.replace("&amp;", "&"))
}
