//! Starts real OpenID providers, each as a process of its own: the certified `oidc-provider`, and Keycloak.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::OidcClient;
use crate::process::{Process, free_port};
use crate::servers::optional_tool;

/// A running `oidc-provider` (tests/support/provider/provider.mjs). Any user may log in; `ann` is in the group `admins`, all
/// others are in `developers`.
pub struct OidcProvider {
    /// The client with which tests log in there.
    pub client: OidcClient,
    _process: Process,
}

impl OidcProvider {
    /// Starts the provider and waits until it answers; `None` without Node.js.
    #[must_use]
    pub fn start() -> Option<Self> {
        let process = Process::start("oidc-provider", &mut Command::new(optional_tool("oidc-provider")?));
        let line = process.wait_for_line(0, &["provider at "]);
        let issuer = line.rsplit(' ').next().unwrap().to_owned();
        Some(Self {
            client: OidcClient { issuer, id: "elastauth", redirect_uri: "http://127.0.0.1/callback" },
            _process: process,
        })
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
        let issuer = format!("{base}/realms/people");
        let client = OidcClient { issuer, id: "elastauth", redirect_uri: "http://127.0.0.1/callback" };
        let keycloak = Self { client, base, _process: process };
        keycloak.administer("", realm()).await;
        Some(keycloak)
    }

    /// Adds a new RSA key that signs from now on, as an administrator does; the old one is still published.
    pub async fn new_key(&self) {
        let config = json!({ "priority": ["200"], "enabled": ["true"], "active": ["true"], "keySize": ["2048"],
                             "algorithm": ["RS256"] });
        let key = json!({ "name": "newer", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
                          "config": config });
        self.administer("/people/components", key).await;
    }

    async fn administer(&self, path: &str, body: Value) {
        let http = crate::http();
        let login = format!("client_id=admin-cli&grant_type=password&username=admin&password={ADMIN}");
        let request = http.post(format!("{}/realms/master/protocol/openid-connect/token", self.base));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(login);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap();
        let request = http.post(format!("{}/admin/realms{path}", self.base)).bearer_auth(token).json(&body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 201, "{path}: {}", answer.text().await.unwrap());
    }
}

/// A realm as an administrator sets it up: the groups by their plain names in every token, and elastauth in the audience of
/// access tokens, where Keycloak by itself has `account` only.
fn realm() -> Value {
    let user = |name: &str, group: &str| {
        json!({ "username": name, "enabled": true, "email": format!("{name}@example.org"), "emailVerified": true,
                "firstName": name, "lastName": "Keycloak", "groups": [format!("/{group}")],
                "credentials": [{ "type": "password", "value": PASSWORD, "temporary": false }] })
    };
    let mapper = |name: &str, kind: &str, config: Value| json!({ "name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config });
    let groups = json!({ "claim.name": "groups", "full.path": "false", "id.token.claim": "true",
                         "access.token.claim": "true", "userinfo.token.claim": "true" });
    let audience = json!({ "included.client.audience": "elastauth", "access.token.claim": "true" });
    json!({
        "realm": "people", "enabled": true, "sslRequired": "none",
        "groups": [{ "name": "admins" }, { "name": "developers" }],
        "users": [user("ann", "admins"), user("bob", "developers")],
        "clients": [{
            "clientId": "elastauth", "enabled": true, "publicClient": true, "standardFlowEnabled": true,
            "redirectUris": ["http://127.0.0.1/callback"],
            "attributes": { "pkce.code.challenge.method": "S256" },
            "protocolMappers": [
                mapper("groups", "oidc-group-membership-mapper", groups),
                mapper("audience", "oidc-audience-mapper", audience),
            ],
        }],
    })
}
