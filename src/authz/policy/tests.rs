use std::time::SystemTime;

use super::*;
use crate::authz::Text;
use crate::identity::{AsOf, Owner, Username};

fn identity(groups: &[&str], claims: &[(&str, &[&str])]) -> Identity {
    let strings = |values: &[&str]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    Identity {
        username: Username::parse("ann").unwrap(),
        owner: Owner { issuer: "i".into(), subject: "s".into() },
        email: None,
        full_name: None,
        groups: strings(groups),
        claims: claims.iter().map(|(name, values)| ((*name).to_owned(), strings(values))).collect(),
        as_of: AsOf::Now,
        expires: SystemTime::UNIX_EPOCH,
    }
}

fn request(method: &'static str, host: &'static str, path: &'static str) -> Request {
    let text = |text: &'static str| Text(text.into());
    Request { method: text(method), host: text(host), path: text(path), ..Request::default() }
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn policy() -> Policy {
    let rule = |name: &str| Rule { name: name.into(), ..Rule::default() };
    Policy::new(Settings {
        allow: vec![
            Rule { groups: strings(&["Admins", "ops"]), ..rule("admins") },
            Rule {
                groups: strings(&["developers"]),
                hosts: vec![Host::parse("es.example.org").unwrap()],
                paths: vec![Prefix::parse("/logs-*").unwrap(), Prefix::parse("/_search").unwrap()],
                methods: strings(&["GET", "HEAD"]),
                ..rule("developers read logs")
            },
            Rule {
                claims: vec![("department".into(), strings(&["it", "hr"])), ("level".into(), strings(&["3"]))],
                ..rule("by claims")
            },
        ],
        preflight: false,
    })
}

#[test]
fn the_first_rule_whose_conditions_all_hold_lets_the_caller_through_and_is_named() {
    let (get, post) =
        (request("GET", "ES.example.org:9200", "/logs-1/_search"), request("POST", "es.example.org", "/logs-1"));
    let elsewhere = request("GET", "kibana.example.org", "/logs-1");
    let other_path = request("GET", "es.example.org", "/secret");
    for (groups, claims, request, expected) in [
        (&["ADMINS"][..], &[][..], &post, Some("admins")),
        (&["developers", "ops"], &[], &get, Some("admins")),
        (&["developers"], &[], &get, Some("developers read logs")),
        (&["Developers"], &[], &get, Some("developers read logs")),
        (&["developers"], &[], &post, None),
        (&["developers"], &[], &elsewhere, None),
        (&["developers"], &[], &other_path, None),
        (&["guests"], &[], &get, None),
        (&[], &[], &get, None),
        (&[], &[("department", &["hr"][..]), ("level", &["1", "3"])], &post, Some("by claims")),
        (&[], &[("department", &["hr"])], &post, None),
        (&[], &[("department", &["HR"]), ("level", &["3"])], &post, None),
        // a group is no claim
        (&["it"], &[("level", &["3"])], &post, None),
    ] {
        let policy = policy();
        let mut identity = identity(groups, claims);
        let judge = |identity: &Identity| policy.judge(identity, request).map(|rule| rule.unwrap().to_string());
        assert_eq!(judge(&identity).ok().as_deref(), expected, "{groups:?} {claims:?} {request:?}");
        policy.reduce(&mut identity);
        assert_eq!(judge(&identity).ok().as_deref(), expected, "what the rules name is enough: {identity:?}");
    }
}

#[test]
fn only_ascii_letters_of_a_rules_group_match_in_another_case() {
    let rule = Rule { groups: strings(&["kibana-admins", "Ärzte"]), name: "people".into(), ..Rule::default() };
    let policy = Policy::new(Settings { allow: vec![rule], preflight: false });
    let request = request("GET", "es.example.org", "/");
    for (group, expected) in [
        ("Kibana-Admins", true),
        ("Ärzte", true),
        ("ÄRZTE", true),
        ("ärzte", false),
        ("\u{212a}ibana-admins", false),
        ("kibana-admin\u{17f}", false),
    ] {
        assert_eq!(policy.judge(&identity(&[group], &[]), &request).is_ok(), expected, "{group}");
    }
}

#[test]
fn of_a_caller_only_the_groups_and_values_are_kept_that_a_rule_names() {
    let groups: Vec<String> = (0..5000).map(|n| format!("group-{n}")).chain(strings(&["ops", "OPS", "Ops"])).collect();
    let values: Vec<String> = (0..5000).map(|n| n.to_string()).chain(strings(&["3", "3"])).collect();
    let caller = || Identity {
        groups: groups.clone(),
        claims: vec![("level".into(), values.clone()), ("department".into(), strings(&["sales"]))],
        ..identity(&[], &[])
    };
    let mut reduced = caller();
    policy().reduce(&mut reduced);
    assert_eq!(reduced.groups, ["ops"]);
    assert_eq!(reduced.claims, [("level".to_owned(), strings(&["3"])), ("department".to_owned(), Vec::new())]);

    let mut without_rules = caller();
    Policy::new(Settings::default()).reduce(&mut without_rules);
    assert!(without_rules.groups.is_empty() && without_rules.claims.iter().all(|(_, values)| values.is_empty()));
}

#[test]
fn without_rules_every_caller_passes_and_no_path_is_refused() {
    let open = Policy::new(Settings::default());
    assert_eq!(open.judge(&identity(&[], &[]), &request("GET", "", "/a/../b")), Ok(None));
}

#[test]
fn ambiguous_paths_are_refused_for_every_caller_as_soon_as_a_rule_is_about_paths() {
    let ambiguous = request("GET", "es.example.org", "/logs-1/%2e%2e/secret");
    let judged = policy().judge(&identity(&["admins"], &[]), &ambiguous).map(|_| ());
    assert_eq!(judged, Err(Denied::Path(Ambiguity::DotSegment)));
    let by_method = Rule { methods: strings(&["GET"]), ..Rule::default() };
    let no_paths = Policy::new(Settings { allow: vec![by_method], preflight: false });
    assert!(no_paths.judge(&identity(&[], &[]), &ambiguous).is_ok());
}
