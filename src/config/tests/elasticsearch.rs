//! `elasticsearch.*`: the cluster, the account and the authorities.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;

use super::*;
use crate::cluster_client::account::Scheme;
use crate::elastic::Hashing;
use crate::outbound::Authorities;

const OIDC: &str = "oidc: {issuer: \"https://auth.example.com\", client_id: elastauth}\n";

fn with(section: &str, env: &BTreeMap<String, String>) -> Result<elastic::Settings, String> {
    let loaded = load_text(&format!("{OIDC}elasticsearch: {{{section}}}\n"), env);
    loaded.map(|loaded| loaded.settings.elasticsearch).map_err(|Problems(problems)| problems.join("\n"))
}

/// Requirement 33.
#[test]
fn an_administrator_has_exactly_one_kind_of_credential() {
    let basic = Scheme::Basic { username: "u".into() };
    for (section, expected) in [
        ("username: u, password: s", Ok(&basic)),
        ("api_key: s", Ok(&Scheme::ApiKey)),
        ("bearer_token: s", Ok(&Scheme::Bearer)),
        ("", Err("elasticsearch.username")),
        ("username: u", Err("elasticsearch.password")),
        ("password: s", Err("elasticsearch.username")),
        ("username: u, password: s, api_key: s", Err("set this or elasticsearch.password")),
        ("api_key: s, bearer_token: s", Err("set this or elasticsearch.api_key")),
        ("username: u, api_key: s", Err("goes with elasticsearch.password")),
    ] {
        let found = with(&format!("hosts: [\"https://es:9200\"], {section}").replace(", }", "}"), &env(&[]));
        match (found, expected) {
            (Ok(settings), Ok(scheme)) => {
                let account = settings.connection.account.unwrap();
                assert_eq!((&account.scheme, account.secret.expose_secret(), &account.file), (scheme, "s", &None));
            }
            (Err(problems), Err(part)) => assert!(problems.contains(part), "{section}: {problems}"),
            (found, _) => panic!("{section}: {found:?}"),
        }
    }
}

/// Requirement 33.
#[test]
fn a_secret_from_a_file_is_known_by_its_file_so_that_it_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "id:key\n").unwrap();
    let file = path.to_str().unwrap();
    for (variables, expected) in [
        (vec![("ELASTICSEARCH_API_KEY_FILE", file)], Some(&path)),
        (vec![("ELASTAUTH_ELASTICSEARCH_API_KEY_FILE", file), ("ELASTICSEARCH_API_KEY", "id:key")], Some(&path)),
        (vec![("ELASTICSEARCH_API_KEY_FILE", file), ("ELASTICSEARCH_API_KEY", "id:key")], None),
    ] {
        let account = with("hosts: [\"https://es:9200\"]", &env(&variables)).unwrap().connection.account.unwrap();
        assert_eq!((account.secret.expose_secret(), account.file.as_ref()), ("id:key", expected), "{variables:?}");
    }
}

/// Requirement 35.
#[test]
fn a_cloud_id_names_the_host() {
    for (decoded, expected) in [
        ("eu.example.com$abc$def", Some("https://abc.eu.example.com/")),
        ("eu.example.com:9243$abc$def", Some("https://abc.eu.example.com:9243/")),
        ("eu.example.com$abc:9244$def", Some("https://abc.eu.example.com:9244/")),
        ("eu.example.com$abc", Some("https://abc.eu.example.com/")),
        ("eu.example.com", None),
        ("$abc", None),
        ("eu.example.com$", None),
        ("eu.example.com$a/b", None),
        ("", None),
    ] {
        let section = format!("cloud_id: \"my:name:{}\", api_key: s", STANDARD.encode(decoded));
        let host = with(&section, &env(&[])).map(|settings| settings.connection.hosts[0].to_string());
        assert_eq!(host.as_deref().ok(), expected, "{decoded}: {host:?}");
    }
    for bad in ["cloud_id: name", "cloud_id: \"name:%%\"", "cloud_id: \"n:YSRi\", hosts: [\"https://es\"]"] {
        assert!(with(&format!("{bad}, api_key: s"), &env(&[])).unwrap_err().contains("cloud_id"), "{bad}");
    }
}

