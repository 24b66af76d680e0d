//! A scripted OpenID provider at which people log in with a browser: the code flow with PKCE, refresh tokens with rotation and reuse
//! detection, and logout. It lets everybody in at once, misbehaves as it is told, and keeps a history of what was redeemed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Url;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::issuer::{CLIENT, SigningKey, now};
use crate::proxy::{Mode, Proxy};
use crate::secrets;

/// The member of `events` that makes a token a logout token (`OpenID` Connect Back-Channel Logout 1.0 §2.4).
pub const LOGOUT_EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// How the token endpoint answers a request that it has understood and carried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// With what the request is for.
    #[default]
    Answered,
    /// Never: it has carried the request out, and the connection stays open.
    Silent,
    /// With the head of an answer, and then the connection breaks.
    Cut,
    /// With 503, and it has not carried the request out.
    Unavailable,
}

/// The fate of one request to the token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// How long the answer takes, after the request was carried out.
    pub delay: Duration,
    /// How it ends.
    pub ending: Ending,
}

/// Draws the fate of each request to the token endpoint when it arrives.
pub type Fates = Arc<dyn Fn() -> Fate + Send + Sync>;

/// What the callback is told in `iss` (RFC 9207).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Iss {
    /// The provider's own name.
    #[default]
    Own,
    /// Another name.
    Other(String),
    /// Nothing.
    Missing,
}

/// What the provider does from now on.
#[derive(Clone)]
pub struct Script {
    /// Who logs in at `/authorize`, unless the browser has a cookie `user` of this provider.
    pub user: String,
    /// The groups of users, where they are not `["admins"]`.
    pub groups: HashMap<String, Vec<String>>,
    /// The life of the tokens, in seconds.
    pub lifetime: u64,
    /// Whether each redemption replaces the refresh token. A second one of a replaced token then ends the login for ever.
    pub rotation: bool,
    /// Whether a login gives a refresh token.
    pub refresh_tokens: bool,
    /// Whether refreshed ID tokens repeat the `nonce` of the login.
    pub repeats_nonce: bool,
    /// The `nonce` of ID tokens, in place of the one that was sent; an empty one is left out.
    pub nonce: Option<String>,
    /// The `iss` at the callback.
    pub iss: Iss,
    /// `error` and `error_description` at the callback, instead of a code.
    pub error: Option<(String, String)>,
    /// How wrong the provider's clock is, in seconds.
    pub clock: i64,
    /// Claims that replace those of ID tokens.
    pub claims: serde_json::Map<String, Value>,
    /// The fate of requests to the token endpoint.
    pub fates: Option<Fates>,
    /// The fates of the next requests to it, before `fates`.
    pub next: VecDeque<Fate>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            user: "ann".to_owned(),
            groups: HashMap::new(),
            lifetime: 300,
            rotation: true,
            refresh_tokens: true,
            repeats_nonce: false,
            nonce: None,
            iss: Iss::Own,
            error: None,
            clock: 0,
            claims: serde_json::Map::new(),
            fates: None,
            next: VecDeque::new(),
        }
    }
}

/// One request for tokens that reached the provider and was carried out, or refused as a repetition.
#[derive(Clone, Debug)]
pub struct Redemption {
    /// The login that the grant belongs to.
    pub sid: String,
    /// How often the login's tokens had been refreshed before: zero is the code.
    pub generation: usize,
    /// When the request arrived.
    pub began: Instant,
    /// When it ended: the answer was handed over, or the client had gone.
    pub ended: Option<Instant>,
    /// Whether there was a whole answer.
    pub answered: bool,
    /// Whether there were new tokens.
    pub granted: bool,
}

/// A login at the provider.
#[derive(Clone, Debug)]
struct Family {
    user: String,
    nonce: String,
    redirect_uri: String,
    challenge: String,
    /// The refresh token that is good.
    refresh_token: String,
    generation: usize,
    revoked: Option<Instant>,
}

#[derive(Default)]
struct Book {
    /// Logins by their `sid`.
    families: HashMap<String, Family>,
    /// The login of each code.
    codes: HashMap<String, String>,
    /// The login of each refresh token, and its generation.
    refresh_tokens: HashMap<String, (String, usize)>,
    redemptions: Vec<Redemption>,
    /// Queries of `/end`.
    logouts: Vec<BTreeMap<String, String>>,
    started: usize,
    client_refused: usize,
}

struct Shared {
    url: String,
    announces_iss: bool,
    key: SigningKey,
    script: Mutex<Script>,
    book: Mutex<Book>,
}

