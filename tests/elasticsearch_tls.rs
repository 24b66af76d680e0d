//! Requirement 34: which servers elastauth trusts as Elasticsearch, and the client certificate that it shows. Nothing is sent
//! to other servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::time::Duration;

use elastauth::cluster_client::account::Scheme;
use elastauth::cluster_client::{Account, Call, ClusterClient, ExpectedAnswer, Settings, System};
use elastauth::outbound::{Authorities, ClientIdentity, Tls};
use elastauth_support::certificates::{Authority, Pair};
use elastauth_support::elasticsearch::{ADMIN, Elasticsearch};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;

fn fingerprint(pem: &str) -> Authorities {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let digits: Vec<_> = digest(&SHA256, &certificate).as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    Authorities::Fingerprint(digits.join(":").parse().unwrap())
}

fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Makes a call to the server; an error where it is not trusted or does not accept the account.
async fn reaches(
    server: &Elasticsearch,
    authorities: Authorities,
    identity: Option<ClientIdentity>,
) -> Result<(), String> {
    let scheme = Scheme::Basic { username: ADMIN.0.into() };
    let account = Some(Account { scheme, secret: ADMIN.1.to_owned().into(), file: None });
    let (tls, media_type) = (Tls { authorities, identity }, "application/json".to_owned());
    let hosts = vec![server.url.parse().unwrap()];
    let client = ClusterClient::new(Settings { hosts, account, tls, media_type }).map_err(|error| error.to_string())?;
    let client = client.of(System::Elasticsearch);
    let call = Call::get(&["_security", "user", "nobody"]).expecting(ExpectedAnswer::User("nobody"));
    let answer = client.send(&call, Duration::from_secs(5)).await;
    let answer = answer.map_err(|error| error.why)?;
    assert_eq!(answer.status.as_u16(), 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_named_authority_is_trusted_whether_by_file_or_by_fingerprint() {
    let (ours, other, folder) = (Authority::new("ours"), Authority::new("other"), tempfile::tempdir().unwrap());
    let leaf = ours.server();
    let server = Elasticsearch::start_tls(&leaf, &[&ours], None).await;
    let (ca, wrong) = (file(&folder, "ca", &ours.pem), file(&folder, "wrong", &other.pem));
    reaches(&server, Authorities::File(ca), None).await.unwrap();
    reaches(&server, fingerprint(&ours.pem), None).await.unwrap();
    let before = server.requests();
    for (what, authorities) in [
        ("the system's", Authorities::System),
        ("another file", Authorities::File(wrong)),
        ("another fingerprint", fingerprint(&other.pem)),
        ("that of the server's own certificate", fingerprint(&leaf.cert)),
    ] {
        let refused = reaches(&server, authorities, None).await.unwrap_err();
        assert!(refused.contains("certificate"), "{what}: {refused}");
    }
    assert_eq!(server.requests(), before, "nothing was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fingerprint_replaces_no_other_check() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let refused = async |what: &str, shown: &Pair, chain: &[&Authority]| {
        let server = Elasticsearch::start_tls(shown, chain, None).await;
        let refused = reaches(&server, fingerprint(&ours.pem), None).await.unwrap_err();
        assert!(refused.contains("certificate"), "{what}: {refused}");
        assert_eq!(server.requests(), 0, "{what}");
    };
    refused("another name", &ours.sign(&["es.example.org"]), &[&ours]).await;
    refused("our authority shown, another's signature", &other.server(), &[&ours, &other]).await;
    refused("our authority not shown", &ours.server(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_where_one_is_asked_for() {
    let (ours, folder) = (Authority::new("ours"), tempfile::tempdir().unwrap());
    let server = Elasticsearch::start_tls(&ours.server(), &[&ours], Some(&ours)).await;
    let shown = ours.sign(&["elastauth"]);
    let certificate = file(&folder, "cert", &shown.cert);
    let key = file(&folder, "key", &shown.key);
    let strange = file(&folder, "strange", &ours.sign(&["elastauth"]).key);
    let ca = file(&folder, "ca", &ours.pem);
    let identity = || Some(ClientIdentity { certificate: certificate.clone(), key: key.clone() });
    for authorities in [fingerprint(&ours.pem), Authorities::File(ca.clone())] {
        reaches(&server, authorities.clone(), identity()).await.unwrap();
        reaches(&server, authorities.clone(), None).await.unwrap_err();
        let crossed = Some(ClientIdentity { certificate: certificate.clone(), key: strange.clone() });
        reaches(&server, authorities.clone(), crossed).await.unwrap_err();
        let missing = Some(ClientIdentity { certificate: folder.path().join("none"), key: key.clone() });
        assert!(reaches(&server, authorities, missing).await.unwrap_err().contains("none"));
    }
}
