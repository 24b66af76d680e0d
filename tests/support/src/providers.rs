//! Starts real OpenID providers, each as a process of its own: the certified `oidc-provider`, and Keycloak.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::OidcClient;
use crate::process::{Process, free_port};
use crate::secrets;
use crate::servers::{optional_tool, root};

/// The client `elastauth` as a provider knows it when people log in with a browser: confidential, with these addresses. Programs
/// then log in as the public client `program`.
#[derive(Clone, Debug)]
pub struct BrowserClient {
    /// Where the provider may send browsers back to with a code.
    pub redirect_uris: Vec<String>,
    /// Where it may send them after a logout.
    pub post_logout_redirect_uris: Vec<String>,
    /// Where it reports a logout (OpenID Connect Back-Channel Logout 1.0), if it does.
    pub backchannel_logout_uri: Option<String>,
    /// Whether a refresh token counts once, so that its second use ends the session at the provider.
    pub rotates: bool,
    /// For how long access and ID tokens count. Default five minutes.
    pub life: Duration,
}

/// The secret of [`BrowserClient`].
pub const CLIENT_SECRET: &str = "of-elastauth-at-the-provider";

impl BrowserClient {
    /// The client of a site such as `https://kibana.example.org`, with the paths to which the provider sends browsers back after a
    /// login and after a logout.
    #[must_use]
    pub fn of(origin: &str, callback: &str, logged_out: &str) -> Self {
        Self {
            redirect_uris: vec![format!("{origin}{callback}")],
            post_logout_redirect_uris: vec![format!("{origin}{logged_out}")],
            backchannel_logout_uri: None,
            rotates: false,
            life: Duration::from_secs(300),
        }
    }
}

/// The client with which tests log in without a browser; no process listens at its address.
fn direct(issuer: String, id: &'static str) -> OidcClient {
    OidcClient { issuer, id, redirect_uri: "http://127.0.0.1/callback" }
}

/// A running `oidc-provider` (tests/support/provider/provider.mjs). Any user may log in; `ann` is in the group `admins`, all
/// others are in `developers`.
pub struct OidcProvider {
    /// The client with which tests log in there without a browser.
    pub client: OidcClient,
    _process: Process,
    _folder: TempDir,
}

impl OidcProvider {
    /// Starts the provider and waits until it answers; `None` without Node.js.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with(None)
    }

    /// The same with a client for browsers.
    #[must_use]
    pub fn for_browsers(client: &BrowserClient) -> Option<Self> {
        Self::start_with(Some(client))
    }

    fn start_with(browsers: Option<&BrowserClient>) -> Option<Self> {
        optional_tool("oidc-provider")?;
        // the script of this repository beside the packages that were fetched, among which it looks for its imports
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("provider.mjs");
        symlink(root().join("tests/support/provider/provider.mjs"), &script).unwrap();
        symlink(root().join(".tools/oidc-provider/node_modules"), folder.path().join("node_modules")).unwrap();
        let mut command = Command::new("node");
        command.args(["--preserve-symlinks", "--preserve-symlinks-main"]).arg(script);
        if let Some(client) = browsers {
            secrets::keep("a client's secret", CLIENT_SECRET);
            let settings = json!({
                "secret": CLIENT_SECRET, "redirect_uris": client.redirect_uris, "rotates": client.rotates,
                "post_logout_redirect_uris": client.post_logout_redirect_uris,
                "backchannel_logout_uri": client.backchannel_logout_uri, "life": client.life.as_secs(),
            });
            command.arg(settings.to_string());
        }
        let process = Process::start("oidc-provider", &mut command);
        let line = process.wait_for_line(0, &["provider at "]);
        let issuer = line.rsplit(' ').next().unwrap().to_owned();
        let client = direct(issuer, if browsers.is_some() { "program" } else { "elastauth" });
        Some(Self { client, _process: process, _folder: folder })
    }

    /// From now on tokens say that the user is in these groups.
    pub async fn set_groups(&self, user: &str, groups: &[&str]) {
        self.ask(&format!("groups?user={user}&groups={}", groups.join(","))).await;
    }

    /// From now on logouts are reported there.
    pub async fn report_logouts_to(&self, uri: &str) {
        self.ask(&format!("backchannel-logout?uri={uri}")).await;
    }

    /// Makes a new key that signs from now on, and returns its id; the old ones are still published.
    pub async fn new_key(&self) -> String {
        self.ask("new-key").await
    }

    /// From now on only the key that signs is published.
    pub async fn drop_old_keys(&self) {
        self.ask("drop-old-keys").await;
    }

    async fn ask(&self, what: &str) -> String {
        let answer = crate::http().get(format!("{}/test/{what}", self.client.issuer)).send().await.unwrap();
        answer.text().await.unwrap()
    }
}

