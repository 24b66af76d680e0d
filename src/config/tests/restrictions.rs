//! Keys that restrict are in force, or the configuration is refused.

use super::*;
use crate::config::keys::{self, Kind};

fn problems(text: &str, set: &[(&str, &str)]) -> String {
    match load_text(text, &env(set)) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

/// The base with one more line in its section, in block style.
fn with(path: &str, value: &str) -> String {
    let (section, rest) = match path.split_once('.') {
        Some((section, rest)) => (section, rest),
        None => ("", path),
    };
    let mut nested = String::new();
    for (depth, name) in rest.split('.').enumerate() {
        nested.push_str(&format!("\n{}{name}:", "  ".repeat(depth + usize::from(!section.is_empty()))));
    }
    let line = format!("{nested} {value}\n");
    let oidc = "  issuer: \"https://auth.example.com\"\n  client_id: elastauth";
    let elasticsearch = "  hosts: [\"https://es:9200\"]\n  username: elastauth\n  password: pw";
    let mut text = String::new();
    for (name, lines) in [("oidc", oidc), ("elasticsearch", elasticsearch)] {
        let more = if name == section { line.as_str() } else { "\n" };
        text.push_str(&format!("{name}:\n{lines}{more}"));
    }
    if section.is_empty() {
        text.push_str(&line);
    } else if !["oidc", "elasticsearch"].contains(&section) {
        text.push_str(&format!("{section}:{line}"));
    }
    // what makes the key one that is read
    match section {
        "authelia" => text.push_str("auth_provider: authelia\n"),
        "cache" => text.push_str("  type: redis\n  redis_tls: true\n"),
        "tracing" => text.push_str("  endpoint: \"http://127.0.0.1:4317\"\n"),
        _ => {}
    }
    text
}

#[test]
fn every_restricting_key_that_is_written_and_comes_out_empty_is_an_error_that_names_it_and_the_variable() {
    let keys: Vec<_> = keys::all().filter(|key| key.restricts).collect();
    assert!(keys.len() > 25, "the keys were found");
    for key in keys {
        let path = key.path;
        for value in ["\"${NOWHERE}\"", "[\"${NOWHERE}\"]", "\"\"", "[\"\", \"\"]", "[]", ""] {
            let said = problems(&with(path, value), &[]);
            let line = said.lines().find(|line| line.contains(&format!("- {path} (line")) && line.contains("empty"));
            let Some(line) = line else { panic!("{path}: {value}: {said}") };
            assert_eq!(line.contains("${NOWHERE} is unset or empty"), value.contains("NOWHERE"), "{line}");
        }
        if key.kind != Kind::Mapping {
            let bare = path.replace('.', "_").to_uppercase();
            for name in [format!("ELASTAUTH_{bare}"), bare] {
                let text = with(path, "x").replace(&format!("{}: x\n", path.rsplit('.').next().unwrap()), "\n");
                let said = problems(&text, &[(&name, "")]);
                assert!(said.contains(&format!("{name} (environment): is empty, and {path} ")), "{name}: {said}");
            }
        }
    }
}

#[test]
fn the_restrictions_of_the_field_are_refused_wherever_their_variable_stands() {
    for (text, part) in [
        ("oidc: {required_claims: {department: [\"${DEPT}\"]}}", "oidc.required_claims (line 1): ${DEPT} is unset"),
        ("oidc: {required_claims: {department: \"${DEPT}\"}}", "oidc.required_claims (line 1): ${DEPT} is unset"),
        ("oidc: {required_claims: {department: [\"\"]}}", "oidc.required_claims (line 1): is written and empty"),
        ("oidc: {required_claims: {a: [x], department: }}", "oidc.required_claims (line 1): is written and empty"),
        ("oidc: {groups_prefix: \"${TENANT}-\"}", "oidc.groups_prefix (line 1): ${TENANT} is unset"),
        ("denied_roles: [superuser, \"${ALSO}\"]", "denied_roles (line 1): ${ALSO} is unset"),
        ("denied_roles: \", ,\"", "denied_roles (line 1): is written and empty"),
        ("policy: {allow: [{paths: [\"/${TENANT}\"]}]}", "policy.allow (line 1): ${TENANT} is unset"),
        ("policy: {allow: [{claims: {team: [\"${TEAM}\"]}}]}", "policy.allow (line 1): ${TEAM} is unset"),
        ("policy: {allow: []}", "policy.allow (line 1): is written and empty"),
        ("policy: \"${POLICY}\"", "policy (line 1): must be a section"),
        ("oidc: [{groups_prefix: a}, {groups_prefix: \"${TWO}\"}]", "oidc[1].groups_prefix (line 1): ${TWO} is unset"),
    ] {
        let said = problems(text, &[("DEPT", "")]);
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let said = problems(&with("oidc.audience", "x"), &[("ELASTAUTH_OIDC_AUDIENCE", ", ,")]);
    assert!(said.contains("ELASTAUTH_OIDC_AUDIENCE (environment): holds no value for oidc.audience"), "{said}");
}

#[test]
fn what_is_required_names_the_variable_too() {
    let text = "oidc: {issuer: \"${ISSUER}\", client_id: x}\nelasticsearch: {hosts: [\"https://es\"], username: u, password: \"${PW}\"}\n";
    let said = problems(text, &[]);
    for part in ["oidc.issuer (line 1): is required", "${ISSUER} is unset or empty", "${PW} is unset or empty"] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

#[test]
fn what_still_restricts_is_accepted() {
    for (path, value, set) in [
        // a claim that must be there, with any value
        ("oidc.required_claims", "{department: []}", &[][..]),
        ("oidc.authorized_parties", "[kibana, \"${OTHER:-}\"]", &[]),
        ("oidc.authorized_parties", "[\"${OTHER:-kibana}\"]", &[]),
        ("oidc.groups_prefix", "\"${PREFIX}\"", &[("PREFIX", "team-")]),
        // another place says it
        ("oidc.groups_prefix", "\"${PREFIX}\"", &[("OIDC_GROUPS_PREFIX", "team-")]),
        ("oidc.groups_prefix", "team-", &[("OIDC_GROUPS_PREFIX", "")]),
        ("oidc.groups_prefix", "team-", &[("ELASTAUTH_OIDC_GROUPS_PREFIX", ""), ("OIDC_GROUPS_PREFIX", "other-")]),
        // of no effect where callers bring tokens
        ("authelia.trusted_peers", "[\"${PEERS}\"]", &[("AUTH_PROVIDER", "oidc")]),
        // no restrictions: an empty optional is absent
        ("oidc.userinfo_endpoint", "\"\"", &[]),
        ("elasticsearch.api_key", "\"${API_KEY}\"", &[("ELASTICSEARCH_API_KEY", "")]),
        ("default_roles", "[\"${ROLE}\"]", &[]),
    ] {
        assert_eq!(problems(&with(path, value), set), "", "{path}: {value} {set:?}");
    }
}

#[test]
fn an_empty_secret_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty");
    std::fs::write(&file, "\n").unwrap();
    let path = file.to_str().unwrap();
    let without_password = BASE.replace(", password: pw", "");
    for (text, name) in [
        (without_password.as_str(), "ELASTICSEARCH_PASSWORD_FILE"),
        (BASE, "SECRET_KEY_FILE"),
        (BASE, "ELASTAUTH_SECRET_KEY_FILE"),
        (BASE, "OIDC_CLIENT_SECRET_FILE"),
        (BASE, "PREVIOUS_SECRET_KEYS_FILE"),
    ] {
        let said = problems(text, &[(name, path), ("CACHE_TYPE", "redis")]);
        assert!(said.contains(&format!("{name} (environment): {path} is empty")), "{name}: {said}");
    }
    let introspection = "client_id: elastauth, token_validation: introspection, client_secret: \"${SECRET}\"";
    let said = problems(&BASE.replace("client_id: elastauth", introspection), &[]);
    assert!(said.contains("needs oidc.client_id and oidc.client_secret"), "{said}");
}

#[test]
fn a_variable_for_what_only_the_file_can_hold_is_an_error_that_names_the_key() {
    for key in keys::all().filter(|key| key.kind == Kind::Mapping) {
        let bare = key.path.replace('.', "_").to_uppercase();
        for name in [format!("ELASTAUTH_{bare}"), format!("ELASTAUTH_{bare}_ADMINS")] {
            for value in ["admins=superuser", ""] {
                let said = problems(BASE, &[(&name, value)]);
                let expected = format!("{name} (environment): {} can only be written into the file", key.path);
                assert!(said.contains(&expected), "{expected} is not in\n{said}");
                assert!(!said.contains("unknown setting"), "{said}");
            }
        }
        // a name without our prefix may be another program's; a restriction is not risked for that
        let said = problems(BASE, &[(&bare, "x")]);
        assert_eq!(said.contains(&format!("{bare} (environment): {}", key.path)), key.restricts, "{said}");
    }
    let loaded = load_text(BASE, &env(&[("GROUP_MAPPINGS_ADMINS", "superuser")])).unwrap();
    assert!(warns(&loaded, "GROUP_MAPPINGS_ADMINS (environment): group_mappings can only be written into the file"));
    // the file itself reads it
    let set = [("OIDC_REQUIRED_CLAIMS", "sales")];
    assert_eq!(problems(&with("oidc.required_claims", "{department: [\"${OIDC_REQUIRED_CLAIMS}\"]}"), &set), "");
    for name in ["ELASTAUTH_OIDC", "ELASTAUTH_OIDC_0_ISSUER", "ELASTAUTH_POLICY"] {
        assert!(problems(BASE, &[(name, "x")]).contains(&format!("{name} (environment): unknown setting")), "{name}");
    }
}

#[test]
fn a_restriction_is_not_lost_where_its_section_stands_twice() {
    let twice = |first: &str| format!("oidc: {{issuer: \"https://old\", {first}}}\n{BASE}");
    for (first, lost) in [
        (
            "required_claims: {department: [it]}",
            Some("oidc.required_claims (line 1): is in a section that is written again"),
        ),
        ("claim_mappings: {groups: roles}", Some("oidc.claim_mappings.groups (line 1): is in a section")),
        ("client_id: x, timeout: 1s", None),
    ] {
        let said = problems(&twice(first), &[]);
        assert_eq!(!said.is_empty(), lost.is_some(), "{first}: {said}");
        assert!(said.contains(lost.unwrap_or_default()), "{said}");
    }
    let both = format!("policy: {{allow: [{{groups: a}}]}}\n{BASE}policy: {{allow: [{{groups: b}}]}}\n");
    assert_eq!(problems(&both, &[]), "", "the last one is used");
}

#[test]
fn a_restriction_that_has_no_effect_is_warned_of() {
    let text = format!("{BASE}authelia: {{trusted_peers: [p]}}\ncache: {{redis_tls_ca_file: /nowhere}}\n");
    let loaded = load_text(&text, &env(&[])).unwrap();
    for path in ["authelia.trusted_peers", "cache.redis_tls_ca_file"] {
        assert!(warns(&loaded, &format!("{path}: is written, and has no effect")), "{:?}", loaded.warnings);
    }
    assert!(!warns(&load_text(BASE, &env(&[])).unwrap(), "has no effect"));
}

#[test]
fn a_restriction_in_the_environment_is_not_lost_where_issuers_are_a_list() {
    let text = BASE.replace("oidc: {", "oidc: [{").replace("elastauth}\nelastic", "elastauth}]\nelastic");
    let said = problems(&text, &[("OIDC_GROUPS_PREFIX", "team-")]);
    assert!(
        said.contains("OIDC_GROUPS_PREFIX (environment): oidc is a list; write ${OIDC_GROUPS_PREFIX} into its items"),
        "{said}"
    );
    let named = text.replace("client_id:", "groups_prefix: \"${OIDC_GROUPS_PREFIX}\", client_id:");
    assert_eq!(problems(&named, &[("OIDC_GROUPS_PREFIX", "team-")]), "");
}
