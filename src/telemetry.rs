//! Writes logs: one JSON object a line on stderr with lower-case `level` and `msg`, as the Go service wrote them; or text.

use std::fmt;
use std::io;
use std::time::SystemTime;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

pub mod traces;

use traces::Traces;

use crate::printable::printable;

/// What is logged, and how: `log_level` and `log_format`.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The least severe level that elastauth logs; its dependencies log at `warn` and above.
    pub level: Level,
    /// The form of a line.
    pub format: Format,
}

/// The form of a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// Text in columns, for people.
    Text,
}

/// Installs the logger of the process, and the exporter of spans if there is one. A second call changes nothing.
pub fn install(settings: Settings, traces: Option<&Traces>) {
    let _ = subscriber(settings, traces, io::stderr).try_init();
}

fn subscriber(
    settings: Settings,
    traces: Option<&Traces>,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Dispatch {
    let level = settings.level.to_string().to_lowercase();
    // dependencies may print what they handle: never below warn
    let filter = EnvFilter::new(format!("warn,elastauth={level}"));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        Format::Json => lines.event_format(JsonLine).boxed(),
        Format::Text => {
            let text = tracing_subscriber::fmt::format().with_ansi(false).with_target(false);
            lines.with_ansi(false).event_format(TextLine(text)).boxed()
        }
    };
    match traces {
        // the filter is the only one: what it does not let through is off where it is called
        None => tracing_subscriber::registry().with(lines).with(filter).into(),
        Some(traces) => tracing_subscriber::registry().with(lines.with_filter(filter)).with(traces.layer()).into(),
    }
}

struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Map::new();
        line.insert("time".into(), humantime::format_rfc3339_millis(SystemTime::now()).to_string().into());
        line.insert("level".into(), event.metadata().level().as_str().to_lowercase().into());
        event.record(&mut Fields(&mut line));
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(out, "{}", printable(&line))
    }
}

/// The library's form of a line, with control characters escaped: an event is one line whatever its fields hold.
struct TextLine(tracing_subscriber::fmt::format::Format);

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writeln!(out, "{}", printable(line.trim_end_matches('\n')))
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use std::sync::Arc;

    use super::*;
    use crate::spans;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// `log_level` is about lines, with traces and without.
    #[tokio::test]
    async fn spans_are_off_unless_exported_and_lines_are_filtered_either_way() {
        let settings = traces::Settings {
            endpoint: "http://127.0.0.1:1".parse().unwrap(),
            ca_file: None,
            headers: None,
            service_name: None,
            sampling: traces::Sampling { by_parent: false, roots: traces::Roots::All },
        };
        let traces = Traces::new(&settings).unwrap();
        for level in [Level::ERROR, Level::INFO, Level::DEBUG, Level::TRACE] {
            for (exported, format) in [(None, Format::Json), (Some(&traces), Format::Text)] {
                let lines = Lines::default();
                let writer = lines.clone();
                let dispatch = subscriber(Settings { level, format }, exported, move || writer.clone());
                tracing::dispatcher::with_default(&dispatch, || {
                    let span = spans::span!("a span", field = Unwanted(exported.is_some()).tell());
                    assert_eq!(span.is_disabled(), exported.is_none(), "{level}");
                    let _within = span.enter();
                    tracing::debug!("detail");
                    tracing::info!("news");
                    tracing::info!(target: "h2", "a library's");
                });
                let text = String::from_utf8(lines.0.lock().clone()).unwrap();
                assert_eq!(text.contains("detail"), level >= Level::DEBUG, "{level}: {text}");
                assert_eq!(text.contains("news"), level >= Level::INFO, "{level}: {text}");
                assert!(!text.contains("a span") && !text.contains("a library's"), "{text}");
            }
        }
    }

    /// A field that must not be evaluated while spans are off.
    struct Unwanted(bool);

    impl Unwanted {
        fn tell(&self) -> bool {
            assert!(self.0, "the field of a span that is off was worked out");
            true
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped_in_every_format() {
        for format in [Format::Json, Format::Text] {
            let lines = Lines::default();
            let writer = lines.clone();
            let dispatch = subscriber(Settings { level: Level::INFO, format }, None, move || writer.clone());
            tracing::dispatcher::with_default(&dispatch, || {
                let sub = "\u{1b}[2J\u{9b}1A\u{202e}\n2026-01-01 INFO forged";
                tracing::info!(user = sub, shown = %sub, debugged = ?sub, "of {sub}");
            });
            let text = String::from_utf8(lines.0.lock().clone()).unwrap();
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{format:?}: {line:?}");
            assert!(line.contains("forged") && line.contains("[2J"), "{format:?}: {line}");
        }
    }

    #[test]
    fn a_line_is_one_json_object_with_lower_case_level_and_msg() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().event_format(JsonLine).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(cacheKey = "elastauth-x", n = 3_u64, ok = true, shown = %"a \"quoted\" b", "Cache\nhit");
        });
        let bytes = lines.0.lock().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "info");
        assert_eq!(line["msg"], "Cache\nhit");
        assert_eq!(line["cacheKey"], "elastauth-x");
        assert_eq!((&line["n"], &line["ok"]), (&Value::from(3), &Value::from(true)));
        assert_eq!(line["shown"], "a \"quoted\" b");
    }
}
