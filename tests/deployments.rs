//! Checks the files that users deploy, under `envoy/` and the Dockerfile, against published schemas, a real Envoy and our own
//! configuration. Nothing here needs a Docker engine or a cluster: the steps of the image and the fields of the objects are
//! checked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use elastauth_support::certificates::Authority;
use elastauth_support::envoy::with_certificate;
use elastauth_support::files;
use elastauth_support::process::{Process, free_port, run, said};
use elastauth_support::servers::{REDIS_PASSWORD, Redis, root, tool};

const ELASTAUTH: &str = env!("CARGO_BIN_EXE_elastauth");

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The folder that `tests/tools.sh schemas` fills, if it exists and node is installed.
fn schemas() -> Option<PathBuf> {
    let folder = root().join(".tools/schemas");
    let there = folder.join("stamp").exists() && run(Command::new("node").arg("--version"), "").is_ok();
    if !there {
        println!(
            "skipped: the schemas of Kubernetes, Istio, Envoy Gateway and Compose; `make tools` gets them with node and go"
        );
    }
    there.then_some(folder)
}

fn validate(folder: &Path, files: &[PathBuf]) -> Output {
    let script = root().join("tests/schemas/validate.mjs");
    run(Command::new("node").arg(script).arg(folder).args(files), "").unwrap()
}

const DEPLOYED: [&str; 6] = [
    "envoy/kubernetes/elastauth.yaml",
    "envoy/gateway/elastauth.yaml",
    "envoy/istio/elastauth.yaml",
    "envoy/istio/values.yaml",
    "envoy/compose/compose.yaml",
    "envoy/gateway/login.yaml",
];

#[test]
fn every_object_that_users_deploy_fits_its_published_schema() {
    let Some(folder) = schemas() else { return };
    let output = validate(&folder, &DEPLOYED.map(|file| root().join(file)));
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).lines().filter(|line| line.starts_with("ok: ")).count() >= 20, "{}", said(&output));
}

#[test]
fn a_misspelt_field_would_be_found() {
    let Some(folder) = schemas() else { return };
    for (file, from, to) in [
        (DEPLOYED[0], "readinessProbe:", "readynessProbe:"),
        (DEPLOYED[1], "failOpen:", "failopen:"),
        (DEPLOYED[2], "mtls:", "mtsl:"),
        (DEPLOYED[3], "failOpen:", "failopen:"),
        (DEPLOYED[4], "depends_on:", "dependson:"),
        (DEPLOYED[5], "filterOrder:", "filterorder:"),
    ] {
        let text = read(file);
        assert!(text.contains(from), "{file} has {from}");
        let copy = tempfile::tempdir().unwrap();
        let path = copy.path().join(Path::new(file).file_name().unwrap());
        fs::write(&path, text.replace(from, to)).unwrap();
        assert!(!validate(&folder, &[path]).status.success(), "{file} with {to}");
    }
}

