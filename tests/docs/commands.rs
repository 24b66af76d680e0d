//! Commands in pages. Targets of make exist, lines of elastauth are arguments that it takes, tests that cargo is told to run
//! exist; every other line is listed here with the test that does the same.

use std::fs;
use std::process::Command;

use elastauth_support::process::{run, said};
use elastauth_support::servers::root;

/// What clap answers to arguments that it does not know.
const USAGE: i32 = 2;

/// Lines of other programs by their beginning, and the test that runs the same: its file and its name.
const ELSEWHERE: &[(&str, &str, &str)] =
    &[("grpcurl -plaintext -d", "tests/clients.rs", "grpcurl_lists_describes_and_asks")];

/// Checks each command of a block.
pub fn check(text: &str) -> Result<(), String> {
    for line in lines(text) {
        let words = words(&line);
        let words: Vec<&str> = words.iter().map(String::as_str).skip_while(|word| is_assignment(word)).collect();
        let Some((program, arguments)) = words.split_first() else { continue };
        match program.rsplit('/').next() {
            Some("make") => make(arguments)?,
            Some("cargo") => cargo(arguments)?,
            Some("elastauth") => elastauth(arguments)?,
            _ => {
                if !ELSEWHERE.iter().any(|(begin, ..)| line.starts_with(begin)) {
                    return Err(format!("`{line}` is not listed in tests/docs/commands.rs"));
                }
            }
        }
    }
    Ok(())
}

/// Fails where output or a picture is commands: these are checked, and so have another tag.
pub fn none(text: &str) -> Result<(), String> {
    let programs = ["make", "cargo", "elastauth", "curl", "docker", "grpcurl", "kubectl", "redis-cli"];
    let command = |line: &&str| {
        programs.iter().any(|program| line.strip_prefix(program).is_some_and(|rest| rest.starts_with(' ')))
    };
    match text.lines().find(command) {
        Some(line) => Err(format!("`{line}` is a command: use the tag `sh`")),
        None => Ok(()),
    }
}

/// The tests of [`ELSEWHERE`] exist.
pub fn tests_exist() {
    for (command, file, test) in ELSEWHERE {
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains(&format!("fn {test}(")), "{command}: {file} has no {test}");
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

/// Each command on a line of its own: lines that go on are joined, comments are dropped, pipes and lists are cut.
fn lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if !line.starts_with('#') {
            found.extend(line.split(" | ").flat_map(|part| part.split(" && ")).map(|part| part.trim().to_owned()));
        }
    }
    found.retain(|line| !line.is_empty());
    found
}

/// Words as a shell has them, without redirections.
fn words(line: &str) -> Vec<String> {
    let (mut found, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '\'' | '"') => (quote, begun) = (Some(c), true),
            (None, ' ') if begun || !word.is_empty() => {
                found.push(std::mem::take(&mut word));
                begun = false;
            }
            (None, ' ') => {}
            (_, c) => word.push(c),
        }
    }
    if let Some(at) = found.iter().position(|word| word.starts_with(['<', '>'])) {
        found.truncate(at);
    }
    found
}

fn make(arguments: &[&str]) -> Result<(), String> {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let is_target = |name: &str| {
        let targets =
            makefile.lines().filter(|line| !line.starts_with([' ', '\t', '.'])).filter_map(|line| line.split_once(':'));
        targets
            .filter(|(_, rest)| !rest.starts_with('='))
            .any(|(names, _)| names.split(' ').any(|target| target == name))
    };
    match arguments.iter().find(|name| !is_assignment(name) && !is_target(name)) {
        Some(name) => Err(format!("make has no target {name}")),
        None => Ok(()),
    }
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    let after = |flag: &str| arguments.iter().position(|word| *word == flag).and_then(|at| arguments.get(at + 1));
    if let Some(test) = after("--test")
        && ![format!("tests/{test}.rs"), format!("tests/{test}/main.rs")].iter().any(|file| root().join(file).exists())
    {
        return Err(format!("there is no test {test}"));
    }
    if let Some(module) = after("--lib")
        && !root().join("src").join(module.replace("::", "/")).with_extension("rs").exists()
    {
        return Err(format!("there is no module {module}"));
    }
    Ok(())
}

/// Without a configuration the program goes no further than its arguments.
fn elastauth(arguments: &[&str]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_elastauth"));
    command
        .env_clear()
        .env("ELASTAUTH_CONFIG", folder.path().join("none.yml"))
        .current_dir(folder.path())
        .args(arguments);
    let output = run(&mut command, "").unwrap();
    if output.status.code() == Some(USAGE) { Err(said(&output)) } else { Ok(()) }
}

#[test]
fn commands_are_taken_apart_as_a_shell_does() {
    let text = "# first\nA=1 make demo   # says\n  printf '%s' \"$T\" | elastauth explain --groups 'a b' \\\n  --online < file\n";
    assert_eq!(
        lines(text),
        ["A=1 make demo", "printf '%s' \"$T\"", "elastauth explain --groups 'a b'    --online < file"]
    );
    assert_eq!(words("explain --groups 'a b'  '' < file"), ["explain", "--groups", "a b", ""]);
}

#[test]
fn what_does_not_exist_fails() {
    assert_eq!(check("make demo\nFOO=1 make test-matrix\nelastauth check --online\n"), Ok(()));
    for command in ["make dmeo", "elastauth chek", "elastauth check --offline", "cargo test --test none", "rm -rf /"] {
        assert!(check(command).is_err(), "{command}");
    }
}
