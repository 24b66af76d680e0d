//! Takes any bytes as a `CheckRequest` and examines the reply: it must not panic, let a caller pass without a proven identity,
//! or contain anything that does not belong there.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use elastauth::authz::bearer::Sources;
use elastauth::authz::policy::Policy;
use elastauth::authz::{Authorizer, Callers, Rules};
use elastauth::cookies::Selection;
use elastauth::credentials::broker::Broker;
use elastauth::credentials::seal::{self, Seal};
use elastauth::credentials::{
    self, BackendStatus, Existing, InspectError, Login, Password, Provisioner, RequestContext, Store, UserSpec,
    WriteError, near_cache,
};
use elastauth::digest::Digest;
use elastauth::envoy::wire::{Call, Unread, auth};
use elastauth::envoy::{Listen, Service, Settings, StrippedAttributes};
use elastauth::identity::headers::{self, Names, anchor};
use elastauth::identity::issuer::{self, Issuer, Validation};
use elastauth::identity::issuers::Issuers;
use elastauth::identity::{Owner, Username};
use elastauth::memory::{self, MemoryStore};
use elastauth::roles::{self, Mapping};
use envoy_types::pb::envoy::service::auth::v3 as official;
use official::check_response::HttpResponse;
use prost::Message as _;
use serde_json::json;
use tonic::Code;
use tonic::metadata::MetadataMap;

use super::{ISSUER, OneKey, bench, rules, source, times};

/// The shared secret that Envoy sends with each check to the service that trusts headers.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// `grpc.max_in_flight` of the services here.
const MAX_IN_FLIGHT: usize = 10;

/// `cache.token_max_entries` of the services here.
const MAX_TOKENS: usize = 1000;
const HOUR: Duration = Duration::from_secs(3600);

/// A back end that accepts every write, and has no users.
pub struct Users;

impl Provisioner for Users {
    async fn inspect(&self, _: &Username, _: &Owner, _: &RequestContext) -> Result<Existing, InspectError> {
        Ok(Existing::Absent)
    }

    async fn log_in(&self, _: &Username, _: &Password) -> Result<Login, InspectError> {
        Err(InspectError::Unavailable("not asked".into()))
    }

    async fn write(&self, _: &UserSpec, _: Option<&Password>) -> Result<(), WriteError> {
        Ok(())
    }
}

impl BackendStatus for Users {}

/// A whole service without its network.
pub type Checks<S> = Service<OneKey, S, Users>;

struct Services {
    tokens: Checks<MemoryStore>,
    headers: Checks<MemoryStore>,
    runtime: tokio::runtime::Runtime,
}

fn services() -> &'static Services {
    static SERVICES: OnceLock<Services> = OnceLock::new();
    SERVICES.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let store = || MemoryStore::new(memory::Settings { max_entries: 1000 });
        let tokens = service(store(), tokens(), &[]);
        let name = |name: &'static str| name.parse().unwrap();
        let names = Names {
            username: name("remote-user"),
            groups: name("remote-groups"),
            email: name("remote-email"),
            full_name: name("remote-name"),
        };
        let anchors = anchor::Settings { secrets: vec![SECRET.into()], peers: Vec::new() };
        let all = names.all();
        let reader = headers::Settings { issuer: "proxy".into(), names, separator: ',', anchors, metadata: None };
        let headers = service(store(), Callers::Headers(headers::Reader::new(reader).unwrap()), &all);
        Services { tokens, headers, runtime }
    })
}

/// Accepts bearer tokens that the key of [`source`] signed.
pub fn tokens() -> Callers<OneKey> {
    tokens_by(source())
}

/// Accepts bearer tokens that the key of this source signed.
pub fn tokens_by(source: OneKey) -> Callers<OneKey> {
    let settings = issuer::Settings {
        validation: Validation::Jwks,
        introspection_ttl: Duration::from_secs(60),
        token: rules(),
        keyring: times(),
    };
    Callers::Tokens(Arc::new(Issuers::new(vec![Issuer::new(source, settings)])), Sources::default())
}

/// `grpc.*` of the services here.
pub fn grpc() -> Settings {
    Settings {
        listen: Listen::Tcp(([127, 0, 0, 1], 0).into()),
        allow_insecure: false,
        tls: None,
        reflection: false,
        access_log: false,
        max_message_size: 1 << 22,
        deadline: HOUR,
        max_in_flight: MAX_IN_FLIGHT,
        max_connection_age: None,
    }
}

