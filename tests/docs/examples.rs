//! Code blocks of pages. The words after the fence say how a block is checked:
//!
//! | fence | check |
//! |---|---|
//! | `yaml,config` | a complete configuration: `elastauth check` accepts it |
//! | `yaml,config-part` | a part of one: accepted together with variables for what it leaves out |
//! | `yaml,from=PATH`, any language | an excerpt of that file, indentation apart; `# …` stands for lines that are left out |
//! | `yaml,of=PROGRAM` | a configuration of another program that no test can start: well-formed YAML |
//! | `sh` | each command: see `commands.rs` |
//! | `json,role` | the role of elastauth's account, as `envoy/compose/setup.sh` makes it |
//! | `text` | output or a picture |
//!
//! Anything else fails, so that no example is left unchecked by a typing error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use elastauth_support::certificates::Authority;
use elastauth_support::process::{run, said};
use elastauth_support::servers::root;
use elastauth_support::yaml::documents;
use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};
use serde_json::Value;

use crate::commands;
use crate::pages::Page;

/// The actions that elastauth's account needs.
const ROLE: &str = r#"["cluster:admin/xpack/security/user/put", "read_security", "cluster:monitor/main"]"#;

/// One block and the words after its fence.
pub struct Block {
    tag: String,
    pub text: String,
}

/// Every block of a page.
pub fn all(page: &Page) -> Vec<Block> {
    let mut found = Vec::new();
    let mut block: Option<Block> = None;
    for event in page.events() {
        match event {
            Event::Start(Tag::CodeBlock(kind)) => {
                let tag = match kind {
                    CodeBlockKind::Fenced(tag) => tag.into_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                block = Some(Block { tag, text: String::new() });
            }
            Event::Text(text) => {
                if let Some(block) = &mut block {
                    block.text.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => found.extend(block.take()),
            _ => {}
        }
    }
    found
}

impl Block {
    /// Fails with what is wrong.
    pub fn check(&self) -> Result<(), String> {
        match self.tag.split_once(',').map_or((&*self.tag, ""), |(language, how)| (language, how)) {
            ("text", "") => commands::none(&self.text),
            ("sh", "") => commands::check(&self.text),
            ("yaml", "config") => loads(&self.text, &BTreeMap::new()),
            ("yaml", "config-part") => loads(&self.text, &rest_of(&self.text)),
            ("json", "role") => role(&self.text),
            ("yaml", how) if how.strip_prefix("of=").is_some_and(|program| !program.is_empty()) => {
                if documents(&self.text).is_empty() { Err("no YAML".into()) } else { Ok(()) }
            }
            (_, how) => match how.strip_prefix("from=") {
                Some(path) => excerpt(&self.text, path),
                None => Err(format!("`{}` is no tag: see tests/docs/examples.rs", self.tag)),
            },
        }
    }
}

/// The program accepts it. Files that it names are replaced with ones that exist, and variables get values.
fn loads(yaml: &str, variables: &BTreeMap<&str, String>) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    fs::write(&file, with_files(yaml, folder.path())).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_elastauth"));
    command.env_clear().envs(variables).envs(interpolated(yaml)).arg("--config").arg(&file).arg("check");
    let output = run(&mut command, "").unwrap();
    if output.status.success() { Ok(()) } else { Err(said(&output)) }
}

/// Variables for what every configuration needs and this part of one does not say.
fn rest_of(yaml: &str) -> BTreeMap<&'static str, String> {
    let part = documents(yaml).pop().unwrap_or_default();
    let says = |section: &str, keys: &[&str]| keys.iter().any(|key| !part[section][key].is_null());
    let mut variables = BTreeMap::new();
    let mut give = |name: &'static str, value: &str| drop(variables.insert(name, value.to_owned()));
    let headers = part["auth_provider"] == "authelia" || !part["authelia"].is_null();
    if headers {
        give("AUTH_PROVIDER", "authelia");
        if !says("authelia", &["shared_secret", "trusted_peers", "metadata_namespace"]) {
            give("AUTHELIA_SHARED_SECRET", &"s".repeat(32));
        }
    } else if !part["oidc"].is_array() {
        if !says("oidc", &["issuer"]) {
            give("OIDC_ISSUER", "https://issuer.example.com");
        }
        if !says("oidc", &["client_id", "audience"]) {
            give("OIDC_CLIENT_ID", "elastauth");
        }
    }
    if !says("elasticsearch", &["hosts", "cloud_id"]) {
        give("ELASTICSEARCH_HOSTS", "https://elasticsearch.example.com:9200");
    }
    if !says("elasticsearch", &["username", "api_key", "bearer_token"]) {
        give("ELASTICSEARCH_USERNAME", "elastauth");
        give("ELASTICSEARCH_PASSWORD", "of-elastauth");
    }
    if part["secret_key"].is_null() {
        give("SECRET_KEY", &"0123456789abcdef".repeat(4));
    }
    if part["group_mappings"].is_null() && part["default_roles"].is_null() {
        give("DEFAULT_ROLES", "viewer");
    }
    variables
}

/// A value for each `${NAME}` without a default.
fn interpolated(yaml: &str) -> BTreeMap<&str, String> {
    let names = yaml.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    let value = |name: &str| match name {
        _ if name.contains("KEY") && !name.contains("API") => "0123456789abcdef".repeat(4),
        _ if name.contains("URL") || name.contains("ISSUER") || name.contains("HOST") => {
            format!("https://{}.example.com", name.len())
        }
        _ => format!("a-value-for-{name}-of-some-length"),
    };
    names.filter(|name| !name.contains(":-")).map(|name| (name, value(name))).collect()
}

/// The same text, with certificates, keys and secrets in files of this folder.
fn with_files(yaml: &str, folder: &Path) -> String {
    let authority = Authority::new("an authority");
    let pair = authority.server();
    let mut replaced = String::new();
    for (number, line) in yaml.lines().enumerate() {
        let Some((key, rest)) = line.split_once(": ").filter(|(key, _)| key.ends_with("_file")) else {
            replaced.push_str(&format!("{line}\n"));
            continue;
        };
        let comment = rest.find(" #").map_or("", |at| &rest[at..]);
        let text = match key.trim_start() {
            key if key.contains("ca_file") => &authority.pem,
            key if key.contains("cert") => &pair.cert,
            _ => &pair.key,
        };
        let file = folder.join(format!("{number}.pem"));
        fs::write(&file, text).unwrap();
        replaced.push_str(&format!("{key}: {}{comment}\n", file.display()));
    }
    replaced
}

/// Lines of the block follow one another in the file.
fn excerpt(text: &str, path: &str) -> Result<(), String> {
    let file = fs::read_to_string(root().join(path)).map_err(|error| format!("{path}: {error}"))?;
    let file: Vec<&str> = file.lines().collect();
    let mut from = 0;
    for part in text.split_inclusive('\n').collect::<Vec<_>>().split(|line| line.trim() == "# …") {
        let part: Vec<&str> = part.iter().map(|line| line.trim_end()).collect();
        let Some(at) = (from..file.len()).find(|at| begins(&file[*at..], &part)) else {
            return Err(format!("{path} does not hold these lines one after another:\n{}", part.join("\n")));
        };
        from = at + part.len();
    }
    Ok(())
}

/// The file begins with these lines, all of them moved by the same number of spaces.
fn begins(file: &[&str], part: &[&str]) -> bool {
    let Some(first) = part.first() else { return true };
    let by = |line: &str, of: &str| {
        line.trim_end().strip_suffix(of.trim_start()).map(str::len).map(|at| (at, of.len() - of.trim_start().len()))
    };
    let Some((there, here)) = file.first().and_then(|line| by(line, first)) else { return false };
    let moved = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        (indent + there).checked_sub(here).map(|indent| " ".repeat(indent) + line.trim_start())
    };
    let same = |(line, of): (&&str, &&str)| match of.trim() {
        "" => line.trim().is_empty(),
        _ => moved(of).is_some_and(|of| line.trim_end() == of),
    };
    file.len() >= part.len() && file.iter().zip(part).all(same)
}

