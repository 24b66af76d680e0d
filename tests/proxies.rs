//! Callers that are named by a login proxy, or by Envoy's own filters, through a real Envoy: headers of the client itself are
//! never trusted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use elastauth_support::authelia::{Authelia, PORTAL};
use elastauth_support::certificates::{Authority, client};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::envoy::{Envoy, exchange};
use elastauth_support::issuer::Issuer;
use elastauth_support::servers::{Elastauth, headers_config};
use serde_json::Value;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NAMES: [&str; 4] = ["remote-user", "remote-groups", "remote-email", "remote-name"];

async fn ask(url: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = elastauth_support::http().get(format!("{url}/_search"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Starts Envoy with `envoy/authelia.yaml` and this secret in the route.
async fn envoy(elastauth: &Elastauth, authelia: &Authelia, to: &str, secret: &str, raw: bool) -> Option<Envoy> {
    let edit = |text: String| {
        let text = exchange(text, "CHANGE-ME-elastauth-generate-key", secret);
        let text = exchange(text, "encode_raw_headers: true", &format!("encode_raw_headers: {raw}"));
        exchange(text, "port_value: 9091", &format!("port_value: {}", authelia.address.rsplit(':').next().unwrap()))
    };
    Envoy::start_file("authelia.yaml", &[&elastauth.grpc], to, edit).await
}

async fn only_authelia_names_the_caller(raw_headers: bool) {
    let (authelia, elasticsearch) = (Authelia::start().await, Elasticsearch::start().await);
    let provider = format!("  shared_secret: \"{SECRET}\"");
    let elastauth = Elastauth::start(elastauth!(), &headers_config(&elasticsearch.url, &provider));
    let address = elasticsearch.address();
    let Some(envoy_) = envoy(&elastauth, &authelia, address, SECRET, raw_headers).await else { return };
    let posing =
        [("remote-user", "elastic"), ("remote-groups", "admins"), ("remote-name", "Me"), ("remote-email", "m@e")];
    let session = |cookie| [&[("cookie", cookie)][..], &posing[..]].concat();

    for headers in [&[][..], &posing[..]] {
        let portal = ask(&envoy_.url, headers).await;
        assert_eq!((portal.status().as_u16(), portal.headers()["location"].to_str().unwrap()), (302, PORTAL));
    }
    let bob = ask(&envoy_.url, &session("authelia_session=bob:developers")).await;
    assert_eq!(
        (bob.status().as_u16(), bob.headers()["set-cookie"].to_str().unwrap()),
        (200, "authelia_session=renewed")
    );
    let bob: Value = bob.json().await.unwrap();
    assert_eq!((bob["username"].as_str(), &bob["roles"]), (Some("bob"), &serde_json::json!(["dev", "kibana_user"])));
    assert_eq!(bob["authorizations"], 1);
    for name in NAMES {
        assert!(bob["headers"][name].is_null(), "{name} went on to Elasticsearch: {bob}");
    }
    assert_eq!(elasticsearch.user("bob").unwrap().full_name, "bob of Authelia");
    // Authelia sends no groups of this user, and the client's own header does not take their place
    assert_eq!(ask(&envoy_.url, &session("authelia_session=cid:")).await.status().as_u16(), 403);
    elastauth.process.wait_for_line(0, &["roles_none"]);
    assert!(elasticsearch.user("cid").is_none() && elasticsearch.user("elastic").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_authelia_names_the_caller_raw_headers_on() {
    only_authelia_names_the_caller(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_authelia_names_the_caller_raw_headers_off() {
    only_authelia_names_the_caller(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_without_the_secret_gets_nobodys_credential() {
    let (authelia, elasticsearch) = (Authelia::start().await, Elasticsearch::start().await);
    let provider = format!("  shared_secret: \"{SECRET}\"");
    let elastauth = Elastauth::start(elastauth!(), &headers_config(&elasticsearch.url, &provider));
    let other = "another-envoy-with-another-secret";
    let Some(envoy) = envoy(&elastauth, &authelia, elasticsearch.address(), other, true).await else { return };
    let answer = ask(&envoy.url, &[("cookie", "authelia_session=bob:developers")]).await;
    assert_eq!(answer.status().as_u16(), 403);
    elastauth.process.wait_for_line(0, &["identity_secret"]);
    assert!(elasticsearch.history().is_empty());
}

/// Envoy's own filter verifies the token; on a Unix socket its headers are trusted without a secret.
#[tokio::test(flavor = "multi_thread")]
async fn envoys_jwt_authn_filter_names_the_caller_over_a_unix_socket() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("unix:{}", folder.path().join("grpc.sock").display());
    let provider = "  metadata_namespace: envoy.filters.http.jwt_authn\n  metadata_payload: jwt";
    let config = headers_config(&elasticsearch.url, provider);
    let elastauth = Elastauth::start_at(elastauth!(), &config, &listen, "");
    let keys: Value =
        elastauth_support::http().get(format!("{}/keys", issuer.url)).send().await.unwrap().json().await.unwrap();
    let filter = format!(
        "          - name: envoy.filters.http.jwt_authn
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication
              providers:
                company:
                  issuer: \"{}\"
                  audiences: [elastauth]
                  local_jwks: {{ inline_string: '{keys}' }}
                  payload_in_metadata: jwt
              rules: [ {{ match: {{ prefix: / }}, requires: {{ provider_name: company }} }} ]
",
        issuer.url
    );
    let edit = |text: String| {
        let before = "          - name: envoy.filters.http.ext_authz\n";
        let text = exchange(text, before, &format!("{filter}{before}"));
        let namespaces = "metadata_context_namespaces: [ envoy.filters.http.jwt_authn ]";
        exchange(text, "validate_mutations: true", &format!("validate_mutations: true\n              {namespaces}"))
    };
    let Some(envoy) = Envoy::start_edited(&[&listen], elasticsearch.address(), edit).await else { return };
    let bearer = |token: String| format!("Bearer {token}");
    let posing = ("remote-user", "elastic");
    let forged = bearer(issuer.forge(&issuer.claims("ann", &["admins"], 0)));
    for refused in [&[posing][..], &[("authorization", forged.as_str()), posing]] {
        assert_eq!(ask(&envoy.url, refused).await.status().as_u16(), 401);
    }
    let token = bearer(issuer.token("ann", &["admins"]));
    let answer = ask(&envoy.url, &[("authorization", token.as_str()), posing]).await;
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["username"], "ann");
    let stamp = &elasticsearch.user("ann").unwrap().metadata["elastauth"];
    assert_eq!((stamp["issuer"].as_str(), stamp["subject"].as_str()), (Some(issuer.url.as_str()), Some("id-of-ann")));
    elastauth.process.wait_for_line(0, &["Request allowed"]);
}

/// The login proxy shows a certificate to Envoy, and Envoy passes on the certificate's name. Other clients with a certificate of
/// the same authority may connect to Envoy, but cannot name a user.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_login_proxy_with_a_certificate_on_the_list_names_the_caller() {
    let elasticsearch = Elasticsearch::start().await;
    let folder = tempfile::tempdir().unwrap();
    let listen = format!("unix:{}", folder.path().join("grpc.sock").display());
    let config = headers_config(&elasticsearch.url, "  trusted_peers: [\"spiffe://company/login-proxy\"]");
    let elastauth = Elastauth::start_at(elastauth!(), &config, &listen, "");
    let authority = Authority::new("company");
    let server = authority.server();
    for (name, content) in [("ca.pem", &authority.pem), ("cert.pem", &server.cert), ("key.pem", &server.key)] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let file = |name: &str| format!("{{ filename: \"{}\" }}", folder.path().join(name).display());
    let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
    let socket = format!(
        "    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_certificates: [ {{ certificate_chain: {cert}, private_key: {key} }} ]
            validation_context: {{ trusted_ca: {ca} }}
      filters:
"
    );
    let edit = |text: String| {
        let text = exchange(text, "    - filters:\n", &socket);
        // here the login proxy's own headers arrive with the request
        let text = exchange(text, "- { remove: remote-user }", "- { remove: x-nobody }");
        exchange(text, "- { remove: remote-groups }", "- { remove: x-nobody }")
    };
    let Some(envoy) = Envoy::start_edited(&[&listen], elasticsearch.address(), edit).await else { return };
    let url = envoy.url.replace("http://", "https://");
    for (name, expected) in [("spiffe://company/login-proxy", 200), ("spiffe://company/batch-job", 403)] {
        let mut tls = rustls::ClientConfig::clone(&client(&[&authority], Some(&authority.sign(&[name]))));
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap();
        let request = http.get(format!("{url}/_search")).header("remote-user", "ann").header("remote-groups", "admins");
        assert_eq!(request.send().await.unwrap().status().as_u16(), expected, "{name}");
    }
    elastauth.process.wait_for_line(0, &["identity_peer"]);
    assert_eq!(elasticsearch.user("ann").unwrap().roles, ["kibana_admin", "monitoring_user"]);
}
