//! The template of all pages, and the headers that go with it.

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use crate::login::response::Response;

const STYLE: &str = include_str!("style.css");

/// Nothing but the page's own style is loaded or run, forms go to this site only, and no other site can put the page into a frame.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
});

/// What a person can do on a page.
pub(super) enum Action<'a> {
    /// To go to this address.
    Go { to: &'a str, label: &'static str },
    /// To send a form without fields there, because it changes something.
    Send { to: &'a str, label: &'static str },
}

/// A page. Texts are escaped.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
{%- if let Some(to) = onward %}
<meta http-equiv="refresh" content="0; url={{ to }}">
{%- endif %}
<title>{{ title }}</title>
<style>{{ style|safe }}</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
{%- for text in texts %}
<p>{{ text }}</p>
{%- endfor %}
{%- if !facts.is_empty() %}
<dl>
{%- for (name, value) in facts %}
<div><dt>{{ name }}</dt><dd>{{ value }}</dd></div>
{%- endfor %}
</dl>
{%- endif %}
{%- if !actions.is_empty() %}
<div class="actions">
{%- for action in actions %}
{%- match action %}
{%- when Action::Go with { to, label } %}
<a {% if loop.first %}class="button" {% endif %}href="{{ to }}">{{ label }}</a>
{%- when Action::Send with { to, label } %}
<form method="post" action="{{ to }}"><button class="button" type="submit">{{ label }}</button></form>
{%- endmatch %}
{%- endfor %}
</div>
{%- endif %}
</main>
</body>
</html>
"#
)]
pub(super) struct Page<'a> {
    style: &'static str,
    pub(super) title: &'a str,
    pub(super) texts: &'a [&'a str],
    /// Names and values; those without a value are left out.
    facts: Vec<(&'static str, &'a str)>,
    /// The first is the one that most people want.
    pub(super) actions: &'a [Action<'a>],
    /// Where the browser goes by itself.
    onward: Option<&'a str>,
}

impl<'a> Page<'a> {
    pub(super) fn new(title: &'a str, texts: &'a [&'a str], actions: &'a [Action<'a>]) -> Self {
        Self { style: STYLE, title, texts, facts: Vec::new(), actions, onward: None }
    }

    /// What people are asked for when they ask for help.
    pub(super) fn with(mut self, reason: &'a str, request_id: &'a str) -> Self {
        let facts = [("Reason", reason), ("Request id", request_id)];
        self.facts.extend(facts.into_iter().filter(|(_, value)| !value.is_empty()));
        self
    }

    pub(super) fn onward(self, to: &'a str) -> Self {
        Self { onward: Some(to), ..self }
    }

    pub(super) fn response(&self, status: u16) -> Response {
        // it writes into a String, which does not fail
        let body = self.render().unwrap_or_default();
        // with `no-referrer`, browsers would send the form of a page with `Origin: null` (Fetch §3.2)
        let forms = self.actions.iter().any(|action| matches!(action, Action::Send { .. }));
        let referrer = if forms { "same-origin" } else { "no-referrer" };
        Response { body, ..Response::new(status) }
            .with("content-type", "text/html; charset=utf-8")
            .with("content-security-policy", &**POLICY)
            .with("x-content-type-options", "nosniff")
            .with("referrer-policy", referrer)
    }
}
