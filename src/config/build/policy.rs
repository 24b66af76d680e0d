//! Reads the rules that let requests through: `policy.*`.

use crate::authz::policy::{Host, Prefix, Rule, Settings};
use crate::config::keys::policy::{ALLOW, Condition, PREFLIGHT};
use crate::config::keys::{Choice, Preflight};
use crate::config::tree::{Node, Value};
use crate::config::values::Values;

pub(super) fn policy(v: &mut Values<'_>) -> Settings {
    let mut allow: Vec<Rule> = Vec::new();
    for (at, node) in v.rules(&ALLOW).iter().enumerate() {
        let rule = rule(v, at + 1, node);
        if !rule.has_conditions() {
            problem(v, node, "a rule without conditions lets every caller through, as no policy.allow at all does");
        }
        allow.push(rule);
    }
    if !allow.is_empty() {
        v.show(&ALLOW, format!("{allow:?}"));
    }
    Settings { allow, preflight: v.get(&PREFLIGHT) == Preflight::Allow }
}

/// The claims that rules look at.
pub(super) fn claims(policy: &Settings) -> Vec<String> {
    let mut names: Vec<String> =
        policy.allow.iter().flat_map(|rule| &rule.claims).map(|(name, _)| name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

fn rule(v: &mut Values<'_>, place: usize, node: &Node) -> Rule {
    let mut rule = Rule { name: place.to_string(), ..Rule::default() };
    let Value::Map(entries) = &node.value else {
        problem(v, node, "must be a list of rules with groups, claims, hosts, paths or methods");
        return rule;
    };
    for (name, node) in entries {
        let Some(condition) = Condition::named(name) else {
            let known = Condition::listed().join(", ");
            problem(v, node, format!("unknown condition {name}; there are {known}"));
            continue;
        };
        match condition {
            Condition::Name => rule.name = texts(v, node, name).join(","),
            Condition::Groups => rule.groups = texts(v, node, name),
            Condition::Claims => rule.claims = by_claim(v, node),
            Condition::Hosts => rule.hosts = parsed(v, node, name, Host::parse),
            Condition::Paths => rule.paths = parsed(v, node, name, Prefix::parse),
            Condition::Methods => rule.methods = parsed(v, node, name, method),
        }
    }
    rule
}

fn problem(v: &mut Values<'_>, node: &Node, what: impl std::fmt::Display) {
    v.problems.push(format!("{} (line {}): {what}", ALLOW.path, node.line));
}

/// One text or a list of them. An empty condition would silently widen the rule, and is an error.
fn texts(v: &mut Values<'_>, node: &Node, condition: &str) -> Vec<String> {
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        Value::Scalar(_) | Value::Map(_) => std::slice::from_ref(node),
    };
    let mut texts = Vec::new();
    for node in nodes {
        match &node.value {
            Value::Scalar(text) if !text.is_empty() => texts.push(text.clone()),
            _ => problem(v, node, format!("{condition} takes texts, none of them empty")),
        }
    }
    if nodes.is_empty() {
        problem(v, node, format!("{condition} is empty"));
    }
    texts
}

fn parsed<T, E: std::fmt::Display>(
    v: &mut Values<'_>,
    node: &Node,
    condition: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let mut values = Vec::new();
    for text in texts(v, node, condition) {
        match parse(&text) {
            Ok(value) => values.push(value),
            Err(why) => problem(v, node, format!("{condition}: {text} {why}")),
        }
    }
    values
}

fn method(text: &str) -> Result<String, &'static str> {
    let good = text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    if good { Ok(text.to_owned()) } else { Err("must be a method in capitals, such as GET") }
}

fn by_claim(v: &mut Values<'_>, node: &Node) -> Vec<(String, Vec<String>)> {
    match &node.value {
        Value::Map(claims) if !claims.is_empty() => {
            claims.iter().map(|(name, node)| (name.clone(), texts(v, node, &format!("claims.{name}")))).collect()
        }
        _ => {
            problem(v, node, "claims takes claims with their accepted values");
            Vec::new()
        }
    }
}