/// The block under `config.yml: |` of the Kubernetes file.
fn config_map() -> String {
    let text = read(DEPLOYED[0]);
    let (_, rest) = text.split_once("  config.yml: |\n").unwrap();
    let lines = rest.lines().take_while(|line| line.starts_with("    ")).map(|line| &line[4..]);
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_configurations_that_come_with_them_are_valid() {
    let secret = "0123456789abcdef".repeat(4);
    for (name, text) in [("kubernetes", config_map()), ("compose", read("envoy/compose/config.yml"))] {
        let folder = tempfile::tempdir().unwrap();
        for file in ["elasticsearch-password", "redis-password", "secret-key"] {
            fs::write(folder.path().join(file), &secret).unwrap();
        }
        let file = |name: &str| folder.path().join(name);
        let authority = Authority::new("authority");
        let pair = authority.server();
        for (name, pem) in [("tls.crt", &pair.cert), ("tls.key", &pair.key), ("ca.crt", &authority.pem)] {
            fs::write(file(name), pem).unwrap();
        }
        let config = file("config.yml");
        let mut text = text;
        for mounted in ["/etc/elastauth/tls", "/etc/elastauth/elasticsearch"] {
            text = text.replace(mounted, folder.path().to_str().unwrap());
        }
        fs::write(&config, text).unwrap();
        let mut command = Command::new(ELASTAUTH);
        command.env_clear().args(["check", "--config"]).arg(&config);
        if name == "compose" {
            command.env("OIDC_ISSUER", "https://auth.example.com").env("REDIS_PASSWORD", &secret);
            command.env("ELASTICSEARCH_PASSWORD", &secret).env("SECRET_KEY", &secret);
        } else {
            command.env("ELASTICSEARCH_PASSWORD_FILE", file("elasticsearch-password"));
            command.env("CACHE_REDIS_PASSWORD_FILE", file("redis-password")).env("SECRET_KEY_FILE", file("secret-key"));
        }
        let output = run(&mut command, "").unwrap();
        assert!(output.status.success(), "{name}: {}", said(&output));
    }
}

/// The section for TLS to Elasticsearch, with its comment.
fn section_of_tls(text: &str) -> &str {
    let from = text.find("    # Every request carries a password").unwrap();
    &text[from..from + text[from..].find("    load_assignment:").unwrap()]
}

#[test]
fn the_file_for_compose_differs_from_the_tested_one_in_its_addresses_only() {
    let shipped = read("envoy/envoy.yaml");
    let mut plain = shipped.clone();
    for (from, to) in [
        ("in front of Elasticsearch (or Kibana)", "in front of Kibana"),
        (
            &shipped[shipped.find("# Change `domains`").unwrap()..shipped.find("admin:").unwrap()],
            "# The file of ../envoy.yaml with the names and addresses of compose.yaml, and without TLS within its networks.\n",
        ),
        (section_of_tls(&shipped), ""),
        (
            "domains: [kibana.example.org, \"kibana.example.org:443\", \"kibana.example.org:10000\"]",
            "domains: [\"localhost:10000\", \"127.0.0.1:10000\"]",
        ),
        (
            "        - endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 9001 } } }",
            "        - endpoint: { address: { socket_address: { address: elastauth-1, port_value: 9001 } } }\n        \
             - endpoint: { address: { socket_address: { address: elastauth-2, port_value: 9001 } } }",
        ),
        ("{ address: elasticsearch.example.org, port_value: 9200 }", "{ address: kibana, port_value: 5601 }"),
        ("cluster: elasticsearch,", "cluster: kibana,"),
        ("- name: elasticsearch\n", "- name: kibana\n"),
        ("cluster_name: elasticsearch", "cluster_name: kibana"),
    ] {
        assert!(plain.contains(from), "envoy/envoy.yaml has {from}");
        plain = plain.replace(from, to);
    }
    assert_eq!(read("envoy/compose/envoy.yaml"), plain);
}

/// The lines from one that begins with `from` up to one that begins with `to`, without comments.
fn section(text: &str, from: &str, to: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let lines = lines.skip_while(|line| !line.starts_with(from)).take_while(|line| !line.starts_with(to));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_file_with_a_login_differs_from_the_tested_one_in_its_login_only() {
    let [plain, login] = ["envoy/envoy.yaml", "envoy/login.yaml"].map(read);
    // what is added: the secrets, TLS for browsers, the filter, the route of programs, the provider
    let mut left = login.as_str();
    for line in plain.lines().skip_while(|line| !line.starts_with("admin:")) {
        let (_, rest) = left
            .split_once(line.trim_start().trim_start_matches("- "))
            .unwrap_or_else(|| panic!("envoy/login.yaml lacks {line}"));
        left = rest;
    }
    let added = login.lines().count() - plain.lines().count();
    assert!(added < 110, "{added} lines more");
}

#[test]
fn the_gateways_file_with_a_login_asks_elastauth_as_the_other_one_does() {
    let [plain, login] = ["envoy/gateway/elastauth.yaml", "envoy/gateway/login.yaml"].map(read);
    let asks = |text: &str| section(text, "extAuth:", "---").join("\n");
    assert!(asks(&plain).lines().count() >= 20, "{}", asks(&plain));
    assert_eq!(asks(&login), asks(&plain));
    let spec = |text: &str| section(text, "backendTLS:", "---").join("\n");
    assert_eq!(spec(&login), spec(&plain));
}

#[test]
fn the_file_for_authelia_asks_elastauth_as_the_tested_one_does() {
    let [plain, authelia] = ["envoy/envoy.yaml", "envoy/authelia.yaml"].map(read);
    for (from, to, least) in [
        ("use_remote_address:", "mutations:", 9),
        // in the file with two filters the last one is elastauth's: Authelia's own comes before it
        ("validate_mutations:", "- name: envoy.filters.http.router", 14),
        ("- name: elastauth type: STRICT_DNS", "load_assignment:", 25),
        ("- name: elasticsearch type: STRICT_DNS", "- name: authelia", 16),
    ] {
        let [plain, authelia] = [&plain, &authelia]
            .map(|text| section(&text.replace("\n    type: STRICT_DNS", " type: STRICT_DNS"), from, to));
        assert!(plain.len() >= least, "{from}: {plain:?}");
        assert_eq!(authelia, plain, "from {from} to {to}");
    }
    assert_eq!(authelia.matches("failure_mode_allow: false").count(), 2);
    assert_eq!(authelia.matches("status_on_error: { code: ServiceUnavailable }").count(), 2);
}

#[test]
fn every_envoy_file_is_valid_for_five_versions_of_envoy() {
    let makefile = read("Makefile");
    let versions = makefile.lines().find_map(|line| line.strip_prefix("ENVOYS := ")).unwrap();
    assert!(versions.split(' ').count() >= 5, "{versions}");
    let mut files = files::with_extension(&root().join("envoy"), "yaml");
    files.retain(|file| fs::read_to_string(file).unwrap().contains("static_resources:"));
    assert!(files.len() >= 3, "{files:?}");
    // a file with TLS towards clients names a certificate, which has to exist
    let (folder, pair) = (tempfile::tempdir().unwrap(), Authority::new("authority").server());
    for file in files.iter_mut().filter(|file| file.ends_with("login.yaml")) {
        let copy = folder.path().join(file.file_name().unwrap());
        fs::write(&copy, with_certificate(fs::read_to_string(&*file).unwrap(), &pair)).unwrap();
        *file = copy;
    }
    for version in versions.split(' ') {
        let Some(envoy) = tool(&format!("envoy-{version}")) else { return };
        for file in &files {
            let output = run(Command::new(&envoy).args(["--mode", "validate", "-c"]).arg(file), "").unwrap();
            assert!(output.status.success(), "Envoy {version}: {}: {}", file.display(), said(&output));
        }
    }
}

#[test]
fn nothing_that_users_deploy_does_what_they_are_told_not_to_do() {
    let files = files::with_extension(&root().join("envoy"), "yaml");
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            for mistake in [
                "request_headers_to_add",
                "RequestHeaderModifier",
                "internal_redirect_policy",
                "domains: [\"*\"]",
                "shadow_mode",
                "failure_mode_allow: true",
                "failOpen: true",
            ] {
                assert!(!line.contains(mistake), "{}: {line}", file.display());
            }
        }
    }
}

