use std::collections::BTreeMap;
use std::path::Path;

use secrecy::ExposeSecret as _;

use super::*;
use crate::{authz, credentials, elastic, identity, redis, telemetry};

mod documentation;
mod elasticsearch;
mod headers;
mod issuers;
mod login;
mod mapping;
mod policy;
mod restrictions;
mod sources;
mod tracing;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load_text(text: &str, env: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    std::fs::write(&file, text).unwrap();
    load(Some(&file), env)
}

const BASE: &str = "
oidc: {issuer: \"https://auth.example.com\", client_id: elastauth}
elasticsearch: {hosts: [\"https://es:9200\"], username: elastauth, password: pw}
";

/// What the documentation's files name, as an operator would set it.
fn deployment() -> BTreeMap<String, String> {
    env(&[
        ("OIDC_ISSUER", "https://auth.example.com"),
        ("OIDC_CLIENT_ID", "elastauth"),
        ("OIDC_CLIENT_SECRET", "client-secret"),
        ("REDIS_HOST", "redis:6380"),
        ("REDIS_CLUSTER_HOST", "redis-cluster:6379"),
        ("ELASTICSEARCH_HOST_1", "https://es1:9200"),
        ("ELASTICSEARCH_HOST_2", "https://es2:9200"),
        ("ELASTICSEARCH_USERNAME", "elastauth"),
        ("ELASTICSEARCH_PASSWORD", "pw"),
        ("SECRET_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    ])
}

fn redis(loaded: &Loaded) -> &redis::Settings {
    let Cache::Redis(redis) = &loaded.settings.cache else { panic!("redis") };
    redis
}

fn token(loaded: &Loaded) -> &identity::token::Settings {
    let Provider::Oidc(issuers, _) = &loaded.settings.identity else { panic!("oidc") };
    &issuers[0].1.token
}

fn at(loaded: &Loaded) -> (String, i64) {
    (redis(loaded).nodes[0].to_string(), redis(loaded).db)
}

fn warns(loaded: &Loaded, part: &str) -> bool {
    loaded.warnings.iter().any(|warning| warning.contains(part))
}

#[test]
fn the_documented_single_instance_file_loads_and_means_what_it_says() {
    let env = env(&[("OIDC_CLIENT_SECRET", "s"), ("ELASTICSEARCH_PASSWORD", "pw")]);
    let loaded = load_text(include_str!("testdata/single-instance.yml"), &env).unwrap();
    let store = redis(&loaded);
    assert_eq!(at(&loaded), ("cache:6379".into(), 0), "the last cache is used");
    assert!(store.account.username.is_none() && store.account.password.is_none());
    let settings = &loaded.settings;
    assert_eq!(settings.credentials.expiration.as_secs(), 3600);
    assert_eq!((token(&loaded).issuer.as_str(), token(&loaded).audiences.len()), ("https://id.example.org", 1));
    assert_eq!(settings.elasticsearch.connection.hosts[0].as_str(), "https://es:9200/");
    assert_eq!(settings.roles.default_roles, ["kibana_user"]);
    assert!(warns(&loaded, "cache is written twice, on lines 2 and 15"));
    assert!(warns(&loaded, "secret_key is not set"), "it starts all the same, with the same key on every replica");
}

#[test]
fn the_documented_production_file_loads_and_means_what_it_says() {
    let loaded = load_text(include_str!("testdata/production.yml"), &deployment()).unwrap();
    let store = redis(&loaded);
    assert_eq!(at(&loaded), ("redis:6380".into(), 0));
    assert_eq!(store.account.username.as_deref(), Some("elastauth"));
    assert!(store.account.password.is_none(), "an empty optional is absent");
    assert_eq!(loaded.settings.credentials.expiration.as_secs(), 4 * 3600);
    assert_eq!(loaded.settings.elasticsearch.connection.hosts.len(), 2, "an unset host is left out");
    assert_eq!(loaded.settings.roles.group_mappings.len(), 2);
    assert!(warns(&loaded, "cache is written twice"));
    assert!(warns(&loaded, "the group admin becomes superuser"));
}

#[test]
fn the_documented_high_availability_file_loads_and_means_what_it_says() {
    let mut env = deployment();
    env.extend([("REDIS_DB".into(), "3".into()), ("OIDC_GROUPS_CLAIM".into(), "realm_access.roles".into())]);
    let loaded = load_text(include_str!("testdata/high-availability.yml"), &env).unwrap();
    assert_eq!(at(&loaded), ("redis-cluster:6379".into(), 3), "a quoted number is a number");
    assert_eq!(redis(&loaded).account.username.as_deref(), Some("elastauth-prod"));
    let claims = &token(&loaded).claims;
    assert_eq!((claims.username.as_str(), claims.groups.as_str()), ("preferred_username", "realm_access.roles"));
    assert_eq!(loaded.settings.credentials.expiration.as_secs(), 6 * 3600);
    assert_eq!(loaded.settings.roles.group_mappings[1].1, ["viewer", "dev_full"]);
}

#[test]
fn every_documented_environment_block_loads_over_a_mounted_file() {
    // the page's Compose and Kubernetes manifests, each over its own /config.yml
    let secrets = [("OIDC_CLIENT_SECRET", "s"), ("ELASTICSEARCH_PASSWORD", "pw2"), ("SECRET_KEY", &"ab".repeat(32))];
    let full = |expiration| {
        let mut block =
            vec![("CACHE_TYPE", "redis"), ("CACHE_REDIS_HOST", "redis:6379"), ("CACHE_REDIS_PASSWORD", "p")];
        block.push(("CACHE_EXPIRATION", expiration));
        block.extend(secrets);
        block
    };
    let redis_file = format!("{BASE}cache: {{type: redis, redis_host: \"other:1\", redis_db: 2}}\n");
    for (file, block, hours, db) in [
        (BASE, full("2h"), 2, 0),
        (BASE, full("4h"), 4, 0),
        (
            &redis_file,
            vec![("CACHE_REDIS_HOST", "redis:6379"), ("CACHE_REDIS_DB", "0"), ("CACHE_EXPIRATION", "1h")],
            1,
            0,
        ),
        (
            &redis_file,
            vec![("CACHE_REDIS_HOST", "redis:6379"), ("CACHE_REDIS_PASSWORD", "p"), ("CACHE_EXPIRATION", "1h")],
            1,
            2,
        ),
        (&redis_file, vec![("CACHE_REDIS_HOST", "redis:6379")], 1, 2),
    ] {
        let loaded = load_text(file, &env(&block)).unwrap();
        assert_eq!(at(&loaded), ("redis:6379".into(), db));
        assert_eq!(loaded.settings.credentials.expiration.as_secs(), hours * 3600);
        let with_password = block.iter().any(|(name, _)| *name == "CACHE_REDIS_PASSWORD");
        assert_eq!(redis(&loaded).account.password.is_some(), with_password);
    }
}

#[test]
fn a_secret_may_come_from_a_file_and_the_line_end_is_not_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{}\n", "ab".repeat(32))).unwrap();
    let path = file.to_str().unwrap();
    for name in ["SECRET_KEY_FILE", "ELASTAUTH_SECRET_KEY_FILE"] {
        let loaded = load_text(BASE, &env(&[("CACHE_TYPE", "redis"), (name, path)])).unwrap();
        assert!(!warns(&loaded, "secret_key is not set"));
    }
    let Problems(problems) = load_text(BASE, &env(&[("SECRET_KEY_FILE", "/nowhere/key")])).unwrap_err();
    assert!(problems.iter().any(|problem| problem.contains("SECRET_KEY_FILE (environment): /nowhere/key")));
    let problems = load_text(BASE, &env(&[("ELASTAUTH_LOG_LEVEL_FILE", path)])).unwrap_err();
    assert!(problems.0.iter().any(|problem| problem.contains("ELASTAUTH_LOG_LEVEL_FILE")), "only secrets have files");
}

#[test]
fn every_default_of_the_table_is_the_one_in_force() {
    let loaded = load_text(BASE, &env(&[])).unwrap();
    let shown: BTreeMap<_, _> = loaded.effective.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
    let page = reference();
    // tables of values have two columns
    let lines: Vec<_> = page.lines().filter(|line| line.starts_with("| `") && line.split('|').count() == 5).collect();
    assert_eq!(lines.len(), keys::all().count());
    for line in lines {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let described = !line.split('|').nth(2).unwrap().contains('`');
        let given = cells[1].starts_with("oidc.issuer") || cells[1].starts_with("elasticsearch.hosts");
        // a cache in memory reads none of Redis's, tokens none of what says how to read headers
        let other = cells[1].starts_with("cache.redis_") || cells[1].starts_with("authelia.");
        if described || given || other {
            continue;
        }
        assert_eq!(shown.get(cells[1]), Some(&cells[2]), "{line}");
    }
}

#[test]
fn the_environment_counts_in_both_spellings_and_the_prefixed_one_wins() {
    let env = env(&[
        ("CACHE_TYPE", "redis"),
        ("CACHE_REDIS_HOST", "bare:1"),
        ("ELASTAUTH_CACHE_REDIS_HOST", "prefixed:2"),
        ("CACHE_EXPIRATION", "2h"),
    ]);
    let loaded = load_text(BASE, &env).unwrap();
    assert_eq!(at(&loaded), ("prefixed:2".into(), 0));
    assert_eq!(loaded.settings.credentials.expiration.as_secs(), 2 * 3600);
    assert!(loaded.warnings.iter().any(|w| w.contains("secret_key is not set")));
}

#[test]
fn all_problems_are_reported_at_once_and_no_secret_is_shown() {
    let text =
        "oidc: {issuer: x}\nelasticsearch: {hosts: \"http://u:hidden@es\"}\ncache: {typ: redis}\nsecret_key: hidden\n";
    let Problems(problems) = load_text(text, &env(&[("ELASTAUTH_LISTN", "x")])).unwrap_err();
    let all = problems.join("\n");
    for expected in [
        "oidc.issuer (line 1)",
        "oidc.client_id",
        "elasticsearch.hosts (line 2)",
        "elasticsearch.username",
        "cache.typ (line 3): unknown key; did you mean cache.type?",
        "secret_key (line 4)",
        "did you mean ELASTAUTH_LISTEN?",
    ] {
        assert!(all.contains(expected), "{expected} is not in\n{all}");
    }
    assert!(!all.contains("hidden"));
}

#[test]
fn a_misspelt_type_of_cache_is_reported_without_the_problems_of_a_redis() {
    let text = format!("{BASE}cache: {{type: rediss, redis_host: \"http://cache\", redis_pool_size: 0}}\n");
    let Problems(problems) = load_text(&text, &env(&[])).unwrap_err();
    assert_eq!(problems, ["cache.type (line 4): must be redis, file or memory"]);
}

#[test]
fn beyond_loopback_grpc_needs_a_clear_yes() {
    let text = format!("{BASE}grpc: {{listen: \"0.0.0.0:9001\"}}\n");
    assert!(load_text(&text, &env(&[])).is_err());
    let loaded = load_text(&text, &env(&[("GRPC_ALLOW_INSECURE", "true")])).unwrap();
    assert!(loaded.warnings.iter().any(|w| w.contains("ask for passwords")));
}

#[test]
fn effective_settings_never_show_a_secret() {
    let loaded = load_text(BASE, &env(&[("OIDC_CLIENT_SECRET", "hidden")])).unwrap();
    let shown = format!("{:?}", loaded.effective);
    assert!(shown.contains("[redacted]") && !shown.contains("hidden") && !shown.contains("\"pw\""));
}

#[test]
fn the_go_service_s_file_cache_is_a_folder_and_its_key_outlives_the_process() {
    let text = format!("{BASE}cache: {{type: file, path: /tmp/elastauth-cache}}\n");
    let loaded = load_text(&text, &BTreeMap::new()).unwrap();
    let Cache::File(file) = &loaded.settings.cache else { panic!("file") };
    assert_eq!(file.path, Path::new("/tmp/elastauth-cache"));
    assert!(matches!(loaded.settings.seal.key, credentials::seal::Key::Derived { guessable: true, .. }));
    let text = format!("{BASE}cache: {{type: file}}\n");
    let loaded = load_text(&text, &BTreeMap::new()).unwrap();
    let Cache::File(file) = &loaded.settings.cache else { panic!("file") };
    assert_eq!(file.path, Path::new("/var/cache/elastauth"));
}

/// Copies of the passwords are kept with the users, and outlive records that end with the process.
#[test]
fn every_cache_has_a_key_that_outlives_the_process_and_the_warning_is_where_records_need_it() {
    let secrets = |loaded: &Loaded| match &loaded.settings.seal.key {
        credentials::seal::Key::Derived { secret, guessable } => (secret.expose_secret().to_owned(), *guessable),
        credentials::seal::Key::Given(_) => panic!("given"),
    };
    let with_api_key = BASE.replace("username: elastauth, password: pw", "api_key: \"id:of-the-account\"");
    assert_ne!(with_api_key, BASE);
    for (base, expected) in [(BASE, ("pw".to_owned(), true)), (&with_api_key, ("id:of-the-account".to_owned(), false))]
    {
        for (cache, warned) in [("", false), ("memory", false), ("file", true), ("redis", true)] {
            let loaded = load_text(base, &env(&[("CACHE_TYPE", cache)])).unwrap();
            assert_eq!(secrets(&loaded), expected, "{cache}");
            assert_eq!(warns(&loaded, "secret_key is not set"), warned, "{cache}");
            assert_eq!(warns(&loaded, "passwords are not kept, sealed"), warned && expected.1, "{cache}");
        }
    }
}

#[test]
fn previous_keys_come_from_the_file_the_environment_or_a_file_of_lines_and_are_never_shown() {
    let (one, two) = ("ab".repeat(32), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, format!("{one}\n{two}\n")).unwrap();
    let lines = file.to_str().unwrap();
    let list = format!("{BASE}previous_secret_keys: [{one}, \"{two}\"]\n");
    for (text, env) in [
        (list.as_str(), env(&[])),
        (BASE, env(&[("PREVIOUS_SECRET_KEYS", &format!("{one}, {two}"))])),
        (BASE, env(&[("ELASTAUTH_PREVIOUS_SECRET_KEYS_FILE", lines)])),
    ] {
        let loaded = load_text(text, &env).unwrap();
        assert_eq!(loaded.settings.seal.previous.len(), 2);
        let shown = format!("{:?} {:?}", loaded.effective, loaded.settings.seal);
        assert!(shown.contains("[2 redacted]") && !shown.contains(&one) && !shown.contains(two), "{shown}");
    }
    let text = format!("{BASE}previous_secret_keys: [{one}, short-secret]\n");
    let problems = load_text(&text, &env(&[])).unwrap_err().to_string();
    assert!(problems.contains("number 2 must be 64 hex digits") && !problems.contains("short-secret"), "{problems}");
}
