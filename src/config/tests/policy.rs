//! Rules that let requests through: `policy.*`.

use super::*;

fn rules(text: &str) -> Result<Loaded, String> {
    load_text(&format!("{BASE}policy:\n{text}"), &env(&[])).map_err(|Problems(problems)| problems.join("\n"))
}

#[test]
fn rules_mean_what_they_say() {
    let loaded = rules(
        "  preflight: allow
  allow:
  - {name: admins, groups: [Admins, ops]}
  - groups: developers
    hosts: [es.example.org, \"kibana.example.org:8443\"]
    paths: [/logs-*, /_search]
    methods: [GET, HEAD]
    claims: {realm_access.level: [1, 2], department: it}
",
    )
    .unwrap();
    let policy = &loaded.settings.policy;
    assert!(policy.preflight);
    let [admins, second] = policy.allow.as_slice() else { panic!("two rules") };
    assert_eq!((admins.name.as_str(), admins.groups.as_slice()), ("admins", &["Admins".to_owned(), "ops".into()][..]));
    assert_eq!((second.name.as_str(), second.groups.as_slice()), ("2", &["developers".to_owned()][..]));
    assert_eq!((second.hosts.len(), second.paths.len(), second.methods.len()), (2, 2, 2));
    assert_eq!(second.claims[0], ("realm_access.level".into(), vec!["1".into(), "2".into()]));
    assert_eq!(
        token(&loaded).claims.kept,
        ["department", "realm_access.level"],
        "the verifier keeps what rules look at"
    );
    assert!(loaded.effective.iter().any(|(path, _)| *path == "policy.allow"));
    let without = load_text(BASE, &env(&[])).unwrap();
    assert_eq!(without.settings.policy, authz::policy::Settings::default());
}

#[test]
fn a_rule_that_would_be_wider_than_it_looks_is_an_error() {
    // BASE has three lines, and the rules begin two lines further down
    for (rule, part) in [
        ("{}", "policy.allow (line 6): a rule without conditions"),
        ("{name: everybody}", "policy.allow (line 6): a rule without conditions"),
        ("{groups: []}", "policy.allow (line 6): groups is empty"),
        ("{groups: [\"${UNSET}\"]}", "policy.allow (line 6): groups takes texts"),
        ("{groups: {a: b}}", "policy.allow (line 6): groups takes texts"),
        ("{group: [a]}", "policy.allow (line 6): unknown condition group"),
        ("{claims: [a]}", "policy.allow (line 6): claims takes claims"),
        ("{claims: {a: []}}", "policy.allow (line 6): claims.a is empty"),
        ("{paths: [/a/../b]}", "policy.allow (line 6): paths: /a/../b has a dot segment"),
        ("{paths: [logs]}", "policy.allow (line 6): paths: logs does not begin with a slash"),
        ("{hosts: [\"https://a\"]}", "policy.allow (line 6): hosts: https://a must be a host"),
        ("{methods: [get]}", "policy.allow (line 6): methods: get must be a method in capitals"),
        ("admins", "policy.allow (line 6): must be a list of rules"),
    ] {
        let problems = rules(&format!("  allow:\n  - {rule}\n")).unwrap_err();
        assert!(problems.contains(part), "{rule}: {part} is not in\n{problems}");
    }
    assert!(rules("  allow: everybody\n").unwrap_err().contains("policy.allow (line 5): must be a list"));
    assert!(rules("  preflight: maybe\n").unwrap_err().contains("policy.preflight (line 5): must be deny or allow"));
    let headers = "
auth_provider: authelia
authelia: {shared_secret: 0123456789abcdef0123456789abcdef}
elasticsearch: {hosts: [\"https://es:9200\"], username: elastauth, password: pw}
policy: {allow: [{claims: {a: b}}]}
";
    let Problems(problems) = load_text(headers, &env(&[])).unwrap_err();
    assert!(problems.join("\n").contains("policy.allow (line 5): headers carry no claims"), "{problems:?}");
}
