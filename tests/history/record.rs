//! What happened, and how it is shown when a test fails.

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use elastauth_support::puts::Put;
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use prost::Message as _;

use crate::world::{Token, User, World};

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request was let through with this credential.
    Allowed { username: String, password: String },
    /// The request was refused with this HTTP status.
    Denied(i32),
    /// There was no answer, for this reason.
    Lost(String),
}

impl Outcome {
    /// Reads the outcome from the bytes of a reply.
    pub fn read(reply: &[u8]) -> Self {
        let Ok(reply) = CheckResponse::decode(reply) else { return Self::Lost("an answer that is no reply".into()) };
        match (reply.status.map(|status| status.code), reply.http_response) {
            (Some(0), Some(HttpResponse::OkResponse(ok))) => {
                let header = ok.headers.into_iter().filter_map(|option| option.header);
                let value = header.into_iter().find(|header| header.key == "authorization").map(|header| {
                    if header.raw_value.is_empty() { header.value.into_bytes() } else { header.raw_value }
                });
                value.and_then(|value| credential(&value)).unwrap_or(Self::Lost("an allow without credential".into()))
            }
            (Some(1..), Some(HttpResponse::DeniedResponse(denied))) => {
                Self::Denied(denied.status.map_or(0, |status| status.code))
            }
            (code, _) => Self::Lost(format!("a reply of status {code:?} that neither allows nor denies")),
        }
    }

    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

fn credential(header: &[u8]) -> Option<Outcome> {
    let basic = std::str::from_utf8(header).ok()?.strip_prefix("Basic ")?;
    let pair = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(basic).ok()?).ok()?;
    let (username, password) = pair.split_once(':')?;
    Some(Outcome::Allowed { username: username.to_owned(), password: password.to_owned() })
}

/// One Check, as a client saw it.
#[derive(Clone, Debug)]
pub struct Requested {
    pub user: usize,
    pub token: usize,
    /// The process that answered, or should have.
    pub replica: String,
    pub start: Instant,
    pub end: Instant,
    pub outcome: Outcome,
}

/// What the nemesis or Redis did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Killed(String),
    Started(String),
    Flushed,
    /// Redis evicted the record of one user.
    Evicted(usize),
    /// The record of one user was removed, as if its life had ended.
    Expired(usize),
    /// An old record of one user came back.
    RolledBack(usize),
    /// How Elasticsearch answers from now on.
    Weather(String),
    /// Something was wrong until then, at one replica or at all.
    Trouble {
        what: Trouble,
        replica: Option<String>,
        until: Instant,
    },
}

/// What the failure table in `docs/operations.md` calls an outage, and what it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The process is stopped (SIGSTOP): it answers later.
    Frozen,
    /// Redis is silent, or refuses connections.
    RedisAway,
    /// Redis answers reads, and refuses writes.
    WritesRefused,
    /// Redis answers, and takes a while to answer on a new connection.
    SlowToConnect,
    /// Some connections were closed, and no new one is refused.
    ConnectionsClosed,
    /// This machine had too much to do: Redis answered the test itself late, and no time-out of a replica means anything.
    Busy,
}

/// Something that happened, with its time.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: Instant,
    pub what: What,
}

/// All that happened, read at the end.
pub struct History {
    pub requests: Vec<Requested>,
    /// In the order in which Elasticsearch received them.
    pub puts: Vec<Put>,
    pub events: Vec<Event>,
}

impl History {
    pub fn of(world: &World) -> Self {
        Self { requests: world.requests(), puts: world.elasticsearch.puts(), events: world.events() }
    }

    /// When one user's record was lost, or replaced by an older one, in order.
    pub fn losses(&self, user: usize) -> Vec<Instant> {
        let lost = |event: &&Event| match event.what {
            What::Flushed => true,
            What::Evicted(n) | What::Expired(n) | What::RolledBack(n) => n == user,
            What::Killed(_) | What::Started(_) | What::Weather(_) | What::Trouble { .. } => false,
        };
        let mut losses: Vec<Instant> = self.events.iter().filter(lost).map(|event| event.at).collect();
        losses.sort();
        losses
    }

