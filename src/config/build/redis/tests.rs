use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use elastauth_support::certificates::Authority;
use secrecy::ExposeSecret as _;

use super::*;
use crate::config::{Cache, Loaded, Problems, load};

/// The whole configuration with this in its section `cache`.
fn cache(section: &str) -> Result<Loaded, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    let base = "oidc: {issuer: \"https://id.example.com\", client_id: elastauth}\n\
                elasticsearch: {hosts: [\"https://es:9200\"], username: elastauth, password: pw}\n";
    fs::write(&file, format!("{base}cache: {{type: redis, {section}}}\n")).unwrap();
    load(Some(&file), &BTreeMap::new())
}

fn settings(section: &str) -> Settings {
    match cache(section).unwrap().settings.cache {
        Cache::Redis(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

/// The one problem of a section.
fn problem(section: &str) -> String {
    let Problems(mut problems) = cache(section).unwrap_err();
    assert_eq!(problems.len(), 1, "{section}: {problems:?}");
    problems.remove(0)
}

#[test]
fn redis_host_is_an_address_a_url_or_a_socket() {
    for (host, address, db, tls) in [
        ("cache", "cache:6379", 0, false),
        ("cache:1", "cache:1", 0, false),
        ("[::1]:1", "[::1]:1", 0, false),
        ("redis://cache", "cache:6379", 0, false),
        ("redis://cache:1/3", "cache:1", 3, false),
        ("redis://[::1]:1", "[::1]:1", 0, false),
        ("rediss://cache:1/", "cache:1", 0, true),
        ("unix:/run/redis.sock", "unix:/run/redis.sock", 0, false),
        ("unix:///run/redis.sock", "unix:/run/redis.sock", 0, false),
    ] {
        let settings = settings(&format!("redis_host: \"{host}\""));
        assert_eq!((settings.nodes[0].to_string().as_str(), settings.db), (address, db), "{host}");
        assert_eq!(settings.tls.is_some(), tls, "{host}");
    }
}

#[test]
fn the_user_part_of_a_url_is_used_and_never_shown() {
    let loaded = cache("redis_host: \"rediss://ann:hid%2Fden@cache:1\"").unwrap();
    let shown = format!("{:?} {:?} {:?}", loaded.effective, loaded.warnings, loaded.settings);
    assert!(shown.contains("rediss://cache:1") && !shown.contains("hid"), "{shown}");
    let Cache::Redis(settings) = loaded.settings.cache else { panic!("redis") };
    assert_eq!(settings.account.username.as_deref(), Some("ann"));
    assert_eq!(settings.account.password.unwrap().expose_secret(), "hid/den");
    for broken in
        ["redis://ann:hidden@", "redis://ann:hidden@cache:x", "redis://ann:hidden@cache/x", "ann:hidden@cache:1"]
    {
        let problem = problem(&format!("redis_host: \"{broken}\""));
        assert!(problem.starts_with("cache.redis_host (line 3)") && !problem.contains("hidden"), "{problem}");
    }
}

#[test]
fn contradictions_are_problems_with_their_keys() {
    for (section, expected) in [
        ("redis_host: \"redis://:pw@cache\", redis_password: pw", "cache.redis_password"),
        ("redis_host: \"redis://ann:pw@cache\", redis_username: bob", "cache.redis_username"),
        ("redis_host: \"redis://cache/3\", redis_db: 4", "cache.redis_db"),
        ("redis_db: -1", "cache.redis_db"),
        ("redis_host: \"unix:/run/redis.sock\", redis_tls: true", "cache.redis_tls"),
        ("redis_host: \"unix:redis.sock\"", "cache.redis_host"),
        ("redis_host: \"http://cache\"", "cache.redis_host"),
        ("redis_tls_ca_file: /ca.pem", "cache.redis_tls_ca_file"),
        ("redis_tls: true, redis_tls_cert_file: /c.pem", "cache.redis_tls_key_file"),
        ("redis_tls: true, redis_tls_key_file: /k.pem", "cache.redis_tls_cert_file"),
        ("redis_tls: true, redis_tls_ca_file: /nowhere/ca.pem", "cache.redis_tls_ca_file"),
        ("redis_pool_size: 0", "cache.redis_pool_size"),
        ("redis_connect_timeout: 0s", "cache.redis_connect_timeout"),
    ] {
        let problem = problem(section);
        assert!(
            problem.starts_with(&format!("{expected} (line 3)")) || problem.starts_with(&format!("{expected}: ")),
            "{section}: {problem}"
        );
    }
    assert_eq!(settings("redis_host: \"redis://cache/3\", redis_db: 3").db, 3);
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn tls_files_are_tried_when_the_configuration_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let (pair, foreign) = (ours.sign(&["client"]), other.sign(&["client"]));
    let [ca, cert, key, wrong_key, garbage] = [
        ("ca.pem", ours.pem.as_str()),
        ("cert.pem", &pair.cert),
        ("key.pem", &pair.key),
        ("wrong.pem", &foreign.key),
        ("garbage.pem", "garbage"),
    ]
    .map(|(name, text)| write(folder.path(), name, text));
    let with = |ca: &str, cert: &str, key: &str| {
        format!(
            "redis_tls: true, redis_tls_ca_file: \"{ca}\", redis_tls_cert_file: \"{cert}\", redis_tls_key_file: \"{key}\""
        )
    };
    assert!(settings(&with(&ca, &cert, &key)).tls.is_some());
    for (section, expected) in [
        (with(&garbage, &cert, &key), "cache.redis_tls_ca_file"),
        (with(&ca, &garbage, &key), "cache.redis_tls_cert_file"),
        (with(&ca, &cert, &garbage), "cache.redis_tls_key_file"),
        (with(&ca, &cert, &wrong_key), "cache.redis_tls_key_file"),
    ] {
        let problem = problem(&section);
        assert!(problem.starts_with(expected), "{problem}");
    }
}
