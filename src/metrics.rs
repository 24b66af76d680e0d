//! Counts decisions and writes, and shows them in the text format that Prometheus scrapes (`OpenMetrics` 1.0).
//!
//! Every series exists from the start, so that rates are right from the first event on and alerts find the series that they name.
//! No request can add a series: labels are kinds of events and configured issuers, never users, paths or clients.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::authz::{Because, Decision, Reason, Vitals};
use crate::credentials::{self, OUTCOMES, Source, WriteError};
use crate::login::Step;
use crate::login::sessions::Refreshes;

mod durations;

use durations::Durations;

/// The status label of a call without an HTTP status.
const NO_STATUS: &str = "none";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Judged {
    reason: &'static str,
    status: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Way {
    way: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Issuer {
    issuer: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// All metrics of the process. Each series that requests count in is a field, so that none has to be looked up.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    decisions: Decisions,
    ways: Ways,
    writes: Writes,
    rejected_credentials: Counter,
    in_flight: Gauge,
    cache_breaker_open: Gauge,
    elasticsearch_up: Gauge,
    keys_age: Family<Issuer, Gauge<f64, AtomicU64>>,
    login_sessions: Gauge,
    refreshes: Family<Outcome, Counter>,
}

/// Counts of decisions, by reason and HTTP status.
#[derive(Debug)]
struct Decisions {
    allowed: Counter,
    preflight: Counter,
    /// In the order of [`Reason::ALL`].
    refused: [Counter; Reason::ALL.len()],
    /// In the order of [`Step::ALL`].
    steps: [Counter; Step::ALL.len()],
    undecodable: Counter,
}

/// How long Check took, by the outcome.
#[derive(Debug)]
struct Ways {
    near: Durations,
    stale: Durations,
    store: Durations,
    provisioned: Durations,
    preflight: Durations,
    denied: Durations,
    login: Durations,
}

/// How long writes to Elasticsearch took, by the outcome.
#[derive(Debug)]
struct Writes(Family<Outcome, Durations>);

impl Metrics {
    /// Registers every series, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("elastauth");
        registry.register("build", "The version that runs", Info::new(Build { version: env!("CARGO_PKG_VERSION") }));
        let (decisions, ways, writes) =
            (Decisions::new(&mut registry), Ways::new(&mut registry), Writes::new(&mut registry));
        let rejected_credentials = Counter::default();
        let help = "Requests with an injected credential that were answered 401, as Envoy's access log reports them";
        registry.register("rejected_credentials", help, rejected_credentials.clone());
        let (in_flight, cache_breaker_open, elasticsearch_up) = <(Gauge, Gauge, Gauge)>::default();
        let keys_age = Family::default();
        registry.register("in_flight", "Requests that are being answered and need more than memory", in_flight.clone());
        registry.register(
            "cache_breaker_open",
            "1 while the cache does not answer and is not asked",
            cache_breaker_open.clone(),
        );
        registry.register(
            "elasticsearch_up",
            "1 when the last look at Elasticsearch and the account there found nothing wrong",
            elasticsearch_up.clone(),
        );
        let (login_sessions, refreshes) = <(Gauge, Family<Outcome, Counter>)>::default();
        let help = "Sessions of people who logged in that this process has in memory";
        registry.register("login_sessions", help, login_sessions.clone());
        let help = "Attempts to renew the tokens of a session, by what they came to";
        registry.register("session_refreshes", help, refreshes.clone());
        for (outcome, _none) in Refreshes::default().counts() {
            drop(refreshes.get_or_create(&Outcome { outcome }));
        }
        registry.register_with_unit("keys_age", "Age of an issuer's key set", Unit::Seconds, keys_age.clone());
        Self {
            registry,
            decisions,
            ways,
            writes,
            rejected_credentials,
            in_flight,
            cache_breaker_open,
            elasticsearch_up,
            keys_age,
            login_sessions,
            refreshes,
        }
    }

    /// Counts a call of Check that was answered.
    pub fn decided(&self, decision: &Decision, took: Duration) {
        let (counter, durations) = match decision {
            Decision::Allow(obtained) => (&self.decisions.allowed, self.ways.of(obtained.source)),
            Decision::Preflight => (&self.decisions.preflight, &self.ways.preflight),
            Decision::Deny(refusal) => (self.decisions.of(refusal.reason()), &self.ways.denied),
            Decision::Respond(respond) => match &respond.because {
                Because::Refused(refusal) => (self.decisions.of(refusal.reason()), &self.ways.denied),
                Because::Login(step) => (self.decisions.at(*step), &self.ways.login),
            },
        };
        counter.inc();
        durations.record(took);
    }

    /// Counts a call without a decodable `CheckRequest`.
    pub fn undecodable(&self) {
        self.decisions.undecodable.inc();
    }

    /// Counts a request with an injected credential that was answered 401 by the system behind Envoy.
    pub fn credential_rejected(&self) {
        self.rejected_credentials.inc();
    }

    /// Counts a write to Elasticsearch that ended.
    pub fn wrote(&self, outcome: Result<(), &WriteError>, took: Duration) {
        self.writes.0.get_or_create(&Outcome { outcome: credentials::outcome(outcome) }).record(took);
    }

    /// All metrics as text; the caller supplies the values that are read at the scrape and not counted.
    pub fn scrape(&self, vitals: Vitals, in_flight: usize) -> Result<String, fmt::Error> {
        self.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        self.cache_breaker_open.set((!vitals.cache).into());
        self.elasticsearch_up.set(vitals.elasticsearch.into());
        for (issuer, age) in vitals.keys {
            self.keys_age.get_or_create(&Issuer { issuer }).set(age.as_secs_f64());
        }
        if let Some(login) = vitals.login {
            self.login_sessions.set(i64::try_from(login.sessions).unwrap_or(i64::MAX));
            for (outcome, count) in login.refreshes {
                self.refreshes.get_or_create(&Outcome { outcome }).inner().store(count, Ordering::Relaxed);
            }
        }
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Decisions {
    fn new(registry: &mut Registry) -> Self {
        let family = Family::<Judged, Counter>::default();
        registry.register("decisions", "Answers of Check, by reason and HTTP status", family.clone());
        let counter = |reason, status: String| family.get_or_create_owned(&Judged { reason, status });
        // no refusal counts here, since each has a reason of the table; monitoring may still name the series
        drop(counter("other", NO_STATUS.into()));
        Self {
            allowed: counter("allowed", "200".into()),
            preflight: counter("preflight", "200".into()),
            refused: Reason::ALL.map(|reason| counter(reason.name(), reason.verdict().http.to_string())),
            steps: Step::ALL.map(|step| counter(step.name(), step.status().to_string())),
            undecodable: counter("message_undecodable", NO_STATUS.into()),
        }
    }

    fn of(&self, reason: Reason) -> &Counter {
        &self.refused[reason as usize]
    }

    fn at(&self, step: Step) -> &Counter {
        &self.steps[step as usize]
    }
}

impl Ways {
    fn new(registry: &mut Registry) -> Self {
        let family = Family::<Way, Durations>::default();
        let help = "Time that Check took, by where the credential was found: near (this process), stale (this process, while the \
                    cache does not answer), store (the cache), provisioned (written to Elasticsearch)";
        registry.register_with_unit("decision_duration", help, Unit::Seconds, family.clone());
        let durations = |way| family.get_or_create_owned(&Way { way });
        Self {
            near: durations("near"),
            stale: durations("stale"),
            store: durations("store"),
            provisioned: durations("provisioned"),
            preflight: durations("preflight"),
            denied: durations("denied"),
            login: durations("login"),
        }
    }

    fn of(&self, source: Source) -> &Durations {
        match source {
            Source::Near => &self.near,
            Source::Stale => &self.stale,
            Source::Store => &self.store,
            Source::Provisioned => &self.provisioned,
        }
    }
}

impl Writes {
    fn new(registry: &mut Registry) -> Self {
        let family = Family::<Outcome, Durations>::default();
        let help = "Time that writes of users to Elasticsearch took, by what they came to";
        registry.register_with_unit("write_duration", help, Unit::Seconds, family.clone());
        for outcome in OUTCOMES {
            drop(family.get_or_create(&Outcome { outcome }));
        }
        Self(family)
    }
}

#[cfg(test)]
mod tests;