/// A running provider; dropping it ends it.
pub struct ScriptedProvider {
    /// The address of the provider, which is the `iss` claim of its tokens.
    pub url: String,
    shared: Arc<Shared>,
    network: Proxy,
    task: JoinHandle<()>,
}

impl Drop for ScriptedProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ScriptedProvider {
    /// Starts a provider that announces that it names itself at the callback (RFC 9207 §3).
    pub async fn start() -> Self {
        Self::start_with(true).await
    }

    /// Starts a provider. `announces_iss`: `authorization_response_iss_parameter_supported`.
    pub async fn start_with(announces_iss: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let network = Proxy::start(&listener.local_addr().unwrap().to_string()).await;
        let url = format!("http://{}", network.address);
        let (key, script, book) = (SigningKey::new("key-1"), Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { url: url.clone(), announces_iss, key, script, book });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/end", get(end))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, network, task }
    }

    /// A configuration of elastauth with a login at this provider on these hosts, YAML of a list such as
    /// `[kibana.example.org]`. `cache` and `more` are the YAML of the sections `cache` and `login`; lines of both are indented.
    #[must_use]
    pub fn config(&self, elasticsearch: &str, cache: &str, hosts: &str, more: &str) -> String {
        let (id, secret) = CLIENT;
        let yaml = crate::servers::config(&self.url, elasticsearch, cache);
        assert!(yaml.contains(&format!("  client_id: {id}\n")));
        let yaml = yaml.replace("  client_id:", &format!("  client_secret: {secret}\n  client_id:"));
        format!("{yaml}login:\n  enabled: true\n  hosts: {hosts}\n{more}")
    }

    /// Changes what the provider does from now on.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.shared.script.lock().unwrap());
    }

    /// The groups of a user from now on.
    pub fn set_groups(&self, user: &str, groups: &[&str]) {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        self.script(|script| drop(script.groups.insert(user.to_owned(), groups)));
    }

    /// What happens to connections from now on: refused, or open and silent.
    pub fn network(&self, mode: Mode) {
        self.network.set(mode);
    }

    /// Every redemption so far, in the order of arrival.
    #[must_use]
    pub fn redemptions(&self) -> Vec<Redemption> {
        self.shared.book.lock().unwrap().redemptions.clone()
    }

    /// How many refresh tokens were redeemed so far.
    #[must_use]
    pub fn refreshes(&self) -> usize {
        self.shared.book.lock().unwrap().redemptions.iter().filter(|one| one.generation > 0).count()
    }

    /// How many times a browser came to `/authorize`.
    #[must_use]
    pub fn started(&self) -> usize {
        self.shared.book.lock().unwrap().started
    }

    /// How many requests to the token endpoint came without the client's secret.
    #[must_use]
    pub fn client_refused(&self) -> usize {
        self.shared.book.lock().unwrap().client_refused
    }

    /// The parameters of every logout in a browser so far.
    #[must_use]
    pub fn logouts(&self) -> Vec<BTreeMap<String, String>> {
        self.shared.book.lock().unwrap().logouts.clone()
    }

    /// The `sid` of the login that this code belongs to.
    #[must_use]
    pub fn sid(&self, code: &str) -> Option<String> {
        self.shared.book.lock().unwrap().codes.get(code).cloned()
    }

    /// When a login was ended for ever, because a grant of it was redeemed a second time, or it was logged out.
    #[must_use]
    pub fn revoked(&self, sid: &str) -> Option<Instant> {
        self.shared.book.lock().unwrap().families.get(sid)?.revoked
    }

    /// Ends a login for ever: its refresh token is not valid any more.
    pub fn revoke(&self, sid: &str) {
        if let Some(family) = self.shared.book.lock().unwrap().families.get_mut(sid) {
            family.revoked.get_or_insert_with(Instant::now);
        }
    }

    /// An API token of this user, for requests with `Authorization`.
    #[must_use]
    pub fn token(&self, user: &str) -> String {
        let script = self.shared.script.lock().unwrap();
        self.shared.key.sign(&self.shared.claims(&script, user))
    }

    /// The claims of a valid logout token, but for what it ends: `sid` or `sub` is to be added.
    #[must_use]
    pub fn logout_claims(&self) -> Value {
        let issued = self.shared.script.lock().unwrap().now();
        json!({ "iss": self.url, "aud": CLIENT.0, "iat": issued, "exp": issued + 120, "jti": random(),
                "events": { LOGOUT_EVENT: {} } })
    }

    /// A logout token with these claims.
    #[must_use]
    pub fn sign_logout(&self, claims: &Value) -> String {
        self.sign_as("logout+jwt", claims)
    }

    /// A signed token with these claims and this `typ`.
    #[must_use]
    pub fn sign_as(&self, typ: &str, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "typ": typ, "kid": "key-1" });
        self.shared.key.sign_raw(&header.to_string(), &claims.to_string())
    }
}

