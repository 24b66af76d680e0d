//! YAML as the programs read it that get these files: aliases and merge keys are resolved, plain scalars have their type.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value};

/// Every document of a file.
#[must_use]
pub fn documents(text: &str) -> Vec<Value> {
    let mut reader = Reader { events: Parser::new_from_str(text), anchors: HashMap::new() };
    let mut found = Vec::new();
    while let Some(event) = reader.next() {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
            event => found.push(reader.value(event)),
        }
    }
    found
}

/// Every value that stands under this key, however deep.
#[must_use]
pub fn all<'v>(value: &'v Value, key: &str) -> Vec<&'v Value> {
    let mut found = Vec::new();
    match value {
        Value::Object(map) => {
            found.extend(map.get(key));
            found.extend(map.values().flat_map(|inner| all(inner, key)));
        }
        Value::Array(items) => found.extend(items.iter().flat_map(|inner| all(inner, key))),
        _ => {}
    }
    found
}

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Value>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Option<Event<'t>> {
        self.events.next().map(|event| event.unwrap().0)
    }

    fn value(&mut self, event: Event<'t>) -> Value {
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.anchors[&anchor].clone(),
            Event::Scalar(text, style, anchor, _) => (anchor, scalar(&text, style)),
            Event::SequenceStart(anchor, _) => (anchor, self.list()),
            Event::MappingStart(anchor, _) => (anchor, self.map()),
            other => panic!("{other:?}"),
        };
        self.anchors.insert(anchor, value.clone());
        value
    }

    fn list(&mut self) -> Value {
        let mut items = Vec::new();
        loop {
            match self.next().unwrap() {
                Event::SequenceEnd => return Value::Array(items),
                event => items.push(self.value(event)),
            }
        }
    }

    fn map(&mut self) -> Value {
        let (mut own, mut merged) = (Map::new(), Map::new());
        loop {
            let key = match self.next().unwrap() {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) => text.into_owned(),
                other => panic!("a key that is no text: {other:?}"),
            };
            let event = self.next().unwrap();
            let value = self.value(event);
            if key == "<<" {
                merged.clone_from(value.as_object().unwrap());
            } else {
                assert!(own.insert(key.clone(), value).is_none(), "{key} stands twice");
            }
        }
        merged.extend(own);
        Value::Object(merged)
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match text {
        _ if style != ScalarStyle::Plain => text.into(),
        "true" => true.into(),
        "false" => false.into(),
        "" | "~" | "null" => Value::Null,
        _ => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
    }
}