/// A running Keycloak with a realm of ours: `ann` in the group `admins`, `bob` in `developers`.
pub struct Keycloak {
    /// The client with which tests log in there.
    pub client: OidcClient,
    base: String,
    _process: Process,
}

/// The password of every user at Keycloak.
pub const PASSWORD: &str = "of-a-person-at-keycloak";
const ADMIN: &str = "of-keycloaks-administrator";

impl Keycloak {
    /// Starts Keycloak and waits until it answers, which takes ten seconds on an idle machine; `None` without Java and Maven.
    pub async fn start() -> Option<Self> {
        Self::start_with(None).await
    }

    /// The same with a client for browsers.
    pub async fn for_browsers(client: &BrowserClient) -> Option<Self> {
        Self::start_with(Some(client)).await
    }

    async fn start_with(browsers: Option<&BrowserClient>) -> Option<Self> {
        let binary = optional_tool("keycloak")?;
        let base = format!("http://127.0.0.1:{}", free_port());
        let mut command = Command::new(binary);
        command.args(["start", "--optimized", "--cache=local", "--http-enabled=true", "--http-host=127.0.0.1"]);
        command.arg(format!("--hostname={base}")).arg(format!("--http-port={}", base.rsplit(':').next().unwrap()));
        command.env("KC_BOOTSTRAP_ADMIN_USERNAME", "admin").env("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN);
        let process = Process::start("keycloak", &mut command);
        let ends = Instant::now() + Duration::from_secs(180);
        while !process.lines().iter().any(|line| line.contains("Listening on")) {
            assert!(Instant::now() < ends, "Keycloak does not start:\n{}", process.lines().join("\n"));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let client = direct(format!("{base}/realms/people"), if browsers.is_some() { "program" } else { "elastauth" });
        let keycloak = Self { client, base, _process: process };
        keycloak.administer(Method::POST, "", realm(browsers)).await;
        Some(keycloak)
    }

    /// From now on the user is in this group and in no other.
    pub async fn set_group(&self, user: &str, group: &str) {
        let user = format!("/people/users/{}/groups", self.id_of_user(user).await);
        for old in self.administer(Method::GET, &user, Value::Null).await.as_array().unwrap() {
            let path = format!("{user}/{}", old["id"].as_str().unwrap());
            self.administer(Method::DELETE, &path, Value::Null).await;
        }
        let groups =
            self.administer(Method::GET, &format!("/people/groups?exact=true&search={group}"), Value::Null).await;
        let path = format!("{user}/{}", groups[0]["id"].as_str().unwrap());
        self.administer(Method::PUT, &path, Value::Null).await;
    }

    /// Ends all sessions of a user, as an administrator does, which is reported to the clients' back-channel.
    pub async fn log_out(&self, user: &str) {
        let path = format!("/people/users/{}/logout", self.id_of_user(user).await);
        self.administer(Method::POST, &path, json!({})).await;
    }

    /// From now on logouts are reported there.
    pub async fn report_logouts_to(&self, uri: &str) {
        let clients = self.administer(Method::GET, "/people/clients?clientId=elastauth", Value::Null).await;
        let mut client = clients[0].clone();
        client["attributes"]["backchannel.logout.url"] = uri.into();
        let path = format!("/people/clients/{}", client["id"].as_str().unwrap());
        self.administer(Method::PUT, &path, client).await;
    }

    async fn id_of_user(&self, user: &str) -> String {
        let found =
            self.administer(Method::GET, &format!("/people/users?exact=true&username={user}"), Value::Null).await;
        found[0]["id"].as_str().unwrap().to_owned()
    }

    /// Adds a new RSA key that signs from now on, as an administrator does; the old one is still published.
    pub async fn new_key(&self) {
        let config = json!({ "priority": ["200"], "enabled": ["true"], "active": ["true"], "keySize": ["2048"],
                             "algorithm": ["RS256"] });
        let key = json!({ "name": "newer", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
                          "config": config });
        self.administer(Method::POST, "/people/components", key).await;
    }

    /// The body of the answer, which is empty for most changes.
    async fn administer(&self, method: Method, path: &str, body: Value) -> Value {
        let http = crate::http();
        let login = format!("client_id=admin-cli&grant_type=password&username=admin&password={ADMIN}");
        let request = http.post(format!("{}/realms/master/protocol/openid-connect/token", self.base));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(login);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap();
        let request = http.request(method, format!("{}/admin/realms{path}", self.base)).bearer_auth(token).json(&body);
        let answer = request.send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or_default()
    }
}

/// A realm as an administrator sets it up: the groups by their plain names in every token, and elastauth in the audience of
/// access tokens, where Keycloak by itself has `account` only.
fn realm(browsers: Option<&BrowserClient>) -> Value {
    let user = |name: &str, group: &str| {
        json!({ "username": name, "enabled": true, "email": format!("{name}@example.org"), "emailVerified": true,
                "firstName": name, "lastName": "Keycloak", "groups": [format!("/{group}")],
                "credentials": [{ "type": "password", "value": PASSWORD, "temporary": false }] })
    };
    let mapper = |name: &str, kind: &str, config: Value| json!({ "name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config });
    let groups = json!({ "claim.name": "groups", "full.path": "false", "id.token.claim": "true",
                         "access.token.claim": "true", "userinfo.token.claim": "true" });
    let audience = json!({ "included.client.audience": "elastauth", "access.token.claim": "true" });
    let client = |id: &str| {
        json!({
            "clientId": id, "enabled": true, "publicClient": true, "standardFlowEnabled": true,
            "redirectUris": ["http://127.0.0.1/callback"],
            "attributes": { "pkce.code.challenge.method": "S256" },
            "protocolMappers": [
                mapper("groups", "oidc-group-membership-mapper", groups.clone()),
                mapper("audience", "oidc-audience-mapper", audience.clone()),
            ],
        })
    };
    let mut realm = json!({
        "realm": "people", "enabled": true, "sslRequired": "none",
        "groups": [{ "name": "admins" }, { "name": "developers" }],
        "users": [user("ann", "admins"), user("bob", "developers")],
        "clients": [client("elastauth")],
    });
    if let Some(settings) = browsers {
        secrets::keep("a client's secret", CLIENT_SECRET);
        let mut confidential = client("elastauth");
        confidential["publicClient"] = false.into();
        confidential["secret"] = CLIENT_SECRET.into();
        confidential["redirectUris"] = settings.redirect_uris.clone().into();
        let attributes = &mut confidential["attributes"];
        attributes["post.logout.redirect.uris"] = settings.post_logout_redirect_uris.join("##").into();
        attributes["backchannel.logout.session.required"] = "true".into();
        attributes["backchannel.logout.url"] = settings.backchannel_logout_uri.clone().into();
        realm["clients"] = json!([confidential, client("program")]);
        realm["accessTokenLifespan"] = settings.life.as_secs().into();
        realm["revokeRefreshToken"] = settings.rotates.into();
        realm["refreshTokenMaxReuse"] = 0.into();
    }
    realm
}