    /// How often a user's record was replaced by an older one.
    pub fn roll_backs(&self, user: usize) -> usize {
        self.events.iter().filter(|event| event.what == What::RolledBack(user)).count()
    }

    /// When a process was killed.
    pub fn killed(&self, replica: &str) -> Option<Instant> {
        let kill = |event: &&Event| matches!(&event.what, What::Killed(name) if name == replica);
        self.events.iter().find(kill).map(|event| event.at)
    }

    /// How Elasticsearch answered at this time.
    pub fn weather(&self, at: Instant) -> Option<&str> {
        let last = self.events.iter().filter(|event| event.at <= at).filter_map(|event| match &event.what {
            What::Weather(weather) => Some((event.at, weather.as_str())),
            _ => None,
        });
        last.max_by_key(|(at, _)| *at).map(|(_, weather)| weather)
    }

    /// When a process was started, if it was not there from the beginning.
    pub fn started(&self, replica: &str) -> Option<Instant> {
        let start = |event: &&Event| matches!(&event.what, What::Started(name) if name == replica);
        self.events.iter().find(start).map(|event| event.at)
    }

    /// Whether there was this trouble at a replica at some time from `from` to `to`.
    pub fn trouble(&self, troubles: &[Trouble], at: &str, from: Instant, to: Instant) -> bool {
        self.events.iter().any(|event| match &event.what {
            What::Trouble { what, replica, until } => {
                troubles.contains(what)
                    && replica.as_deref().is_none_or(|replica| replica == at)
                    && event.at <= to
                    && *until >= from
            }
            _ => false,
        })
    }

    /// All events of one user, in order, in milliseconds from the start.
    pub fn show(&self, world: &World, user: usize) -> String {
        let User { name, .. } = &world.users[user];
        let mut lines: Vec<(Instant, String)> = Vec::new();
        for request in self.requests.iter().filter(|request| request.user == user) {
            let Requested { token, replica, start, end, outcome, .. } = request;
            let Token { issued, roles, .. } = &world.users[user].tokens[*token];
            let took = end.duration_since(*start).as_millis();
            let line = format!(
                "asked {replica} with token {token} (iat {issued}, {}), {took} ms: {}",
                roles.join(","),
                Short(outcome)
            );
            lines.push((*start, line));
        }
        for put in self.puts.iter().filter(|put| put.user == *name) {
            let after =
                |at: Option<Instant>| at.map_or("never".into(), |at| format!("+{:?}", round(at - put.received)));
            let (applied, answered) = (after(put.applied), after(put.answered.map(|(_, at)| at)));
            let status = put.answered.map_or(String::new(), |(status, _)| format!(" {status}"));
            let password = put.password.as_deref().map_or("none", short);
            let line = format!(
                "PUT by {}, password {password}, roles {}: applied {applied}, answered {answered}{status} ({:?})",
                put.sender,
                put.roles.join(","),
                put.ending
            );
            lines.push((put.received, line));
        }
        for event in &self.events {
            if !matches!(event.what, What::Evicted(n) | What::Expired(n) | What::RolledBack(n) if n != user) {
                let line = match &event.what {
                    What::Trouble { what, replica, until } => {
                        format!("{what:?} {} for {:?}", replica.as_deref().unwrap_or("all"), round(*until - event.at))
                    }
                    what => format!("{what:?}"),
                };
                lines.push((event.at, line));
            }
        }
        lines.sort_by_key(|(at, _)| *at);
        let since = |at: Instant| at.saturating_duration_since(world.started).as_millis();
        let lines: Vec<_> = lines.into_iter().map(|(at, line)| format!("{:>7} ms  {line}", since(at))).collect();
        lines.join("\n")
    }
}

fn round(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// The beginning of a password: enough to tell passwords apart.
pub fn short(password: &str) -> &str {
    password.get(..6).unwrap_or(password)
}

struct Short<'a>(&'a Outcome);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Outcome::Allowed { username, password } => write!(f, "{username} with {}", short(password)),
            Outcome::Denied(status) => write!(f, "{status}"),
            Outcome::Lost(why) => f.write_str(why),
        }
    }
}
