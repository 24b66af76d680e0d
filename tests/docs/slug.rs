//! The anchors that GitHub and mdBook give to headings. Both lower the letters, drop punctuation and turn spaces into hyphens; a
//! heading that occurs again gets a number.

use std::collections::{BTreeSet, HashMap};

use pulldown_cmark::{Event, Tag, TagEnd};

use crate::pages::Page;

/// Every anchor of a page.
pub fn anchors(page: &Page) -> BTreeSet<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut found = BTreeSet::new();
    let mut heading: Option<String> = None;
    for event in page.events() {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => {
                let slug = slug(&heading.take().unwrap());
                let times = seen.entry(slug.clone()).or_default();
                found.insert(if *times == 0 { slug } else { format!("{slug}-{times}") });
                *times += 1;
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    found
}

fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || c.is_whitespace() || "-_".contains(*c));
    kept.map(|c| if c.is_whitespace() { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn anchors_are_those_of_github_and_of_mdbook() {
    for (heading, expected) in [
        ("Cache key", "cache-key"),
        ("1. How Envoy reads a reply", "1-how-envoy-reads-a-reply"),
        ("`policy.allow`: rules", "policyallow-rules"),
        ("Elasticsearch, OpenSearch & Kibana", "elasticsearch-opensearch--kibana"),
    ] {
        assert_eq!(slug(&heading.replace('`', "")), expected);
    }
}
