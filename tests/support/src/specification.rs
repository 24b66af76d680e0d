//! Compares exchanges with the official specification of Elasticsearch's API (elasticsearch-specification, which the npm package
//! `@elastic/request-converter` contains).
//!
//! It supports the kinds of types that the security API uses, and fails on any other rather than accepting it.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde_json::{Map, Value};

use crate::elasticsearch::Exchange;

/// The specification, read from `schema.json`.
pub struct Specification {
    endpoints: Vec<Value>,
    types: HashMap<(String, String), Value>,
}

type Checked = Result<(), String>;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

impl Specification {
    /// Reads the file, which is ten megabytes of JSON.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let mut all: Value = serde_json::from_reader(BufReader::new(File::open(path).unwrap())).unwrap();
        let named = |t: &Value| (text(&t["name"], "namespace").to_owned(), text(&t["name"], "name").to_owned());
        let types = all["types"].as_array_mut().unwrap().drain(..).map(|t| (named(&t), t)).collect();
        let endpoints = all["endpoints"].as_array().unwrap().clone();
        Self { endpoints, types }
    }

    /// Returns the endpoint's name, or how the exchange departs from the specification.
    pub fn check(&self, exchange: &Exchange) -> Result<String, String> {
        let (method, path) = (exchange.method.as_str(), exchange.uri.path());
        let endpoint = self.endpoint(method, path).ok_or_else(|| format!("no endpoint for {method} {path}"))?;
        let name = text(endpoint, "name").to_owned();
        let checked = self.request(endpoint, exchange).map_err(|why| format!("{name}: request: {why}"));
        checked.and_then(|()| self.response(endpoint, exchange).map_err(|why| format!("{name}: response: {why}")))?;
        Ok(name)
    }

    /// Of the endpoints that match, the one with the most literal segments: `/_security/user/_has_privileges` is not a user.
    fn endpoint(&self, method: &str, path: &str) -> Option<&Value> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let literal = |template: &str| {
            let parts: Vec<&str> = template.trim_matches('/').split('/').collect();
            let fits = |(part, segment): (&&str, &&str)| part.starts_with('{') || part == segment;
            let all = parts.len() == segments.len() && parts.iter().zip(&segments).all(fits);
            all.then(|| parts.iter().filter(|part| !part.starts_with('{')).count())
        };
        let score = |endpoint: &Value| {
            let urls = list(endpoint, "urls").iter();
            let urls = urls.filter(|url| list(url, "methods").iter().any(|m| m == method));
            urls.filter_map(|url| literal(text(url, "path"))).max()
        };
        self.endpoints
            .iter()
            .filter_map(|endpoint| Some((score(endpoint)?, endpoint)))
            .max_by_key(|(score, _)| *score)
            .map(|(_, endpoint)| endpoint)
    }

    fn named(&self, name: &Value) -> Result<&Value, String> {
        let key = (text(name, "namespace").to_owned(), text(name, "name").to_owned());
        self.types.get(&key).ok_or_else(|| format!("unknown type {key:?}"))
    }

    fn request(&self, endpoint: &Value, exchange: &Exchange) -> Checked {
        let request = self.named(&endpoint["request"])?;
        let mut allowed: Vec<&str> = list(request, "query").iter().map(|property| text(property, "name")).collect();
        if list(request, "attachedBehaviors").iter().any(|behavior| behavior == "CommonQueryParameters") {
            allowed.extend(["error_trace", "filter_path", "human", "pretty"]);
        }
        for pair in exchange.uri.query().into_iter().flat_map(|query| query.split('&')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !allowed.contains(&name) {
                return Err(format!("no parameter {name}"));
            }
            if let Some(property) = list(request, "query").iter().find(|property| text(property, "name") == name) {
                let read = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
                let as_text = self.value(&property["type"], &Value::from(value), name);
                as_text.or_else(|_| self.value(&property["type"], &read, name))?;
            }
        }
        let body = &request["body"];
        if text(body, "kind") == "no_body" {
            return if exchange.sent.is_empty() { Ok(()) } else { Err("a body".into()) };
        }
        if exchange.sent.is_empty() && endpoint["requestBodyRequired"] != true {
            return Ok(());
        }
        let sent = serde_json::from_slice(&exchange.sent).map_err(|error| error.to_string())?;
        self.body(body, &sent)
    }

    /// An answer other than a 2xx is an error, or the empty or negative answer that the endpoint itself describes.
    fn response(&self, endpoint: &Value, exchange: &Exchange) -> Checked {
        let answered: Value = serde_json::from_slice(&exchange.answered).map_err(|error| error.to_string())?;
        let described = || self.body(&self.named(&endpoint["response"])?["body"], &answered);
        match exchange.status.as_u16() {
            200..300 => described(),
            404 if answered.get("error").is_none() => described(),
            status => {
                let base = serde_json::json!({ "namespace": "_types", "name": "ErrorResponseBase" });
                self.definition(self.named(&base)?, &answered, "error")?;
                if answered["status"] == status {
                    Ok(())
                } else {
                    Err(format!("status {status} and {}", answered["status"]))
                }
            }
        }
    }

    fn body(&self, body: &Value, value: &Value) -> Checked {
        match text(body, "kind") {
            "properties" => self.properties(list(body, "properties"), value, "body", false),
            "value" => self.value(&body["value"], value, "body"),
            "no_body" => Ok(()),
            other => Err(format!("a body of kind {other}")),
        }
    }

    fn properties(&self, known: &[Value], value: &Value, at: &str, more: bool) -> Checked {
        let object: &Map<String, Value> = value.as_object().ok_or_else(|| format!("{at} is no object"))?;
        for property in known {
            let name = text(property, "name");
            let aliases = list(property, "aliases").iter().filter_map(Value::as_str);
            let found = std::iter::once(name).chain(aliases).find_map(|name| object.get(name));
            match found {
                Some(found) => self.value(&property["type"], found, &format!("{at}.{name}"))?,
                None if property["required"] == true => return Err(format!("{at} has no {name}")),
                None => {}
            }
        }
        let names: Vec<&str> = known
            .iter()
            .flat_map(|p| std::iter::once(text(p, "name")).chain(list(p, "aliases").iter().filter_map(Value::as_str)))
            .collect();
        match object.keys().find(|key| !names.contains(&key.as_str())) {
            Some(unknown) if !more => Err(format!("{at} has an unknown {unknown}")),
            _ => Ok(()),
        }
    }

    fn definition(&self, definition: &Value, value: &Value, at: &str) -> Checked {
        match text(definition, "kind") {
            "interface" => {
                let more = !list(definition, "behaviors").is_empty();
                let mut all = list(definition, "properties").to_vec();
                let mut parent = &definition["inherits"]["type"];
                while !parent.is_null() {
                    let above = self.named(parent)?;
                    all.extend(list(above, "properties").iter().cloned());
                    parent = &above["inherits"]["type"];
                }
                self.properties(&all, value, at, more)
            }
            "type_alias" => self.value(&definition["type"], value, at),
            "enum" => {
                let word = value.as_str().ok_or_else(|| format!("{at} is no word"))?;
                let known = list(definition, "members").iter().any(|member| {
                    text(member, "name") == word || list(member, "aliases").iter().any(|alias| alias == word)
                });
                if known || definition["isOpen"] == true {
                    Ok(())
                } else {
                    Err(format!("{at}: {word} is none of the words"))
                }
            }
            other => Err(format!("{at}: a type of kind {other}")),
        }
    }

    fn value(&self, expected: &Value, value: &Value, at: &str) -> Checked {
        let fits = |fits: bool, what: &str| if fits { Ok(()) } else { Err(format!("{at} is no {what}: {value}")) };
        match text(expected, "kind") {
            "user_defined_value" => Ok(()),
            "literal_value" => fits(expected["value"] == *value, &expected["value"].to_string()),
            "array_of" => {
                let items = value.as_array().ok_or_else(|| format!("{at} is no array"))?;
                items.iter().try_for_each(|item| self.value(&expected["value"], item, at))
            }
            "dictionary_of" => {
                let entries = value.as_object().ok_or_else(|| format!("{at} is no object"))?;
                entries.iter().try_for_each(|(key, value)| {
                    self.value(&expected["key"], &Value::from(key.as_str()), at)?;
                    self.value(&expected["value"], value, &format!("{at}.{key}"))
                })
            }
            "union_of" => {
                let tried = list(expected, "items").iter().map(|item| self.value(item, value, at));
                let failed: Vec<String> = tried.filter_map(Result::err).collect();
                if failed.len() < list(expected, "items").len() { Ok(()) } else { Err(failed.join(", or ")) }
            }
            "instance_of" if text(&expected["type"], "namespace") == "_builtins" => {
                match text(&expected["type"], "name") {
                    "string" => fits(value.is_string(), "string"),
                    "boolean" => fits(value.is_boolean(), "boolean"),
                    "number" => fits(value.is_number(), "number"),
                    "null" => fits(value.is_null(), "null"),
                    other => Err(format!("{at}: a builtin {other}")),
                }
            }
            "instance_of" if list(expected, "generics").is_empty() => {
                self.definition(self.named(&expected["type"])?, value, at)
            }
            other => Err(format!("{at}: a value of kind {other}")),
        }
    }
}