/// Builds a service over this store; it must be called inside a runtime.
pub fn service<S: Store>(store: S, callers: Callers<OneKey>, identity_headers: &[http::HeaderName]) -> Checks<S> {
    let key = seal::Key::Given(Box::new([1; 32]).into());
    let seal = Seal::new(&seal::Settings { key, previous: Vec::new(), cluster: "fuzz".into() }).unwrap();
    let settings = credentials::Settings {
        expiration: HOUR,
        extend: false,
        near: near_cache::Settings { max_entries: 1000, max_stale: HOUR },
        settling: HOUR,
        confirm_interval: HOUR,
        mapping: Digest(1),
        store_timeout: HOUR,
        write_timeout: Duration::from_secs(5),
    };
    let broker = Broker::new(store, Users, seal, settings).unwrap();
    // the near cache keeps nothing unless the store's changes are watched
    tokio::spawn(broker.watch());
    let roles =
        roles::Settings { default_roles: vec!["viewer".into()], group_mappings: Vec::new(), allow_no_roles: false };
    let rules = Arc::new(Rules { policy: Policy::default(), mapping: Mapping::new(&roles) });
    let authorizer = Authorizer::new(callers, MAX_TOKENS, rules, broker, None, MAX_IN_FLIGHT);
    let stripped = StrippedAttributes { headers: identity_headers.to_vec(), cookies: Selection::default() };
    Service::new(Arc::new(authorizer), None, &grpc(), stripped)
}

/// A token that is valid until the year 2100.
#[must_use]
pub fn good_token() -> String {
    let claims = json!({
        "iss": ISSUER, "aud": "elastauth", "sub": "1", "tid": "t", "preferred_username": "Ann",
        "iat": 1_700_000_000_u64, "exp": 4_102_444_800_u64, "realm_access": {"roles": ["/admins"]},
    });
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encode(json!({"alg": "EdDSA", "kid": "k"}).to_string()), encode(claims.to_string()));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(bench().key.sign(message.as_bytes())))
}

