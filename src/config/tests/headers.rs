//! Callers named by headers: `auth_provider: authelia`.

use ::http::HeaderName;

use super::*;
use crate::identity::headers;

const BASE: &str = "
auth_provider: authelia
elasticsearch: {hosts: [\"https://es:9200\"], username: elastauth, password: pw}
";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn headers(loaded: &Loaded) -> &headers::Settings {
    let Provider::Headers(headers) = &loaded.settings.identity else { panic!("headers") };
    headers
}

fn problems(text: &str) -> String {
    load_text(&format!("{BASE}{text}"), &env(&[])).unwrap_err().0.join("\n")
}

#[test]
fn headers_without_an_anchor_are_refused_with_the_cure() {
    for text in [
        "",
        "authelia: {trusted_peers: [\"spiffe://td/proxy\"]}",
        "authelia: {metadata_namespace: envoy.filters.http.jwt_authn}",
        "grpc: {listen: \"unix:/run/e.sock\"}",
        "grpc: {listen: \"0.0.0.0:9001\", allow_insecure: true}\nauthelia: {trusted_peers: [p]}",
        "grpc: {listen: \"unix:/run/e.sock\", allow_insecure: true}\nauthelia: {trusted_peers: [p]}",
    ] {
        let problems = problems(text);
        for part in ["authelia.shared_secret", "generate-key", "context_extensions", "authelia.trusted_peers"] {
            assert!(problems.contains(part), "{text}: {part} is not in\n{problems}");
        }
    }
}

#[test]
fn headers_behind_an_anchor_that_counts_are_accepted() {
    let secret = format!("shared_secret: \"{SECRET}\"");
    for (text, warning) in [
        (format!("authelia: {{{secret}}}"), None),
        (format!("authelia: {{{secret}}}\ngrpc: {{listen: \"0.0.0.0:9001\", allow_insecure: true}}"), None),
        (format!("authelia: {{{secret}, trusted_peers: [p]}}"), Some("authelia.trusted_peers: any program")),
        ("authelia: {trusted_peers: [p]}\ngrpc: {listen: \"unix:/run/e.sock\"}".to_owned(), None),
        (
            "authelia: {metadata_namespace: n, metadata_payload: p}\ngrpc: {listen: \"unix:/run/e.sock\"}".to_owned(),
            None,
        ),
    ] {
        let loaded = load_text(&format!("{BASE}{text}"), &env(&[])).unwrap();
        let counts = loaded.warnings.iter().any(|warning| warning.contains("only the secret protects"));
        assert_eq!(counts, warning.is_some(), "{text}: {:?}", loaded.warnings);
        assert!(warning.is_none_or(|part| warns(&loaded, part)));
    }
}

#[test]
fn the_go_services_keys_keep_their_names_and_defaults() {
    let set = env(&[("AUTHELIA_SHARED_SECRET", SECRET), ("AUTHELIA_HEADER_GROUPS", "X-Teams")]);
    let loaded = load_text(BASE, &set).unwrap();
    let names = headers(&loaded).names.all();
    assert_eq!(names.each_ref().map(HeaderName::as_str), ["remote-user", "x-teams", "remote-email", "remote-name"]);
    assert_eq!(loaded.settings.stripped.headers, names, "and they are removed from what goes on");
    assert!(!format!("{:?}", loaded.effective).contains(SECRET));
    let tokens = load_text(super::BASE, &env(&[])).unwrap();
    assert_eq!(tokens.settings.stripped.headers.len(), 4, "also where tokens name the caller");
}

#[test]
fn what_cannot_name_the_caller_is_an_error() {
    for (setting, part) in [
        ("header_username: Authorization", "authelia.header_username (line 5): authorization cannot"),
        ("header_username: Host", "host cannot"),
        ("header_groups: \":path\"", "authelia.header_groups (line 5): pseudo headers"),
        ("header_email: \"a b\"", "authelia.header_email (line 5): must be the name of a header"),
        ("header_groups: remote-USER", "one header cannot have two meanings: remote-user"),
        ("groups_separator: \"\\\\\"", "authelia.groups_separator (line 5)"),
        ("groups_separator: \", \"", "authelia.groups_separator (line 5)"),
        ("shared_secret: short", "must have at least 32 characters"),
        ("metadata_payload: p", "authelia.metadata_payload (line 5): is a key within"),
    ] {
        let problems = problems(&format!("authelia:\n  {setting}\n"));
        assert!(problems.contains(part), "{setting}: {part} is not in\n{problems}");
        assert!(!problems.contains("short"), "no secret is shown");
    }
}