/// Requirement 34.
#[test]
fn authorities_come_from_the_system_a_file_or_a_fingerprint_and_nothing_switches_them_off() {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(vec!["es".to_owned()]).unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (ca, key) = (write("ca.pem", &pair.cert.pem()), write("key.pem", &pair.signing_key.serialize_pem()));
    let hosts = "hosts: [\"https://es:9200\"], api_key: s";
    let tls = |section: &str| with(&format!("{hosts}{section}"), &env(&[])).map(|settings| settings.connection.tls);
    assert!(matches!(tls("").unwrap().authorities, Authorities::System));
    assert!(matches!(tls(&format!(", ca_file: {ca}")).unwrap().authorities, Authorities::File(_)));
    let print = "ab".repeat(32);
    assert!(matches!(tls(&format!(", ca_fingerprint: {print}")).unwrap().authorities, Authorities::Fingerprint(_)));
    let shown = format!(", client_certificate_file: {ca}, client_key_file: {key}");
    assert!(tls(&shown).unwrap().identity.is_some());
    for (section, part) in [
        (format!(", ca_file: /ca, ca_fingerprint: {print}"), "set this or elasticsearch.ca_file"),
        (", ca_fingerprint: abc".into(), "64 hex digits"),
        (", client_certificate_file: /c".into(), "client_key_file"),
        (", client_key_file: /k".into(), "client_certificate_file"),
        (", insecure: true".into(), "unknown key"),
        (", verify: false".into(), "unknown key"),
    ] {
        let problems = tls(&section).unwrap_err();
        assert!(problems.contains(part), "{section}: {problems}");
    }
}

/// Requirements 15, 16, 29 and 37.
#[test]
fn what_is_sent_and_how_often_is_the_operator_s_choice() {
    let hosts = "hosts: [\"https://es:9200\"], api_key: s";
    let set = |section: &str| with(&format!("{hosts}{section}"), &env(&[]));
    let default = set("").unwrap();
    assert_eq!((default.refresh, default.hashing), (elastic::Refresh::False, Hashing::There));
    assert_eq!(default.connection.media_type, "application/json");
    assert_eq!((default.writes.concurrent, default.writes.per_second), (4, None));
    let media = set(", compatible_with: 8").unwrap().connection.media_type;
    assert_eq!(media, "application/vnd.elasticsearch+json; compatible-with=8");
    assert_eq!(set(", refresh: wait_for").unwrap().refresh, elastic::Refresh::WaitFor);
    assert_eq!(set(", max_write_rate: 5").unwrap().writes.per_second, Some(5));
    for (name, cost) in [("bcrypt", Some(10)), ("bcrypt12", Some(12)), ("bcrypt3", None), ("pbkdf2", None)] {
        let found = set(&format!(", password_hash: {name}")).map(|settings| settings.hashing);
        let found =
            found.ok().and_then(|hashing| if let Hashing::Here { cost, .. } = hashing { Some(cost) } else { None });
        assert_eq!(found, cost, "{name}");
    }
    for bad in [", refresh: soon", ", compatible_with: \"8; x\"", ", max_write_rate: -1"] {
        assert!(set(bad).is_err(), "{bad}");
    }
}

/// Requirement 11.
#[test]
fn superuser_is_warned_about_and_denied_roles_cannot_be_mapped() {
    let mapped = format!("{BASE}default_roles: [viewer]\ngroup_mappings: {{admins: [superuser, viewer]}}\n");
    let loaded = load_text(&mapped, &env(&[])).unwrap();
    assert!(warns(&loaded, "the group admins becomes superuser"));
    assert_eq!(loaded.settings.elasticsearch.mapped_roles, ["superuser", "viewer"]);
    let Problems(problems) = load_text(&mapped, &env(&[("DENIED_ROLES", "superuser,viewer")])).unwrap_err();
    let problems = problems.join("\n");
    for part in
        ["default_roles (line 4): the role viewer is in denied_roles", "the group admins would get the role superuser"]
    {
        assert!(problems.contains(part), "{problems}");
    }
}