impl Script {
    /// Seconds since the Unix epoch by the provider's clock.
    fn now(&self) -> u64 {
        now().saturating_add_signed(self.clock)
    }
}

impl Shared {
    fn claims(&self, script: &Script, user: &str) -> Value {
        let groups = script.groups.get(user).cloned().unwrap_or_else(|| vec!["admins".to_owned()]);
        let issued = script.now();
        json!({ "iss": self.url, "aud": CLIENT.0, "sub": format!("id-of-{user}"), "preferred_username": user,
                "email": format!("{user}@example.com"), "name": user, "groups": groups,
                "iat": issued, "exp": issued + script.lifetime })
    }

    /// The answer of the token endpoint for a login.
    fn tokens(&self, script: &Script, family: &Family, sid: &str) -> Value {
        let access_token = random();
        let mut claims = self.claims(script, &family.user);
        let left_half = &digest(&SHA256, access_token.as_bytes()).as_ref()[..16].to_vec();
        claims["at_hash"] = URL_SAFE_NO_PAD.encode(left_half).into();
        claims["sid"] = sid.into();
        let nonce = script.nonce.as_ref().unwrap_or(&family.nonce);
        if !nonce.is_empty() && (family.generation == 1 || script.repeats_nonce) {
            claims["nonce"] = nonce.as_str().into();
        }
        for (name, value) in &script.claims {
            claims[name] = value.clone();
        }
        let mut tokens = json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": script.lifetime,
                                 "id_token": self.key.sign(&claims) });
        if script.refresh_tokens {
            tokens["refresh_token"] = family.refresh_token.as_str().into();
        }
        tokens
    }
}

/// 128 random bits, which are kept as a secret.
fn random() -> String {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).unwrap();
    let text = URL_SAFE_NO_PAD.encode(bytes);
    secrets::keep("a code or token of the provider", &text);
    text
}

