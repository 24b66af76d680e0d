//! Parses YAML and keeps line numbers; scalars stay text until the type of their key is known.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::environment::NOT_UTF8;

/// A value and the line on which it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
    /// The variables of a scalar, written without a default, that are unset or empty.
    pub(super) missing: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A parsed file and what is odd about it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) root: Vec<(String, Node)>,
    pub(super) warnings: Vec<String>,
    /// Every variable that the file names with `${…}`.
    pub(super) variables: BTreeSet<String>,
    /// The keys, each with its line, of a section that is written again below without them.
    pub(super) dropped: Vec<(String, usize)>,
}

type Events<'a> = Parser<'a, saphyr_parser::StrInput<'a>>;

/// Parses a file. An empty one is an empty mapping; a repeated key gives a warning, and the last one is used.
pub(super) fn parse(text: &str, env: &BTreeMap<String, String>) -> Result<Tree, String> {
    let mut events = Parser::new_from_str(text);
    let mut reader =
        Reader { env, warnings: Vec::new(), variables: BTreeSet::new(), dropped: Vec::new(), at: Vec::new() };
    let mut root = None;
    while let Some((event, line)) = next(&mut events)? {
        match event {
            Event::DocumentStart(_) if root.is_some() => return Err(format!("line {line}: a second document")),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
            other => root = Some(reader.node(other, line, &mut events)?),
        }
    }
    let root = match root {
        None => Vec::new(),
        Some(Node { value: Value::Map(map), .. }) => map,
        Some(Node { value: Value::Scalar(text), .. }) if text.is_empty() => Vec::new(),
        Some(Node { line, .. }) => return Err(format!("line {line}: a configuration is a mapping of keys to values")),
    };
    Ok(Tree { root, warnings: reader.warnings, variables: reader.variables, dropped: reader.dropped })
}

fn next<'a>(events: &mut Events<'a>) -> Result<Option<(Event<'a>, usize)>, String> {
    match events.next() {
        None => Ok(None),
        Some(Ok((event, span))) => Ok(Some((event, span.start.line()))),
        Some(Err(error)) => Err(format!("line {}: {}", error.marker().line(), error.info())),
    }
}

struct Reader<'e> {
    env: &'e BTreeMap<String, String>,
    warnings: Vec<String>,
    variables: BTreeSet<String>,
    dropped: Vec<(String, usize)>,
    /// The path of the value that is being read.
    at: Vec<String>,
}

impl Reader<'_> {
    fn node<'a>(&mut self, event: Event<'a>, line: usize, events: &mut Events<'a>) -> Result<Node, String> {
        let mut missing = Vec::new();
        let value = match event {
            Event::Scalar(text, style, ..) => {
                let null = style == ScalarStyle::Plain && matches!(&*text, "~" | "null" | "Null" | "NULL");
                let read = if null { Ok(Interpolated::default()) } else { interpolate(&text, self.env) };
                let read = read.map_err(|why| format!("line {line}: {why}"))?;
                self.variables.extend(read.variables);
                missing = read.missing;
                Value::Scalar(read.text)
            }
            Event::SequenceStart(..) => Value::List(self.list(events)?),
            Event::MappingStart(..) => Value::Map(self.map(events)?),
            Event::Alias(_) => return Err(format!("line {line}: anchors and aliases are not supported")),
            _ => return Err(format!("line {line}: unexpected end")),
        };
        Ok(Node { line, value, missing })
    }

    fn list<'a>(&mut self, events: &mut Events<'a>) -> Result<Vec<Node>, String> {
        let mut items = Vec::new();
        loop {
            match next(events)?.ok_or("unexpected end")? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, line) => items.push(self.node(event, line, events)?),
            }
        }
    }

    fn map<'a>(&mut self, events: &mut Events<'a>) -> Result<Vec<(String, Node)>, String> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let (name, line) = match next(events)?.ok_or("unexpected end")? {
                (Event::MappingEnd, _) => return Ok(entries),
                (Event::Scalar(text, ..), line) => (text.into_owned(), line),
                (_, line) => return Err(format!("line {line}: a key must be plain text")),
            };
            let (event, at) = next(events)?.ok_or("unexpected end")?;
            self.at.push(name.clone());
            let node = Node { line, ..self.node(event, at, events)? };
            if let Some(before) = entries.iter().position(|(known, _)| *known == name) {
                let (_, first) = entries.remove(before);
                collect_dropped(&self.at.join("."), &first, &node, &mut self.dropped);
                let first = first.line;
                self.warnings
                    .push(format!("{name} is written twice, on lines {first} and {line}: the last one is used"));
            }
            self.at.pop();
            entries.push((name, node));
        }
    }
}