/// A request with the documented role as its body.
fn role(text: &str) -> Result<(), String> {
    let body =
        text.trim_start().strip_prefix("PUT /_security/role/elastauth").ok_or("not the request that makes the role")?;
    let body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let actions: Value = serde_json::from_str(ROLE).unwrap();
    let setup = fs::read_to_string(root().join("envoy/compose/setup.sh")).unwrap();
    assert!(setup.contains(ROLE), "setup.sh makes another role");
    let keys: BTreeSet<_> = body.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    if body["cluster"] == actions && keys == BTreeSet::from(["cluster"]) { Ok(()) } else { Err(format!("not {ROLE}")) }
}

#[test]
fn an_excerpt_may_be_moved_and_cut_but_not_changed() {
    let file = ["a:", "  b: 1", "  c:", "    - d", "e: 2"];
    assert!(begins(&file[1..], &["b: 1", "c:", "  - d"]));
    assert!(begins(&file[1..], &["    b: 1", "    c:"]));
    assert!(!begins(&file[1..], &["b: 1", "c:", "- d"]), "other indentation");
    assert!(!begins(&file[1..], &["b: 1", "e: 2"]), "a line in between");
    assert!(!begins(&file[3..], &["- d", "e: 2"]), "another level");
}

#[test]
fn a_tag_that_is_misspelt_fails() {
    for tag in ["", "yaml", "yaml,configs", "json", "rust", "sh,ignore"] {
        let block = Block { tag: tag.into(), text: String::new() };
        assert!(block.check().is_err(), "{tag}");
    }
}

#[test]
fn a_configuration_that_the_program_refuses_fails() {
    let part = |text: &str| Block { tag: "yaml,config-part".into(), text: text.into() }.check();
    assert_eq!(part("log_level: debug\n"), Ok(()));
    assert!(part("log_levle: debug\n").is_err_and(|why| why.contains("log_level")));
}