/// The names under which the two services let the request through: the one that trusts tokens, and the one that trusts headers.
pub fn check(data: &[u8]) -> [Option<String>; 2] {
    let decoded = auth::CheckRequest::decode(data).ok();
    replies(data).map(|reply| match (&decoded, reply) {
        (_, Err(code)) => {
            assert_eq!(code, Code::InvalidArgument);
            // the complete API decodes all parts at once, elastauth some of them later
            assert!(official::CheckRequest::decode(data).is_err(), "a message by the complete API is refused here");
            None
        }
        (Some(request), Ok((believes, reply))) => {
            for secret in secrets(request).iter().filter(|secret| holds(&reply, secret)) {
                assert!(is_our_own_word(data, secret), "what the client sent comes back");
            }
            let user = judge(&reply)?;
            assert_eq!(Some(&user), believes.proven(request).as_ref(), "another user was let through");
            Some(user)
        }
        (None, Ok((_, reply))) => panic!("bytes that are not a message were answered with {reply:?}"),
    })
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Whether `secret` is in the reply also when the client does not send it: a fuzzer finds out which words replies consist of.
fn is_our_own_word(data: &[u8], secret: &[u8]) -> bool {
    let mut other = data.to_vec();
    while let Some(at) = other.windows(secret.len()).position(|window| window == secret) {
        other[at..at + secret.len()].fill(b'x');
    }
    replies(&other).into_iter().flatten().any(|(_, reply)| holds(&reply, secret))
}

/// The encoded replies of both services, or the error for bytes that are not a message.
pub fn replies(data: &[u8]) -> [Result<(Believes, Bytes), Code>; 2] {
    let services = services();
    [(Believes::Tokens, &services.tokens), (Believes::Headers, &services.headers)].map(|(believes, service)| {
        let call: Call = auth::CheckRequest::decode(data).map_err(Unread::from);
        let answer = services.runtime.block_on(service.answer(call, MetadataMap::new()));
        answer.map(|reply| (believes, reply.as_bytes().clone())).map_err(|status| status.code())
    })
}

/// The credentials of the client and the operator that are long enough to be recognised in a reply.
fn secrets(request: &auth::CheckRequest) -> Vec<Bytes> {
    let Some(attributes) = &request.attributes else { return Vec::new() };
    let http = http(attributes);
    let joined = http.iter().flat_map(|http| &http.headers).map(|header| (&header.key, &header.value));
    let raw = http.iter().flat_map(|http| &http.header_map).flat_map(|map| &map.headers);
    let raw = raw.map(|header| (&header.key, &header.raw_value));
    let sent = joined.chain(raw).filter(|(key, _)| key.eq_ignore_ascii_case(b"authorization") || *key == "cookie");
    let extensions = attributes.context_extensions.iter().map(|entry| &entry.value);
    sent.map(|(_, value)| value).chain(extensions).filter(|value| value.len() > 16).cloned().collect()
}

/// Decodes the HTTP part in another way than elastauth does.
fn http(attributes: &auth::AttributeContext) -> Option<auth::attribute_context::HttpRequest> {
    auth::attribute_context::HttpRequest::decode(attributes.request.as_ref()?.http.clone()?).ok()
}

/// The kind of credential that a service trusts.
#[derive(Clone, Copy, Debug)]
pub enum Believes {
    /// Bearer tokens of the issuer.
    Tokens,
    /// The headers of a proxy that also sends the shared secret.
    Headers,
}

impl Believes {
    /// The username that the request proves, determined in another way than elastauth does.
    fn proven(self, request: &auth::CheckRequest) -> Option<String> {
        let attributes = request.attributes.as_ref()?;
        let http = http(attributes)?;
        let mut values = Vec::new();
        let name = match self {
            Self::Tokens => "authorization",
            Self::Headers => "remote-user",
        };
        for header in &http.headers {
            if header.key.to_ascii_lowercase() == name.as_bytes() {
                values.push(&header.value);
            }
        }
        for header in http.header_map.iter().flat_map(|map| &map.headers) {
            if header.key.to_ascii_lowercase() == name.as_bytes() {
                values.push(if header.raw_value.is_empty() { &header.value } else { &header.raw_value });
            }
        }
        let [value] = values.as_slice() else { return None };
        let text = std::str::from_utf8(value).ok()?.trim();
        match self {
            Self::Tokens => {
                let token = text.get("bearer ".len()..)?.trim_start();
                Some(bench().verify(token).ok()?.identity.username.as_str().to_owned())
            }
            Self::Headers => {
                let mut secrets = attributes.context_extensions.iter().filter(|entry| entry.key == "elastauth-secret");
                let told = secrets.any(|entry| entry.value == SECRET);
                (told && !text.contains(',')).then(|| text.to_owned())
            }
        }
    }
}

/// Asserts the rules that every reply keeps, decoded by the complete API. Returns the user that is let through.
pub fn judge(reply: &[u8]) -> Option<String> {
    let reply = official::CheckResponse::decode(reply).unwrap();
    // an unset status means allow
    let code = reply.status.unwrap().code;
    assert!(reply.dynamic_metadata.is_none());
    match reply.http_response.unwrap() {
        HttpResponse::OkResponse(ok) => {
            assert_eq!(code, 0);
            Some(allowed(&ok))
        }
        HttpResponse::DeniedResponse(denied) => {
            assert_ne!(code, 0, "code 0 means allow");
            refused(&denied);
            None
        }
        HttpResponse::ErrorResponse(_) => panic!("an error would let failure_mode_allow decide"),
    }
}

#[expect(deprecated, reason = "what released Envoys look at")]
fn allowed(ok: &official::OkHttpResponse) -> String {
    assert!(ok.response_headers_to_add.is_empty() && ok.dynamic_metadata.is_none());
    assert!(ok.query_parameters_to_set.is_empty() && ok.query_parameters_to_remove.is_empty());
    for name in ["es-security-runas-user", "es-secondary-authorization", "proxy-authorization"] {
        assert!(ok.headers_to_remove.iter().any(|removed| removed == name));
    }
    for name in &ok.headers_to_remove {
        assert!(name != "authorization" && !name.is_empty() && *name == name.to_ascii_lowercase());
    }
    let [option] = ok.headers.as_slice() else { panic!("one header: {:?}", ok.headers) };
    assert_eq!(
        (option.append.map(|append| append.value), option.append_action, option.keep_empty_value),
        (Some(false), 2, false)
    );
    let header = option.header.as_ref().unwrap();
    assert!(header.key == "authorization" && header.raw_value.is_empty());
    let pair = STANDARD.decode(header.value.strip_prefix("Basic ").unwrap()).unwrap();
    let pair = String::from_utf8(pair).unwrap();
    let (user, password) = pair.split_once(':').unwrap();
    assert!(!user.is_empty() && password.len() >= 43 && pair.bytes().all(|b| b.is_ascii_graphic()));
    user.to_owned()
}

#[expect(deprecated, reason = "must not be there")]
fn refused(denied: &official::DeniedHttpResponse) {
    const NAMES: [&str; 3] = ["content-type", "retry-after", "www-authenticate"];
    let status = denied.status.unwrap().code;
    assert!((400..600).contains(&status));
    // the body is also the message of a gRPC status
    assert!((1..100).contains(&denied.body.len()) && denied.body.is_ascii(), "{:?}", denied.body);
    for option in &denied.headers {
        let header = option.header.as_ref().unwrap();
        assert!(option.append.is_none() && option.append_action == 0, "Envoy drops what says append");
        assert!(NAMES.contains(&header.key.as_str()) && header.raw_value.is_empty());
        assert!(!header.value.is_empty() && header.value.bytes().all(|b| (b' '..=b'~').contains(&b)));
    }
}
