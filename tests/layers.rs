//! Which module may import which, read off the `use` lines: the cut that `src/lib.rs` draws.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "layers/imports.rs"]
mod imports;

use std::fs;
use std::path::{Path, PathBuf};

use elastauth_support::files;

const MIDDLE: [&str; 6] = ["authz", "identity", "login", "roles", "credentials", "users"];
const EDGES: [&str; 8] = ["envoy", "http", "oidc", "redis", "memory", "file", "elastic", "opensearch"];
const FOREIGN: [&str; 8] =
    ["tonic", "prost", "reqwest", "redis", "deadpool", "deadpool_redis", "axum", "prometheus_client"];
const OPENTELEMETRY: [&str; 4] = ["opentelemetry", "opentelemetry_sdk", "opentelemetry_otlp", "tracing_opentelemetry"];

/// Each source file with the module that it belongs to (`src/envoy/wire.rs` → `envoy`), without its tests.
fn modules() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files::with_extension(&root, "rs");
    assert!(files.len() > 20, "the sources were found");
    let module = |path: &Path| {
        let first = path.strip_prefix(&root).unwrap().iter().next().unwrap().to_str().unwrap().to_owned();
        first.trim_end_matches(".rs").to_owned()
    };
    let shipped =
        |path: &PathBuf| path.strip_prefix(&root).unwrap().iter().all(|name| name != "tests.rs" && name != "tests");
    files
        .into_iter()
        .filter(shipped)
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
            (module(&path), path, code)
        })
        .collect()
}

/// Own modules named with `crate::`, in `use` lines (nested ones too) and in the code.
fn imports(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    let code: String = code.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let list = rest
            .strip_prefix('{')
            .map_or_else(|| vec![rest], |inner| inner.split('}').next().unwrap().split(',').map(str::trim).collect());
        for item in list {
            names.push(item.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    names
}

#[test]
fn the_middle_knows_no_protocol() {
    for (module, path, code) in modules().iter().filter(|(m, ..)| MIDDLE.contains(&m.as_str())) {
        for foreign in FOREIGN {
            let used = code.contains(&format!("use {foreign}::")) || code.contains(&format!(" {foreign}::"));
            assert!(!used, "{module} imports {foreign}: {}", path.display());
        }
        for import in imports(code) {
            let outer = EDGES.contains(&import.as_str()) || import == "metrics";
            assert!(!outer, "{module} imports {import}: {}", path.display());
        }
    }
}

#[test]
fn edges_never_import_one_another() {
    for (module, path, code) in modules().iter().filter(|(m, ..)| EDGES.contains(&m.as_str())) {
        for import in imports(code) {
            let other = EDGES.contains(&import.as_str()) && import != *module;
            assert!(!other, "{module} imports {import}: {}", path.display());
        }
    }
}

#[test]
fn what_edges_share_knows_none_of_them() {
    for (module, path, code) in modules().iter().filter(|(m, ..)| {
        ["inbound", "outbound", "cluster_client", "native_user", "flavor", "metrics"].contains(&m.as_str())
    }) {
        for import in imports(code) {
            assert!(!EDGES.contains(&import.as_str()), "{module} imports {import}: {}", path.display());
        }
    }
}

#[test]
fn only_the_composition_root_imports_the_configuration() {
    for (module, path, code) in &modules() {
        let allowed = ["app", "main", "config"].contains(&module.as_str());
        assert!(allowed || !imports(code).iter().any(|i| i == "config"), "{}", path.display());
    }
}

#[test]
fn only_the_composition_root_names_stores_and_provisioners() {
    for (module, path, code) in &modules() {
        for concrete in ["RedisStore", "MemoryStore", "FileStore", "Elastic::new", "OpenSearch::new", "OidcProvider"] {
            let own = EDGES.contains(&module.as_str());
            assert!(own || module == "app" || !code.contains(concrete), "{}: {concrete}", path.display());
        }
    }
}

#[test]
fn spans_are_made_anywhere_and_known_to_opentelemetry_in_two_places() {
    let mut named = 0;
    for (module, path, code) in &modules() {
        let used = OPENTELEMETRY.iter().any(|name| code.contains(&format!("{name}::")));
        let allowed = module == "telemetry" || path.ends_with("src/envoy/trace.rs");
        assert!(allowed || !used, "{}", path.display());
        named += usize::from(used);
    }
    assert!(named >= 2, "the places were found");
}

#[test]
fn there_is_one_crypto_library_and_one_tls_stack() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let named = |name: &str| lock.lines().filter(|line| *line == format!("name = \"{name}\"")).count();
    for one in ["ring", "rustls", "hyper", "reqwest", "tonic", "redis"] {
        assert_eq!(named(one), 1, "{one}");
    }
    for none in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "boring"] {
        assert_eq!(named(none), 0, "{none}");
    }
}

#[test]
fn files_import_downwards_only() {
    let circles = imports::Files::below("src").circles();
    assert!(
        circles.is_empty(),
        "files that import each other: move what they share to a file below them\n{}",
        circles.join("\n")
    );
}

#[test]
fn imports_are_named_one_by_one() {
    for (module, path, code) in &modules() {
        let wildcard = code.lines().find(|line| line.trim_start().starts_with("use ") && line.contains("::*"));
        assert_eq!(wildcard, None, "{module}: {}", path.display());
    }
}
