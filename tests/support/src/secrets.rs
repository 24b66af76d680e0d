//! Collects every secret that the tests use, and searches the output of processes for them.
//!
//! Code that makes, configures or receives a secret passes it to [`keep`]: the stand-ins, the configurations of the processes
//! that tests start, the makers of tokens and certificates. The output of each process that [`crate::process`] starts is searched
//! when it ends, for the secrets of every test of the same binary.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A shorter text could be an ordinary word, so that finding it would prove nothing.
const SHORTEST: usize = 8;

/// The first bytes of a form. With them as the key, one lookup at each position of a text finds all forms that may begin there.
type Start = [u8; SHORTEST];

#[derive(Default)]
struct Kept {
    secrets: HashSet<String>,
    forms: HashMap<Start, Vec<(Vec<u8>, &'static str)>>,
}

static KEPT: LazyLock<RwLock<Kept>> = LazyLock::new(RwLock::default);

/// From now on no process may print this secret. `what` names it in the message of a failure. Secrets that are too short to be
/// searched for are ignored.
pub fn keep(what: &'static str, secret: &str) {
    let known = || KEPT.read().unwrap_or_else(PoisonError::into_inner).secrets.contains(secret);
    if secret.len() < SHORTEST || known() {
        return;
    }
    let mut kept = KEPT.write().unwrap_or_else(PoisonError::into_inner);
    if kept.secrets.insert(secret.to_owned()) {
        for form in forms(secret) {
            if let Some(start) = form.first_chunk::<SHORTEST>() {
                kept.forms.entry(*start).or_default().push((form, what));
            }
        }
    }
}

/// Keeps a token. Of a signed one, each part but the header is kept by itself: the signature alone is enough for an attacker that
/// knows the rest.
pub fn keep_token(token: &str) {
    if let [_, payload, signature] = token.split('.').collect::<Vec<_>>()[..] {
        keep("the claims of a token", payload);
        keep("the signature of a token", signature);
    } else {
        keep("a token", token);
    }
}

/// Keeps a private key line by line, because a log would show it so.
pub fn keep_pem(pem: &str) {
    pem.lines().filter(|line| !line.starts_with("-----")).for_each(|line| keep("a private key", line));
}

/// Keeps the secrets in the arguments and the environment of a command: those of YAML files, and variables named like secrets.
pub fn keep_of(command: &Command) {
    for file in command.get_args().map(Path::new) {
        if file.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") {
            keep_configured(&fs::read_to_string(file).unwrap_or_default());
        }
    }
    for (name, value) in command.get_envs() {
        if let (Some(name), Some(value)) = (name.to_str(), value.and_then(OsStr::to_str)) {
            setting(&name.to_lowercase(), value);
        }
    }
}

/// Keeps the secrets of a configuration. It is read by lines, which suffices for `key: value`, `key: [value, value]` and `{key:
/// value, key: value}`.
fn keep_configured(yaml: &str) {
    for line in yaml.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let mut key = "";
        for part in line.split([',', '{', '}']) {
            // a value without a key of its own is one more value of a list
            let (named, value) = part.split_once(": ").unwrap_or((key, part));
            key = named.trim_matches(['-', ' ', '"']);
            setting(key, value.trim_matches(['[', ']', ' ', '"', '\'']));
        }
    }
}

fn setting(key: &str, value: &str) {
    let secret = |key: &str| {
        let names = ["password", "secret", "secret_key", "secret_keys", "api_key", "bearer_token", "tls_key"];
        names.iter().any(|name| key.ends_with(name))
    };
    if let Some(inner) = key.strip_suffix("_file").filter(|inner| secret(inner)) {
        let text = fs::read_to_string(value).unwrap_or_default();
        if inner.ends_with("tls_key") { keep_pem(&text) } else { keep("what a file holds", text.trim()) }
    } else if secret(key) && !["", "true", "false"].contains(&value) && !value.starts_with('$') {
        assert!(value.len() >= SHORTEST, "{key}: {value} is too short for a test: it could not be looked for");
        keep("a configured secret", value);
    }
}

