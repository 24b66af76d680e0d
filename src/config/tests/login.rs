//! Logging in with a browser: `login.*`.

use std::time::Duration;

use super::*;
use crate::login;

/// Where people log in, the key must not follow from a password.
const KEY: (&str, &str) = ("SECRET_KEY", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");

/// The base with more in the section `oidc`, and this in the section `login` in addition to what is required.
fn with(oidc: &str, login: &str) -> Result<Loaded, String> {
    let base = BASE.replace("client_id: elastauth", &format!("client_id: elastauth, {oidc}")).replace(", }", "}");
    let text = format!("{base}login: {{enabled: true, hosts: [kibana.example.org], {login}}}\n").replace(", }", "}");
    load_text(&text, &env(&[KEY])).map_err(|Problems(problems)| problems.join("\n"))
}

fn settings(loaded: &Loaded) -> &login::Settings {
    loaded.settings.login.as_ref().unwrap()
}

#[test]
fn a_login_is_off_unless_it_is_turned_on_and_then_has_the_documented_defaults() {
    assert!(load_text(BASE, &env(&[])).unwrap().settings.login.is_none());
    let loaded = with("", "").unwrap();
    let login = settings(&loaded);
    let site = login::settings::Site { host: "kibana.example.org".into(), origin: "https://kibana.example.org".into() };
    assert_eq!((&login.hosts[..], login.path.as_str()), (&[site][..], "/.elastauth"));
    assert_eq!((login.issuer, login.client_id.as_str(), login.pkce), (0, "elastauth", true));
    assert_eq!(login.scopes, ["openid", "profile", "email"]);
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    assert_eq!((login.session_lifetime, login.idle_timeout, login.max_stale), (minutes(720), minutes(60), minutes(15)));
    assert!(login.logout_paths.is_empty() && login.after_logout.is_none());
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn each_key_of_a_login_means_what_it_says() {
    let loaded = with(
        "client_secret: s, scopes: \"openid offline_access\", use_pkce: false, client_auth_method: client_secret_post, \
         authorization_endpoint: \"https://id/a\", token_endpoint: \"https://id/t\", end_session_endpoint: \"https://id/e\"",
        "path: /auth/own, session_lifetime: 30s, idle_timeout: 5s, max_stale: 0, \
         logout_paths: [/logout, \"/api/security/logout\"], \
         after_logout: \"https://www.example.org/bye?x=1\", issuer: \"https://auth.example.com\"",
    )
    .unwrap();
    let login = settings(&loaded);
    assert_eq!(
        (login.path.as_str(), &login.scopes[..], login.pkce),
        ("/auth/own", &["openid".to_owned(), "offline_access".into()][..], false)
    );
    let seconds = Duration::from_secs;
    assert_eq!((login.session_lifetime, login.idle_timeout, login.max_stale), (seconds(30), seconds(5), seconds(0)));
    assert_eq!(login.logout_paths, ["/logout", "/api/security/logout"]);
    assert_eq!(login.after_logout.as_ref().unwrap().as_str(), "https://www.example.org/bye?x=1");
    let Provider::Oidc(issuers, _) = &loaded.settings.identity else { panic!("oidc") };
    let provider = &issuers[0].0;
    let shown = [&provider.authorization_endpoint, &provider.token_endpoint, &provider.end_session_endpoint]
        .map(|url| url.as_ref().unwrap().as_str());
    assert_eq!(shown, ["https://id/a", "https://id/t", "https://id/e"]);
    assert_eq!(provider.client_auth, Some(crate::oidc::ClientAuthMethod::Post));
    for (scopes, expected) in [
        ("[openid, groups]", &["openid", "groups"][..]),
        ("\"openid,groups\"", &["openid", "groups"]),
        ("[\"openid groups\", email]", &["openid", "groups", "email"]),
        ("\"\"", &["openid", "profile", "email"]),
    ] {
        let loaded = with(&format!("scopes: {scopes}"), "").unwrap();
        assert_eq!(settings(&loaded).scopes, expected, "{scopes}");
    }
}

#[test]
fn hosts_are_read_as_browsers_write_them() {
    for (text, host, origin) in [
        ("kibana.example.org", "kibana.example.org", "https://kibana.example.org"),
        ("Kibana.Example.ORG", "kibana.example.org", "https://kibana.example.org"),
        ("kibana.example.org:8443", "kibana.example.org:8443", "https://kibana.example.org:8443"),
        ("kibana.example.org:443", "kibana.example.org", "https://kibana.example.org"),
        ("https://kibana.example.org/", "kibana.example.org", "https://kibana.example.org"),
        ("http://localhost:5601", "localhost:5601", "http://localhost:5601"),
        ("http://localhost:80", "localhost", "http://localhost"),
        ("http://127.0.0.1:5601", "127.0.0.1:5601", "http://127.0.0.1:5601"),
        ("http://[::1]:5601", "[::1]:5601", "http://[::1]:5601"),
        ("küche.example", "xn--kche-0ra.example", "https://xn--kche-0ra.example"),
    ] {
        let loaded = with("", &format!("hosts: [\"{text}\"]")).unwrap();
        let [site] = &settings(&loaded).hosts[..] else { panic!("{text}") };
        assert_eq!((site.host.as_str(), site.origin.as_str()), (host, origin), "{text}");
    }
}

#[test]
fn a_login_that_cannot_work_or_is_not_safe_is_refused_with_the_key_that_is_to_blame() {
    for (oidc, login, expected) in [
        ("", "hosts: []", "login.hosts (line 4): is required where login.enabled is true"),
        (
            "",
            "hosts: [\"http://kibana.example.org\"]",
            "login.hosts (line 4): http://kibana.example.org may not have http",
        ),
        ("", "hosts: [\"http://localhost.example.org\"]", "may not have http"),
        ("", "hosts: [\"*.example.org\"]", "login.hosts (line 4): *.example.org must be a host"),
        ("", "hosts: [\"kibana.example.org/app\"]", "must be a host"),
        ("", "hosts: [\"https://kibana.example.org?x\"]", "must be a host"),
        ("", "hosts: [\"https://a@kibana.example.org\"]", "must be a host"),
        ("", "hosts: [\"ftp://kibana.example.org\"]", "must be a host"),
        ("", "hosts: [\"a b\"]", "must be a host"),
        ("", "hosts: [\"a:99999\"]", "must be a host"),
        ("", "hosts: [a.example.org, \"A.example.org:443\"]", "login.hosts (line 4): A.example.org:443 is there twice"),
        ("", "path: elastauth", "login.path (line 4): must begin with a slash"),
        ("", "path: /", "login.path (line 4)"),
        ("", "path: /a/", "login.path (line 4)"),
        ("", "path: //a", "login.path (line 4)"),
        ("", "path: /a/../b", "login.path (line 4)"),
        ("", "path: \"/a%2fb\"", "login.path (line 4)"),
        ("", "path: \"/a?b\"", "login.path (line 4)"),
        ("", "path: \"/a\\\\b\"", "login.path (line 4)"),
        ("", "logout_paths: [logout]", "login.logout_paths (line 4): logout must be a path"),
        ("", "logout_paths: [/]", "login.logout_paths (line 4): / must be a path"),
        ("", "logout_paths: [\"/logout*\"]", "login.logout_paths (line 4): /logout* must be a path"),
        ("", "after_logout: /bye", "login.after_logout (line 4): must be an http or https URL"),
        ("", "after_logout: \"javascript:alert(1)\"", "login.after_logout (line 4): must be an http or https URL"),
        ("", "session_lifetime: 0s", "login.session_lifetime (line 4): must be longer than nothing"),
        ("", "idle_timeout: 0s", "login.idle_timeout (line 4): must be longer than nothing"),
        ("", "max_stale: soon", "login.max_stale (line 4): must be a duration"),
        ("", "issuer: \"https://auth.example.com/\"", "login.issuer (line 4): must be one of the issuers below oidc"),
        ("scopes: [profile]", "", "oidc.scopes (line 2): must have openid"),
        ("use_pkce: false", "", "oidc.use_pkce (line 2): must be true without oidc.client_secret"),
        ("use_pkce: maybe", "", "oidc.use_pkce (line 2): must be true or false"),
        ("client_auth_method: private_key_jwt", "", "oidc.client_auth_method (line 2): must be client_secret_basic or"),
        (
            "token_endpoint: \"http://id/t\"",
            "",
            "oidc.token_endpoint (line 2): the address http://id/t is neither https",
        ),
        ("authorization_endpoint: auth", "", "oidc.authorization_endpoint (line 2): must be an http or https URL"),
    ] {
        let problems = with(oidc, login).unwrap_err();
        assert!(problems.contains(expected), "{oidc} {login}: {expected} is not in\n{problems}");
    }
    let without_client = BASE.replace("client_id: elastauth", "audience: [elastauth]");
    let text = format!("{without_client}login: {{enabled: true, hosts: [a]}}\n");
    let problems = load_text(&text, &env(&[])).unwrap_err().to_string();
    assert!(problems.contains("oidc.client_id: is required where login.enabled is true"), "{problems}");
    let headers = "auth_provider: authelia\nauthelia: {shared_secret: 0123456789abcdef0123456789abcdef}\n\
                   elasticsearch: {hosts: [\"https://es:9200\"], username: elastauth, password: pw}\n\
                   login: {enabled: true, hosts: [a]}\n";
    let problems = load_text(headers, &env(&[])).unwrap_err().to_string();
    assert!(problems.contains("login.enabled (line 4): with auth_provider: authelia"), "{problems}");
}

#[test]
fn of_several_issuers_one_is_named_to_log_in_at() {
    let load = |second: &str, login: &str| {
        let text = format!(
            "oidc:\n- {{issuer: \"https://one\", client_id: a, username_prefix: a-}}\n\
             - {{issuer: \"https://two\", client_id: b, username_prefix: b-{second}}}\n\
             elasticsearch: {{hosts: [\"https://es:9200\"], username: elastauth, password: pw}}\n\
             login: {{enabled: true, hosts: [kibana.example.org]{login}}}\n"
        );
        load_text(&text, &env(&[KEY])).map_err(|Problems(problems)| problems.join("\n"))
    };
    let loaded = load(", scopes: [openid, groups]", ", issuer: \"https://two\"").unwrap();
    let login = settings(&loaded);
    assert_eq!(
        (login.issuer, login.client_id.as_str(), &login.scopes[..]),
        (1, "b", &["openid".to_owned(), "groups".into()][..])
    );
    for (second, login, expected) in [
        ("", "", "login.issuer: is required with several issuers"),
        ("", ", issuer: \"https://three\"", "login.issuer (line 5): must be one of the issuers"),
        (", scopes: [x]", ", issuer: \"https://two\"", "oidc[1].scopes (line 3): must have openid"),
    ] {
        let problems = load(second, login).unwrap_err();
        assert!(problems.contains(expected), "{expected} is not in\n{problems}");
    }
    assert!(load(", scopes: [x]", ", issuer: \"https://one\"").is_ok(), "nobody logs in at the other one");
}

/// Files of the Go service have these keys, which it read and never used.
#[test]
fn while_the_login_is_off_its_keys_below_oidc_are_not_looked_at_and_those_below_login_are_warned_of() {
    let oidc = "scopes: [profile], use_pkce: false, authorization_endpoint: /auth, token_endpoint: \"http://id/t\"";
    let text = BASE.replace("client_id: elastauth", &format!("client_id: elastauth, {oidc}"));
    let loaded = load_text(&text, &env(&[])).unwrap();
    assert!(loaded.warnings.is_empty() && loaded.settings.login.is_none(), "{:?}", loaded.warnings);
    for (login, key) in [
        ("hosts: [a]", "login.hosts"),
        ("path: /x", "login.path"),
        ("enabled: false, idle_timeout: 5m", "login.idle_timeout"),
        ("logout_paths: [/logout]", "login.logout_paths"),
        ("after_logout: nowhere", "login.after_logout"),
    ] {
        let loaded = load_text(&format!("{BASE}login: {{{login}}}\n"), &env(&[])).unwrap();
        let expected = format!("{key}: is written, and has no effect without login.enabled: true");
        assert_eq!(loaded.warnings, [expected], "{login}");
        assert!(loaded.settings.login.is_none());
    }
    let loaded = load_text(BASE, &env(&[("ELASTAUTH_LOGIN_HOSTS", "a")])).unwrap();
    assert!(warns(&loaded, "login.hosts: is written"));
}

#[test]
fn a_login_may_come_from_the_environment_alone() {
    let variables = [("LOGIN_ENABLED", "true"), ("ELASTAUTH_LOGIN_HOSTS", "a.example.org, b.example.org:8443")];
    let Problems(problems) = load_text(BASE, &env(&variables)).unwrap_err();
    assert!(problems.iter().any(|problem| problem.starts_with("secret_key: is required with login.enabled")));
    let loaded = load_text(BASE, &env(&[&variables[..], &[KEY]].concat())).unwrap();
    let hosts: Vec<&str> = settings(&loaded).hosts.iter().map(|site| site.host.as_str()).collect();
    assert_eq!(hosts, ["a.example.org", "b.example.org:8443"]);
}
