//! `oidc`, once or as a list.

use super::*;
use crate::identity::issuer::Validation;

const REST: &str = "elasticsearch: {hosts: [\"https://es:9200\"], username: elastauth, password: pw}\n";

fn issuers(loaded: &Loaded) -> Vec<(String, String, Validation)> {
    let Provider::Oidc(issuers, _) = &loaded.settings.identity else { panic!("oidc") };
    let shown = |(_, tokens): &(_, identity::issuer::Settings)| {
        (tokens.token.issuer.clone(), tokens.token.claims.username_prefix.clone(), tokens.validation)
    };
    issuers.iter().map(shown).collect()
}

fn issuer(name: &str, prefix: &str, validation: Validation) -> (String, String, Validation) {
    (name.to_owned(), prefix.to_owned(), validation)
}

#[test]
fn each_item_of_the_list_is_an_issuer_with_settings_of_its_own() {
    let text = format!(
        "oidc:\n- issuer: \"${{STAFF}}\"\n  client_id: one\n  username_prefix: staff-\n  audience: [a, b]\n- issuer: https://partners\n  client_id: two\n  \
         client_secret: hidden\n  token_validation: introspection\n  username_prefix: partner-\n  claim_mappings: {{groups: roles}}\n{REST}"
    );
    // bare names may be what the file puts in; they do not speak of an item
    let loaded = load_text(&text, &env(&[("STAFF", "https://staff"), ("OIDC_CLIENT_ID", "three")])).unwrap();
    assert_eq!(
        issuers(&loaded),
        [
            issuer("https://staff", "staff-", Validation::Jwks),
            issuer("https://partners", "partner-", Validation::Introspection)
        ]
    );
    let Provider::Oidc(both, _) = &loaded.settings.identity else { panic!("oidc") };
    assert_eq!(
        (&both[0].1.token.audiences, &both[1].1.token.audiences),
        (&vec!["a".into(), "b".into()], &vec!["two".into()])
    );
    assert_eq!((both[0].1.token.claims.groups.as_str(), both[1].1.token.claims.groups.as_str()), ("groups", "roles"));
    let shown: BTreeMap<_, _> = loaded.effective.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
    assert_eq!((shown["oidc[0].issuer"], shown["oidc[1].issuer"]), ("https://staff", "https://partners"));
    assert_eq!(shown["oidc[1].client_secret"], "[redacted]");
    assert!(!shown.contains_key("oidc.issuer") && loaded.warnings.iter().all(|warning| !warning.contains("prefix")));
}

#[test]
fn the_environment_speaks_of_the_single_form_as_ever() {
    let loaded = load_text(REST, &env(&[("OIDC_ISSUER", "https://one"), ("ELASTAUTH_OIDC_CLIENT_ID", "x")])).unwrap();
    assert_eq!(issuers(&loaded), [issuer("https://one", "", Validation::Jwks)]);
}

#[test]
fn problems_of_an_item_name_it() {
    let text = format!(
        "oidc:\n- issuer: https://one\n  client_id: x\n  token_validation: both\n- isuer: https://two\n  leeway: soon\n\
         - issuer: https://one\n  client_id: x\n  token_validation: introspection\n- text\n{REST}"
    );
    let Problems(problems) = load_text(&text, &env(&[("ELASTAUTH_OIDC_LEEWAY", "1s")])).unwrap_err();
    let all = problems.join("\n");
    for expected in [
        "oidc[1].isuer (line 5): unknown key; did you mean oidc.issuer?",
        "oidc[1].issuer: is required; set it in the file\n",
        "oidc[1].client_id: is required",
        "oidc[1].leeway (line 6): must be a duration",
        "oidc[2].issuer (line 7): is the issuer of two items",
        "oidc[2].token_validation (line 9): one issuer is asked about opaque tokens already",
        "oidc[2].token_validation (line 9): introspection needs",
        "oidc[3] (line 10): must be a section",
        "ELASTAUTH_OIDC_LEEWAY (environment): oidc is a list",
    ] {
        assert!(all.contains(expected), "{expected} is not in\n{all}");
    }
}

#[test]
fn an_empty_list_and_a_list_elsewhere_are_refused() {
    for (text, expected) in [
        (format!("oidc: []\n{REST}"), "oidc (line 1): must have at least one item"),
        (format!("{BASE}cache: [{{type: memory}}]\n"), "cache (line 4): must be a section"),
        (format!("oidc: https://one\n{REST}"), "oidc (line 1): must be a section"),
    ] {
        let Problems(problems) = load_text(&text, &env(&[])).unwrap_err();
        assert!(problems.join("\n").contains(expected), "{problems:?}");
    }
}

#[test]
fn users_of_two_issuers_under_one_prefix_are_warned_of() {
    let text = format!(
        "oidc:\n- {{issuer: \"https://one\", client_id: x}}\n- {{issuer: \"https://two\", client_id: x}}\n{REST}"
    );
    assert!(warns(&load_text(&text, &env(&[])).unwrap(), "oidc[1].username_prefix: another issuer has the same"));
}

