//! `policy.*`

use crate::authz::policy::{Host, Prefix, Rule, Settings};
use crate::config::tree::{Node, Value};
use crate::config::values::Values;

const ALLOW: &str = "policy.allow";
const CONDITIONS: [&str; 6] = ["name", "groups", "claims", "hosts", "paths", "methods"];

pub(super) fn policy(v: &mut Values<'_>) -> Settings {
    let mut allow: Vec<Rule> = Vec::new();
    for (at, node) in v.items(ALLOW).iter().enumerate() {
        let rule = rule(v, at + 1, node);
        if !rule.has_conditions() {
            problem(v, node, "a rule without conditions lets everybody through: without policy.allow everybody is");
        }
        allow.push(rule);
    }
    if !allow.is_empty() {
        v.show(ALLOW, format!("{allow:?}"));
    }
    let preflight = match v.setting("policy.preflight").as_str() {
        "deny" => false,
        "allow" => true,
        _ => {
            v.problem("policy.preflight", "must be deny or allow");
            false
        }
    };
    Settings { allow, preflight }
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
    for (condition, node) in entries {
        match condition.as_str() {
            "name" => rule.name = texts(v, node, condition).join(","),
            "groups" => rule.groups = texts(v, node, condition),
            "claims" => rule.claims = by_claim(v, node),
            "hosts" => rule.hosts = parsed(v, node, condition, Host::parse),
            "paths" => rule.paths = parsed(v, node, condition, Prefix::parse),
            "methods" => rule.methods = parsed(v, node, condition, method),
            _ => problem(v, node, format!("unknown condition {condition}; there are {}", CONDITIONS.join(", "))),
        }
    }
    rule
}

fn problem(v: &mut Values<'_>, node: &Node, what: impl std::fmt::Display) {
    v.problems.push(format!("{ALLOW} (line {}): {what}", node.line));
}

/// One text or a list of them. None at all would silently widen the rule.
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