fn parameters(query: &str) -> HashMap<String, String> {
    let url = Url::parse(&format!("http://query/?{query}")).unwrap();
    url.query_pairs().into_owned().collect()
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    let at = |path: &str| format!("{}/{path}", shared.url);
    axum::Json(json!({
        "issuer": shared.url, "jwks_uri": at("keys"), "authorization_endpoint": at("authorize"),
        "token_endpoint": at("token"), "end_session_endpoint": at("end"),
        "authorization_response_iss_parameter_supported": shared.announces_iss,
        "response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }))
    .into_response()
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    axum::Json(json!({ "keys": [shared.key.jwk()] })).into_response()
}

fn to(url: &Url) -> Response {
    (StatusCode::FOUND, [("location", url.to_string())]).into_response()
}

/// Logs the browser in at once.
async fn authorize(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
    let asked = parameters(uri.query().unwrap_or_default());
    let parameter = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let script = shared.script.lock().unwrap().clone();
    let mut book = shared.book.lock().unwrap();
    book.started += 1;
    let known = parameter("client_id") == CLIENT.0 && parameter("response_type") == "code";
    let challenged = parameter("code_challenge").is_empty() || parameter("code_challenge_method") == "S256";
    let openid = parameter("scope").split(' ').any(|scope| scope == "openid");
    let (Ok(mut back), true) = (Url::parse(&parameter("redirect_uri")), known && challenged && openid) else {
        return (StatusCode::BAD_REQUEST, format!("no such client or request: {uri}")).into_response();
    };
    match &script.error {
        Some((error, description)) => {
            back.query_pairs_mut().append_pair("error", error).append_pair("error_description", description);
        }
        None => {
            let cookie = headers.get("cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let user =
                cookie.split("; ").find_map(|pair| pair.strip_prefix("user=")).unwrap_or(&script.user).to_owned();
            let (code, sid) = (random(), random());
            back.query_pairs_mut().append_pair("code", &code);
            let family = Family {
                user,
                nonce: parameter("nonce"),
                redirect_uri: parameter("redirect_uri"),
                challenge: parameter("code_challenge"),
                refresh_token: String::new(),
                generation: 0,
                revoked: None,
            };
            book.codes.insert(code, sid.clone());
            book.families.insert(sid, family);
        }
    }
    back.query_pairs_mut().append_pair("state", &parameter("state"));
    match &script.iss {
        Iss::Own => drop(back.query_pairs_mut().append_pair("iss", &shared.url)),
        Iss::Other(other) => drop(back.query_pairs_mut().append_pair("iss", other)),
        Iss::Missing => {}
    }
    to(&back)
}

/// A redemption that is being answered. It ends when it is dropped, also when the client has gone.
struct UnderWay {
    shared: Arc<Shared>,
    place: usize,
    answered: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut book = self.shared.book.lock().unwrap();
        let redemption = &mut book.redemptions[self.place];
        redemption.ended = Some(Instant::now());
        redemption.answered = self.answered;
    }
}

fn refused(status: StatusCode, error: &str) -> Response {
    (status, axum::Json(json!({ "error": error }))).into_response()
}

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    let form = parameters(&body);
    let (script, fate) = {
        let mut script = shared.script.lock().unwrap();
        let fate = script.next.pop_front().or_else(|| script.fates.as_ref().map(|draw| draw())).unwrap_or_default();
        (script.clone(), fate)
    };
    if fate.ending == Ending::Unavailable {
        tokio::time::sleep(fate.delay).await;
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let (id, secret) = CLIENT;
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let by_header = headers.get("authorization").is_some_and(|value| *value == *basic);
    let by_body = form.get("client_id").is_some_and(|own| own == id)
        && form.get("client_secret").is_some_and(|own| own == secret);
    if !by_header && !by_body {
        shared.book.lock().unwrap().client_refused += 1;
        return refused(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let Some((place, answer)) = redeem(&shared, &script, &form) else {
        return refused(StatusCode::BAD_REQUEST, "invalid_grant");
    };
    let mut under_way = UnderWay { shared, place, answered: false };
    tokio::time::sleep(fate.delay).await;
    match fate.ending {
        Ending::Silent => std::future::pending().await,
        Ending::Cut => {
            let broken = tokio_stream::once(Err::<String, _>(io::Error::other("the connection breaks")));
            Body::from_stream(broken).into_response()
        }
        Ending::Answered | Ending::Unavailable => {
            under_way.answered = true;
            answer.map_or_else(
                || refused(StatusCode::BAD_REQUEST, "invalid_grant"),
                |tokens| ([("cache-control", "no-store")], axum::Json(tokens)).into_response(),
            )
        }
    }
}

/// Redeems a code or a refresh token; the answer is none where it is refused. Nothing at all where there never was such a grant.
fn redeem(shared: &Shared, script: &Script, form: &HashMap<String, String>) -> Option<(usize, Option<Value>)> {
    let parameter = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let mut book = shared.book.lock().unwrap();
    let book = &mut *book;
    let by_code = parameter("grant_type") == "authorization_code";
    let (sid, generation) = if by_code {
        (book.codes.get(parameter("code"))?.clone(), 0)
    } else {
        book.refresh_tokens.get(parameter("refresh_token"))?.clone()
    };
    let family = book.families.get_mut(&sid)?;
    if by_code {
        let verifier = URL_SAFE_NO_PAD.encode(digest(&SHA256, parameter("code_verifier").as_bytes()));
        let proven = family.challenge.is_empty() || family.challenge == verifier;
        if !proven || parameter("redirect_uri") != family.redirect_uri {
            return None;
        }
    }
    let replaced = if by_code { family.generation > 0 } else { parameter("refresh_token") != family.refresh_token };
    if replaced {
        // RFC 6749 §4.1.2, RFC 9700 §4.14.2
        family.revoked.get_or_insert_with(Instant::now);
    }
    let granted = family.revoked.is_none();
    let place = book.redemptions.len();
    let began = Instant::now();
    let redemption = Redemption { sid: sid.clone(), generation, began, ended: None, answered: false, granted };
    book.redemptions.push(redemption);
    if !granted {
        return Some((place, None));
    }
    family.generation += 1;
    if by_code || script.rotation {
        family.refresh_token = random();
        book.refresh_tokens.insert(family.refresh_token.clone(), (sid.clone(), family.generation));
    }
    Some((place, Some(shared.tokens(script, family, &sid))))
}

/// Ends the login that the hint is of, and sends the browser back.
async fn end(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let asked: BTreeMap<_, _> = parameters(uri.query().unwrap_or_default()).into_iter().collect();
    let hint = asked.get("id_token_hint").and_then(|token| token.split('.').nth(1)).unwrap_or_default();
    let claims: Value =
        URL_SAFE_NO_PAD.decode(hint).ok().and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
    let after = asked.get("post_logout_redirect_uri").and_then(|to| Url::parse(to).ok());
    let mut book = shared.book.lock().unwrap();
    book.logouts.push(asked);
    if let Some(family) = claims["sid"].as_str().and_then(|sid| book.families.get_mut(sid)) {
        family.revoked.get_or_insert_with(Instant::now);
    }
    after.as_ref().map_or_else(|| "logged out".into_response(), to)
}