/// The Dockerfile's instructions, continued lines joined.
fn instructions() -> Vec<String> {
    let joined = read("Dockerfile").replace("\\\n", " ");
    joined.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()).map(str::to_owned).collect()
}

#[test]
fn the_image_is_built_of_files_that_are_there_and_that_the_ignore_file_lets_through() {
    let ignored = read(".dockerignore");
    let allowed: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let context = tempfile::tempdir().unwrap();
    for line in instructions().iter().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let (target, sources) = words.split_last().unwrap();
        for source in sources {
            assert!(allowed.contains(source), ".dockerignore lets {source} through");
            let to = context.path().join(target);
            let parent = if *target == "./" { &to } else { to.parent().unwrap() };
            fs::create_dir_all(parent).unwrap();
            let copied = run(Command::new("cp").arg("-r").arg(root().join(source)).arg(&to), "").unwrap();
            assert!(copied.status.success(), "{line}");
        }
    }
    // cargo reads the whole workspace in the image, so that no member may be missing
    let mut command = Command::new(env!("CARGO"));
    let metadata =
        command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(context.path());
    let output = run(metadata, "").unwrap();
    assert!(output.status.success(), "{}", said(&output));
    // files that the sources include must be copied too
    for included in ["proto/envoy/service/auth/v3/external_auth.proto", "build.rs", "src/main.rs"] {
        assert!(context.path().join(included).exists(), "{included}");
    }
}

#[tokio::test]
async fn the_image_serves_what_the_documented_manifests_expect_of_it() {
    let Some(redis) = Redis::start(&[]) else { return };
    let lines = instructions();
    let has = |what: &str| lines.iter().any(|line| line.contains(what));
    let set: Vec<&String> = lines.iter().filter(|line| line.starts_with("ENV ")).collect();
    assert_eq!(set, ["ENV ELASTAUTH_IMAGE_LISTEN=0.0.0.0:5000"], "the kubelet probes port 5000 from outside");
    assert!(has("ca-certificates curl"), "the documented health check is curl, inside the image");
    assert!(has("USER 65532:65532") && has("ENTRYPOINT [\"/usr/local/bin/elastauth\"]"));

    // the environment of the documented Compose file; the image finds /config.yml by its name
    let folder = tempfile::tempdir().unwrap();
    let config = "oidc:\n  issuer: \"https://auth.example.com\"\n  client_id: elastauth\n\
                  elasticsearch:\n  hosts: [\"https://elasticsearch:9200\"]\n  username: elastauth\n\
                  default_roles: [kibana_user]\n";
    fs::write(folder.path().join("config.yml"), config).unwrap();
    let (http, grpc) = (free_port(), free_port());
    let mut command = Command::new(ELASTAUTH);
    command.env_clear().current_dir(folder.path()).env("ELASTAUTH_IMAGE_LISTEN", format!("0.0.0.0:{http}"));
    command
        .env("GRPC_LISTEN", format!("127.0.0.1:{grpc}"))
        .env("CACHE_TYPE", "redis")
        .env("CACHE_REDIS_HOST", &redis.address);
    command
        .env("CACHE_REDIS_PASSWORD", REDIS_PASSWORD)
        .env("CACHE_EXPIRATION", "2h")
        .env("OIDC_CLIENT_SECRET", "hush-of-elastauth");
    command.env("ELASTICSEARCH_PASSWORD", "of-elastauth").env("SECRET_KEY", "0123456789abcdef".repeat(4));
    let process = Process::start("elastauth", &mut command);
    process.wait_for_line(0, &["elastauth serves"]);
    let answer = elastauth_support::http().get(format!("http://127.0.0.1:{http}/health")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}