#[test]
fn a_prefix_that_names_of_another_issuer_can_begin_with_is_warned_of_with_the_cure() {
    for (prefixes, expected) in [
        (
            &["", "partner-"][..],
            Some("oidc[0].username_prefix: partner-bob of this issuer and bob of oidc[1] are both"),
        ),
        (&["partner-", ""], Some("oidc[1].username_prefix: partner-bob of this issuer and bob of oidc[0] are both")),
        (&["a-", "b-", "a-b-"], Some("oidc[0].username_prefix: b-bob of this issuer and bob of oidc[2] are both")),
        (&["staff-", "partner-"], None),
        (&["a-", "b-a-"], None),
    ] {
        let mut items = String::new();
        for (at, prefix) in prefixes.iter().enumerate() {
            items.push_str(&format!("- issuer: \"https://i{at}\"\n  client_id: x\n"));
            if !prefix.is_empty() {
                items.push_str(&format!("  username_prefix: {prefix}\n"));
            }
        }
        let loaded = load_text(&format!("oidc:\n{items}{REST}"), &env(&[])).unwrap();
        let said: Vec<&String> = loaded.warnings.iter().filter(|warning| warning.contains("username_prefix")).collect();
        match expected {
            None => assert!(said.is_empty(), "{prefixes:?}: {said:?}"),
            Some(expected) => {
                let [warning] = said.as_slice() else { panic!("{prefixes:?}: {said:?}") };
                assert!(
                    warning.contains(expected) && warning.contains("give each issuer a prefix of its own"),
                    "{warning}"
                );
            }
        }
    }
}

#[test]
fn each_way_of_validation_says_what_it_needs_and_what_it_cannot_tell() {
    let with = |more: &str| {
        load_text(&BASE.replace("client_id: elastauth", &format!("client_id: elastauth, {more}")), &env(&[]))
    };
    assert!(warns(
        &with("token_validation: both").unwrap(),
        "oidc.token_validation: userinfo does not say for which client"
    ));
    assert!(warns(&with("token_validation: userinfo").unwrap(), "userinfo does not say for which client"));
    assert!(with("token_validation: introspection").unwrap_err().to_string().contains("needs oidc.client_id"));
    let loaded = with("token_validation: introspection, client_secret: s").unwrap();
    assert_eq!(issuers(&loaded)[0].2, Validation::Introspection);
    assert!(with("token_validation: maybe").unwrap_err().to_string().contains("must be jwks"));
    assert!(with("username_case: upper").unwrap_err().to_string().contains("must be keep or lower"));
}

#[test]
fn both_names_of_the_algorithm_of_ed25519_are_understood() {
    use jsonwebtoken::Algorithm::{ES256, EdDSA};
    let with = |names: &str| {
        let more = format!("client_id: elastauth, algorithms: [{names}]");
        load_text(&BASE.replace("client_id: elastauth", &more), &env(&[]))
    };
    for (names, expected) in [("EdDSA", &[EdDSA][..]), ("Ed25519", &[EdDSA]), ("Ed25519, ES256", &[EdDSA, ES256])] {
        let loaded = with(names).unwrap();
        let Provider::Oidc(issuers, _) = &loaded.settings.identity else { panic!("oidc") };
        assert_eq!(issuers[0].1.token.algorithms, expected, "{names}");
    }
    assert!(with("Ed448").unwrap_err().to_string().contains("Ed448 is not supported"));
}

#[test]
fn the_places_that_any_issuer_names_are_looked_at_and_cleared() {
    let text = format!(
        "oidc:\n- {{issuer: \"https://one\", client_id: x, token_header: X-Token}}\n\
         - {{issuer: \"https://two\", client_id: x, token_header: x-token, token_cookie: session}}\n{REST}"
    );
    let loaded = load_text(&text, &env(&[])).unwrap();
    let Provider::Oidc(_, sources) = &loaded.settings.identity else { panic!("oidc") };
    assert_eq!(
        (sources.headers.len(), sources.headers[0].as_str(), &sources.cookies[..]),
        (1, "x-token", &["session".to_owned()][..])
    );
    let stripped = &loaded.settings.stripped;
    assert!(stripped.headers.contains(&sources.headers[0]) && stripped.cookies.names == ["session"]);
    for (more, expected) in [
        ("token_header: Authorization", "oidc.token_header (line 2)"),
        ("token_header: \":path\"", "oidc.token_header (line 2)"),
        ("token_header: cookie", "oidc.token_header (line 2)"),
        ("token_cookie: \"a b\"", "oidc.token_cookie (line 2)"),
        ("token_cookie: \"a=b\"", "oidc.token_cookie (line 2)"),
    ] {
        let text = BASE.replace("client_id: elastauth", &format!("client_id: elastauth, {more}"));
        let Problems(problems) = load_text(&text, &env(&[])).unwrap_err();
        assert!(problems.join("\n").contains(expected), "{more}: {problems:?}");
    }
}

#[test]
fn cookies_that_never_go_on_are_named_whole_or_by_their_beginning() {
    let text = format!(
        "oidc:\n- {{issuer: \"https://one\", client_id: x, strip_cookies: [BearerToken, \"Oauth*\"]}}\n\
         - {{issuer: \"https://two\", client_id: x, strip_cookies: RefreshToken, token_cookie: session}}\n{REST}"
    );
    let stripped = load_text(&text, &env(&[])).unwrap().settings.stripped.cookies;
    assert_eq!(stripped.names, ["BearerToken", "RefreshToken", "session"]);
    assert_eq!(stripped.prefixes, ["Oauth"]);
    for wrong in ["\"*\"", "\"a*b\"", "\"a**\"", "\"a b\"", "\"a=b\"", "a/b"] {
        let text = BASE.replace("client_id: elastauth", &format!("client_id: elastauth, strip_cookies: [{wrong}]"));
        let Problems(problems) = load_text(&text, &env(&[])).unwrap_err();
        assert!(problems.join("\n").contains("oidc.strip_cookies (line 2)"), "{wrong}: {problems:?}");
    }
}
