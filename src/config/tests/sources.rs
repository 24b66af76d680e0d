//! Which of the image, the file and the environment gives the value of a key.

use super::*;

#[test]
fn the_address_of_the_image_is_used_only_where_neither_the_file_nor_a_variable_gives_another() {
    let image = ("ELASTAUTH_IMAGE_LISTEN", "0.0.0.0:5000");
    let file = format!("{BASE}listen: 127.0.0.1:6000\n");
    for (text, set, expected) in [
        (BASE, &[][..], "127.0.0.1:5000"),
        (BASE, &[image], "0.0.0.0:5000"),
        (&file, &[image], "127.0.0.1:6000"),
        (BASE, &[image, ("LISTEN", "127.0.0.1:7000")], "127.0.0.1:7000"),
        (&file, &[image, ("ELASTAUTH_LISTEN", "127.0.0.1:8000")], "127.0.0.1:8000"),
    ] {
        let loaded = load_text(text, &env(set)).unwrap();
        assert_eq!(loaded.settings.http.listen.to_string(), expected, "{set:?}");
        assert!(loaded.effective.contains(&("listen".into(), expected.into())), "`check` tells");
    }
}

#[test]
fn files_and_addresses_that_would_end_the_start_are_problems_of_the_configuration() {
    let oidc = |more: &str| BASE.replace("client_id: elastauth", &format!("client_id: elastauth, {more}"));
    let elasticsearch = |more: &str| BASE.replace("password: pw", &format!("password: pw, {more}"));
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.pem");
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let garbage = garbage.to_str().unwrap();
    for (text, expected) in [
        (BASE.replace("example.com", "example.com/?a=b"), "oidc.issuer (line 2): the issuer is not"),
        (BASE.replace("example.com", "example.com/#x"), "oidc.issuer (line 2): the issuer is not"),
        (oidc("jwks_uri: \"http://keys\""), "oidc.jwks_uri (line 2): the address http://keys/ is neither https"),
        (oidc("introspection_endpoint: \"http://i\""), "oidc.introspection_endpoint (line 2): the address"),
        (oidc("ca_file: /nowhere/ca.pem"), "oidc.ca_file (line 2): /nowhere/ca.pem: No such file"),
        (oidc(&format!("ca_file: {garbage}")), "oidc.ca_file (line 2): "),
        (elasticsearch("ca_file: /nowhere/ca.pem"), "elasticsearch.ca_file (line 3): /nowhere/ca.pem: No such file"),
        (elasticsearch(&format!("ca_file: {garbage}")), "elasticsearch.ca_file (line 3): "),
        (
            elasticsearch("client_certificate_file: /nowhere/c.pem, client_key_file: /nowhere/k.pem"),
            "elasticsearch.client_certificate_file (line 3): /nowhere/c.pem: No such file",
        ),
        (
            format!("{BASE}tracing: {{endpoint: \"https://collector\", ca_file: /nowhere/ca.pem}}\n"),
            "tracing.ca_file: /nowhere/ca.pem: No such file",
        ),
        (
            format!("{BASE}tracing: {{endpoint: \"http://127.0.0.1:4317\", headers: nonsense}}\n"),
            "tracing.headers: must be name=value",
        ),
    ] {
        let problems = load_text(&text, &env(&[])).unwrap_err().to_string();
        assert!(problems.contains(expected), "{expected} is not in\n{problems}");
    }
}

#[test]
fn a_key_that_is_none_any_more_is_named_with_what_to_do_instead() {
    for (path, value, instead) in [
        ("cache.refused_token_max_entries", "5", "a tenth of cache.token_max_entries"),
        ("cache.redis_idle_timeout", "1m", "is not needed: connections that have not been used for five minutes"),
        ("tracing.service_name", "x", "set OpenTelemetry's variable OTEL_SERVICE_NAME"),
        ("tracing.sampler", "always_off", "set OpenTelemetry's variable OTEL_TRACES_SAMPLER"),
        ("tracing.sampler_arg", "0.5", "set OpenTelemetry's variable OTEL_TRACES_SAMPLER_ARG"),
    ] {
        let (section, name) = path.split_once('.').unwrap();
        let problems =
            load_text(&format!("{BASE}{section}: {{{name}: {value}}}\n"), &env(&[])).unwrap_err().to_string();
        let expected = format!("{path} (line 4): is not a key any more");
        assert!(problems.contains(&expected) && problems.contains(instead), "{expected}, {instead}:\n{problems}");
        let variable = path.replace('.', "_").to_uppercase();
        let prefixed = format!("ELASTAUTH_{variable}");
        let problems = load_text(BASE, &env(&[(&prefixed, value)])).unwrap_err().to_string();
        assert!(problems.contains(&format!("{prefixed} (environment): {path} is not a key any more")), "{problems}");
        assert!(!problems.contains("unknown setting"), "{problems}");
        // without our prefix it may be another program's
        let loaded = load_text(BASE, &env(&[(&variable, value)])).unwrap();
        assert!(warns(&loaded, &format!("{variable} (environment): {path} is not a key any more")));
    }
}