/// Collects the keys that the first of two sections has and the second has not.
fn collect_dropped(path: &str, first: &Node, second: &Node, found: &mut Vec<(String, usize)>) {
    let Value::Map(entries) = &first.value else { return };
    let absent = Node { line: 0, value: Value::Scalar(String::new()), missing: Vec::new() };
    for (name, node) in entries {
        let path = format!("{path}.{name}");
        let same = match &second.value {
            Value::Map(others) => others.iter().find(|(other, _)| other == name).map(|(_, other)| other),
            Value::Scalar(_) | Value::List(_) => None,
        };
        if same.is_none() {
            found.push((path.clone(), node.line));
        }
        collect_dropped(&path, node, same.unwrap_or(&absent), found);
    }
}

/// A scalar in which variables are replaced by their values.
#[derive(Debug, Default, PartialEq, Eq)]
struct Interpolated {
    text: String,
    /// All variables that it names.
    variables: Vec<String>,
    /// The variables without a default that are unset or empty.
    missing: Vec<String>,
}

/// Replaces `${VAR}` and `${VAR:-default}` (also when the variable is empty); an unset variable without default is empty.
fn interpolate(text: &str, env: &BTreeMap<String, String>) -> Result<Interpolated, String> {
    let mut out = Interpolated::default();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.text.push_str(before);
        let (inside, behind) = after.split_once('}').ok_or("a ${ without its }")?;
        let (name, default) = inside.split_once(":-").map_or((inside, None), |(name, text)| (name, Some(text)));
        let known = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(known) {
            return Err("a ${…} that names no variable".into());
        }
        out.variables.push(name.to_owned());
        match (env.get(name).filter(|value| !value.is_empty()), default) {
            (Some(value), _) if value.contains(NOT_UTF8) => return Err(format!("the variable {name} is not UTF-8")),
            (Some(value), _) => out.text.push_str(value),
            (None, Some(default)) => out.text.push_str(default),
            (None, None) => out.missing.push(name.to_owned()),
        }
        rest = behind;
    }
    out.text.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> BTreeMap<String, String> {
        BTreeMap::from([("SET".to_owned(), "value".to_owned()), ("EMPTY".to_owned(), String::new())])
    }

    #[test]
    fn variables_are_put_in_and_defaults_stand_in_for_unset_and_empty_ones() {
        for (text, expected) in [
            ("${SET}", "value"),
            ("a-${SET}-${SET}", "a-value-value"),
            ("${UNSET}", ""),
            ("${UNSET:-x:-y}", "x:-y"),
            ("${EMPTY:-x}", "x"),
            ("pa$$word$", "pa$$word$"),
        ] {
            assert_eq!(interpolate(text, &env()).unwrap().text, expected, "{text}");
        }
        assert!(interpolate("${OPEN", &env()).is_err());
        assert!(interpolate("${a b}", &env()).is_err());
    }

    #[test]
    fn interpolation_works_on_parsed_scalars_so_that_a_value_cannot_add_keys() {
        let env = BTreeMap::from([("SET".to_owned(), "x\nadmin: true".to_owned())]);
        let tree = parse("name: \"${SET}\"\n", &env).unwrap();
        assert_eq!(tree.root.len(), 1);
    }

    #[test]
    fn a_repeated_key_warns_with_both_lines_and_the_last_one_is_used() {
        let tree = parse("cache:\n  type: a\nother: 1\ncache:\n  type: b\n", &env()).unwrap();
        assert_eq!(tree.warnings, ["cache is written twice, on lines 1 and 4: the last one is used"]);
        let cache = &tree.root.iter().find(|(name, _)| name == "cache").unwrap().1;
        assert!(format!("{cache:?}").contains("\"b\"") && !format!("{cache:?}").contains("\"a\""));
    }

    #[test]
    fn what_is_no_mapping_is_refused_with_its_line() {
        for text in ["- a\n", "text\n", "a: [1\n", "a: *x\n", "a: 1\n---\nb: 2\n"] {
            assert!(parse(text, &env()).unwrap_err().contains("line "), "{text}");
        }
        for text in ["", "# nothing\n", "---\n"] {
            assert!(parse(text, &env()).unwrap().root.is_empty(), "{text:?}");
        }
    }
}
