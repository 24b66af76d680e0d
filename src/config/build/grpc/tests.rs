use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{Loaded, Problems, load};
use crate::envoy::Listen;

const BASE: &str = "
oidc: {issuer: \"https://auth.example.com\", client_id: elastauth}
elasticsearch: {hosts: [\"https://es:9200\"], username: elastauth, password: pw}
grpc:
";

fn with(folder: &Path, lines: &[&str]) -> Result<Loaded, Problems> {
    let file = folder.join("config.yml");
    std::fs::write(&file, format!("{BASE}  {}\n", lines.join("\n  "))).unwrap();
    load(Some(&file), &BTreeMap::new())
}

/// A certificate for the name, which is its own authority, and its key.
fn write_pair(folder: &Path) -> [String; 3] {
    let pair = rcgen::generate_simple_self_signed(vec!["elastauth".to_owned()]).unwrap();
    let write = |name: &str, content: String| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (cert, key) = (write("cert.pem", pair.cert.pem()), write("key.pem", pair.signing_key.serialize_pem()));
    [format!("tls_cert_file: {cert}"), format!("tls_key_file: {key}"), format!("tls_client_ca_file: {cert}")]
}

#[test]
fn only_a_closed_socket_or_a_list_of_clients_makes_a_listener_that_knows_its_callers() {
    let folder = tempfile::tempdir().unwrap();
    let [cert, key, authorities] = &write_pair(folder.path());
    let (any, list) = ("listen: \"0.0.0.0:9001\"", "tls_allowed_sans: [\"spiffe://d/envoy\", envoy.example.com]");
    for (lines, named, warning) in [
        (vec![], false, None),
        (vec!["listen: unix:/run/e.sock"], true, None),
        (vec!["listen: unix:/run/e.sock", "socket_mode: \"0666\""], false, Some("every user of this machine")),
        (vec![any, "allow_insecure: true"], false, Some("can ask for passwords")),
        (vec![any, cert, key], false, Some("grpc.tls_client_ca_file is not set")),
        (vec![any, cert, key, authorities], false, Some("grpc.tls_allowed_sans is empty")),
        (vec![any, cert, key, authorities, list], true, None),
    ] {
        let loaded = with(folder.path(), &lines).unwrap();
        assert_eq!(loaded.settings.grpc.knows_its_callers(), named, "{lines:?}");
        let warned = loaded.warnings.iter().find(|warning| warning.contains("grpc"));
        assert_eq!(warned.is_some(), warning.is_some(), "{lines:?}: {warned:?}");
        assert!(warning.is_none_or(|warning| warned.unwrap().contains(warning)), "{lines:?}: {warned:?}");
    }
}

#[test]
fn what_is_wrong_with_tls_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let [cert, key, authorities] = &write_pair(folder.path());
    std::fs::write(folder.path().join("empty.pem"), "").unwrap();
    std::fs::write(folder.path().join("junk.pem"), "-----BEGIN CERTIFICATE-----\nhidden\n").unwrap();
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(folder.path().join("other.pem"), other).unwrap();
    let file = |key: &str, name: &str| format!("{key}: {}", folder.path().join(name).display());
    let (missing, empty) = (file("tls_cert_file", "missing.pem"), file("tls_client_ca_file", "empty.pem"));
    let (junk, other) = (file("tls_cert_file", "junk.pem"), file("tls_key_file", "other.pem"));
    for (lines, problem) in [
        (vec!["listen: \"0.0.0.0:9001\""], "grpc.listen (line 5): beyond loopback"),
        (vec![cert.as_str()], "grpc.tls_key_file: is required"),
        (vec![key], "grpc.tls_cert_file: is required"),
        (vec![authorities], "grpc.tls_cert_file: is required"),
        (vec![cert, key, "tls_allowed_sans: [a.example]"], "grpc.tls_allowed_sans (line 7): needs"),
        (vec![cert, key, authorities, "tls_allowed_sans: [\"*.example\"]"], "*.example: must be a URI"),
        (vec![&missing, key], "missing.pem: No such file"),
        (vec![cert, key, &empty], "empty.pem: no certificate"),
        (vec![&junk, key], "junk.pem: a damaged certificate"),
        (vec![cert, &other], "certificate and key: "),
        (vec!["socket_mode: \"0999\""], "grpc.socket_mode (line 5): must be an octal mode"),
        (vec!["socket_mode: \"0060\""], "grpc.socket_mode (line 5): must be an octal mode"),
        (vec!["max_connection_age: soon"], "grpc.max_connection_age (line 5): must be a duration"),
    ] {
        let problems = with(folder.path(), &lines).unwrap_err().to_string();
        assert!(problems.contains(problem), "{problem} is not in\n{problems}");
        assert!(!problems.contains("hidden"), "files may hold secrets");
    }
}

#[test]
fn zero_turns_the_age_and_the_drain_off() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = with(folder.path(), &["max_connection_age: 0", "listen: unix:/run/e.sock"]).unwrap();
    assert_eq!(loaded.settings.grpc.max_connection_age, None);
    assert_eq!(loaded.settings.grpc.listen, Listen::Unix { path: "/run/e.sock".into(), mode: 0o660 });
    assert_eq!(loaded.settings.shutdown.drain.as_secs(), 3);
    let text = format!("{BASE}  reflection: false\ndrain: 0s\n");
    std::fs::write(folder.path().join("config.yml"), text).unwrap();
    let loaded = load(Some(&folder.path().join("config.yml")), &BTreeMap::new()).unwrap();
    assert!(loaded.settings.shutdown.drain.is_zero());
    assert_eq!(loaded.settings.shutdown.finish.as_secs(), 4, "the deadline and a margin");
}