/// The secret as it is, as JSON writes it, percent-encoded, and as part of any base64 text.
fn forms(secret: &str) -> HashSet<Vec<u8>> {
    let json = serde_json::to_string(secret).unwrap();
    let percent = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    let mut forms = HashSet::from([
        secret.as_bytes().to_vec(),
        json.trim_matches('"').as_bytes().to_vec(),
        secret.bytes().map(percent).collect::<String>().into_bytes(),
    ]);
    for before in 0..3 {
        let shifted = [&[0; 2][..before], secret.as_bytes()].concat();
        for encoded in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            // a character that also holds bits of the neighbouring byte is left out
            let (first, last) = ([0, 2, 3][before], encoded.len() - usize::from(shifted.len() % 3 != 0));
            forms.insert(encoded.as_bytes()[first..last].to_vec());
        }
    }
    forms
}

/// The name of the first secret that a text contains, and the line with it.
#[must_use]
pub fn find(text: &str) -> Option<String> {
    let kept = KEPT.read().unwrap_or_else(PoisonError::into_inner);
    let found = |line: &[u8]| {
        line.windows(SHORTEST).enumerate().find_map(|(at, start)| {
            let forms = kept.forms.get(start)?;
            forms.iter().find(|(form, _)| line[at..].starts_with(form)).map(|(_, what)| *what)
        })
    };
    text.lines().find_map(|line| Some(format!("{} is said in: {line}", found(line.as_bytes())?)))
}

/// Fails when a text contains a secret; `source` names the origin of the text in the message.
pub fn are_not_in(source: &str, text: &str) {
    assert_eq!(find(text), None, "{source} gives away a secret");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_each_of_its_forms_and_nowhere_else() {
        let secret = "w0rd\"of/the+day";
        keep("a word", secret);
        for said in [
            secret.to_owned(),
            serde_json::json!({ "a": secret }).to_string(),
            "?q=w0rd%22of%2Fthe%2Bday".to_owned(),
            STANDARD_NO_PAD.encode(secret),
            STANDARD_NO_PAD.encode(format!("u:{secret}")),
            URL_SAFE_NO_PAD.encode(format!("user:{secret} and more")),
        ] {
            assert!(find(&format!("before\nx {said} y\n")).is_some_and(|found| found.starts_with("a word")), "{said}");
        }
        for harmless in ["w0rd", "all is well", &STANDARD_NO_PAD.encode("user:something else")] {
            assert_eq!(find(harmless), None);
        }
    }

    #[test]
    fn secrets_of_tokens_keys_configurations_and_environments_are_kept() {
        keep_token("header-of-it.payload-of-it.signature-of-it");
        keep_pem("-----BEGIN-----\nMIGHAgEAline\n-----END-----\n");
        let folder = tempfile::tempdir().unwrap();
        let (config, file) = (folder.path().join("c.yml"), folder.path().join("pw"));
        fs::write(&file, "of-the-file\n").unwrap();
        let yaml = "cache: {redis_password: of-redis, x: y}\nsecret_key: \"of-the-seal\"\nprevious_secret_keys: [\"of-old-one\", of-old-two]\n";
        fs::write(&config, format!("{yaml}a: harmless-value\nb:\n  password_file: {}\n", file.display())).unwrap();
        let mut command = Command::new("nothing");
        keep_of(command.arg("--config").arg(&config).env("ELASTICSEARCH_API_KEY", "of-the-api"));
        let all = ["payload-of-it", "signature-of-it", "MIGHAgEAline", "of-redis", "of-the-seal", "of-old-one"];
        for secret in all.into_iter().chain(["of-old-two", "of-the-file", "of-the-api"]) {
            assert!(find(secret).is_some(), "{secret}");
        }
        for harmless in ["header-of-it", "harmless-value", "-----BEGIN-----"] {
            assert_eq!(find(harmless), None);
        }
    }
}
