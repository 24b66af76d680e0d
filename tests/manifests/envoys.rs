//! Checks the shipped configuration files of Envoy itself.

use serde_json::{Value, json};

use super::{deadline, milliseconds, read};
use elastauth_support::yaml::{all, documents};

const FILES: [&str; 4] = ["envoy/envoy.yaml", "envoy/authelia.yaml", "envoy/login.yaml", "envoy/compose/envoy.yaml"];

/// The shipped files for Envoy itself, each with its content.
fn files() -> impl Iterator<Item = (&'static str, Value)> {
    FILES.into_iter().map(|file| (file, documents(&read(file)).remove(0)))
}

/// The snippets of the pages that configure Envoy.
fn snippets() -> Vec<(&'static str, Value)> {
    let mut found = Vec::new();
    for page in ["README.md", "docs/getting-started.md", "docs/deployment.md"] {
        let text = read(page);
        let snippets = text.split("```yaml").skip(1).filter_map(|rest| rest.split_once('\n'));
        for snippet in snippets.map(|(_tag, rest)| rest.split("```").next().unwrap()) {
            if snippet.contains("grpc_service:") {
                found.extend(documents(snippet).into_iter().map(|value| (page, value)));
            }
        }
    }
    assert!(!found.is_empty(), "the pages show how Envoy asks");
    found
}

#[test]
fn envoy_waits_longer_than_elastauth_takes_and_gives_no_try_up_before() {
    for (file, text) in files().chain(snippets()) {
        let asks: Vec<_> = all(&text, "grpc_service")
            .into_iter()
            .filter(|ask| ask["envoy_grpc"]["cluster_name"] == "elastauth")
            .collect();
        assert_eq!(asks.len(), 1, "{file}");
        let timeout = milliseconds(&asks[0]["timeout"]);
        assert!(timeout >= deadline() + 500, "{file}: {timeout} ms, and elastauth takes up to {} ms", deadline());
        let backs_off = &asks[0]["retry_policy"]["retry_back_off"];
        // Envoy also uses this as the time-out of each attempt
        if !backs_off.is_null() {
            assert!(milliseconds(&backs_off["max_interval"]) > timeout, "{file}: {backs_off}");
        }
    }
}

#[test]
fn envoy_names_its_hosts_and_cleans_what_clients_send_before_anybody_is_asked() {
    for (file, text) in files() {
        for domains in all(&text, "domains") {
            let domains = domains.as_array().unwrap();
            assert!(domains.iter().all(|host| !host.as_str().unwrap().contains('*')), "{file}: {domains:?}");
        }
        assert!(all(&text, "ignore_port_in_host_matching").is_empty(), "{file}: it removes more than a port");
        let [config] = all(&text, "early_header_mutation_extensions")[..] else { panic!("{file}") };
        for header in
            ["remote-user", "remote-groups", "x-forwarded-user", "es-security-runas-user", "es-secondary-authorization"]
        {
            let mutations = config[0]["typed_config"]["mutations"].as_array().unwrap();
            assert!(mutations.contains(&json!({ "remove": header })), "{file} leaves {header}");
        }
        for (key, value) in [
            ("normalize_path", json!(true)),
            ("merge_slashes", json!(true)),
            ("path_with_escaped_slashes_action", json!("UNESCAPE_AND_REDIRECT")),
            ("headers_with_underscores_action", json!("REJECT_REQUEST")),
            ("use_remote_address", json!(true)),
        ] {
            assert_eq!(all(&text, key), [&value], "{file}: {key}");
        }
        for fails in all(&text, "failure_mode_allow") {
            assert_eq!(fails, false, "{file}");
        }
        let address = &text["admin"]["address"]["socket_address"]["address"];
        assert_eq!(address, "127.0.0.1", "{file}: /config_dump shows secrets");
    }
}

#[test]
fn envoy_speaks_tls_to_every_address_that_may_be_another_machine() {
    for (file, text) in files().filter(|(file, _)| !file.contains("compose")) {
        let mut outside = 0;
        for cluster in text["static_resources"]["clusters"].as_array().unwrap() {
            let addresses = all(cluster, "socket_address");
            let elsewhere = addresses.iter().any(|address| address["address"] != "127.0.0.1");
            outside += usize::from(elsewhere);
            let tls = &cluster["transport_socket"]["typed_config"];
            let validation = &tls["common_tls_context"]["validation_context"];
            let checked =
                validation["trusted_ca"].is_object() && validation["match_typed_subject_alt_names"].is_array();
            assert!(!elsewhere || checked && tls["sni"].is_string(), "{file}: {}", cluster["name"]);
        }
        let elsewhere = 1 + usize::from(file.contains("login"));
        assert_eq!(outside, elsewhere, "{file}: only Elasticsearch, and the provider, are on other machines");
    }
}
