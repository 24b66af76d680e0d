use std::collections::BTreeMap;

use super::*;

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

/// The documentation's production example, with its repeated `cache` and its variables.
const PRODUCTION: &str = r#"
cache:
  type: "redis"
  expiration: "2h"
  redis_db: "${REDIS_DB:-0}"
auth_provider: "oidc"
oidc:
  issuer: "${OIDC_ISSUER}"
  client_id: "${OIDC_CLIENT_ID}"
  client_secret: "${OIDC_CLIENT_SECRET}"
  token_validation: "both"
  use_pkce: true
cache:
  type: "redis"
  expiration: "${CACHE_EXPIRATION:-4h}"
  redis_host: "${REDIS_HOST}"
  redis_db: "${REDIS_DB:-0}"
  redis_password: "${REDIS_PASSWORD}"
  redis_username: "${REDIS_USERNAME:-elastauth}"
elasticsearch:
  hosts:
    - "${ELASTICSEARCH_HOST_1}"
    - "${ELASTICSEARCH_HOST_2}"
  username: "${ELASTICSEARCH_USERNAME}"
  password: "${ELASTICSEARCH_PASSWORD}"
secret_key: "${SECRET_KEY}"
default_roles:
  - "kibana_user"
group_mappings:
  admin:
    - "kibana_admin"
    - "superuser"
"#;

#[test]
fn the_documented_production_file_loads_and_means_what_it_says() {
    let env = env(&[
        ("OIDC_ISSUER", "https://auth.example.com"),
        ("OIDC_CLIENT_ID", "elastauth"),
        ("REDIS_HOST", "redis:6380"),
        ("ELASTICSEARCH_HOST_1", "https://es1:9200"),
        ("ELASTICSEARCH_USERNAME", "elastauth"),
        ("ELASTICSEARCH_PASSWORD", "pw"),
        ("SECRET_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    ]);
    let loaded = load_text(PRODUCTION, &env).unwrap();
    let Cache::Redis(redis) = loaded.settings.cache else { panic!("redis") };
    assert_eq!((redis.host.as_str(), redis.port, redis.db), ("redis", 6380, 0));
    assert_eq!(redis.username.as_deref(), Some("elastauth"));
    assert!(redis.password.is_none(), "an empty optional is absent");
    assert_eq!(loaded.settings.credentials.expiration.as_secs(), 4 * 3600);
    assert_eq!(loaded.settings.elasticsearch.hosts.len(), 1, "an unset host is left out");
    assert!(loaded.warnings.iter().any(|w| w.contains("cache stands twice")));
    assert!(loaded.warnings.iter().any(|w| w.contains("superuser")));
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
    let Cache::Redis(redis) = loaded.settings.cache else { panic!("redis") };
    assert_eq!((redis.host.as_str(), redis.port), ("prefixed", 2));
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
