//! An administrator's requests to a cluster of several nodes: what the back ends for Elasticsearch and OpenSearch share.
//! It knows neither their paths nor what their bodies mean, only whether an answer is theirs (`genuine`).
//!
//! Nodes are asked in turn; one that fails rests for a while, and when all rest the one whose rest ends first is tried.
//! Nothing is asked only to see whether a node lives. A call has one deadline for all its attempts.

use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{RequestBuilder, StatusCode};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};
use url::Url;

use crate::outbound::{self, Error, Tls};
use crate::spans;

pub mod account;
mod answer;
mod call;
pub mod cluster;
mod condition;
#[cfg(test)]
pub(crate) mod foreign;
mod genuine;
pub mod hash;
mod health;
mod limit;
mod trace;

pub use account::Account;
pub use answer::{Answer, NoResponse};
pub use call::Call;
pub use cluster::ClusterId;
pub use condition::Condition;
pub use genuine::{Shape, System};
pub use limit::{Full, Limits, Permit, Writes};

use account::{Administrator, Refreshed};
use health::{Node, Ring};

/// A user's answer is a kilobyte; nothing legitimate comes near this.
const MAX_ANSWER: usize = 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A call that may be repeated is, this often in all, also where there is one node only: what stands before a cluster
/// often has one address.
const ATTEMPTS: usize = 3;
/// Before a node is asked a second time; doubles.
const PAUSE: Duration = Duration::from_millis(50);
/// In which Elasticsearch names itself, from 7.14 on.
const PRODUCT: &str = "x-elastic-product";
/// Between two lines about the same trouble with the administrator's account.
const ALERTS: Duration = Duration::from_secs(60);

/// What to talk to, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base addresses; a path prefix is kept. At least one.
    pub hosts: Vec<Url>,
    /// The administrator; none where a client certificate is all that is shown.
    pub account: Option<Account>,
    /// Whom to trust, and what to show.
    pub tls: Tls,
    /// For `Accept` and `Content-Type`; `application/json` unless a server wants another.
    pub media_type: String,
}

/// The HTTP client and what is known of the nodes.
pub struct ClusterClient {
    http: reqwest::Client,
    ring: Ring,
    system: System,
    administrator: Option<Administrator>,
    media_type: String,
    alerted: Mutex<Option<Instant>>,
}

/// What follows from one attempt.
enum Next {
    Done(Answer),
    /// Certainly or harmlessly repeatable; with the time that the node asked for.
    Again(Result<Answer, NoResponse>, Option<Duration>),
    Stop(NoResponse),
}

impl ClusterClient {
    /// Connects on first use. Answers of either system count until [`ClusterClient::of`] says which.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let Settings { hosts, account, tls, media_type } = settings;
        let http = outbound::client_with(&tls, &hosts)?.connect_timeout(CONNECT_TIMEOUT).build()?;
        let (ring, administrator, system) = (Ring::new(hosts), account.map(Administrator::new), System::Either);
        Ok(Self { http, ring, system, administrator, media_type, alerted: Mutex::default() })
    }

    /// Takes the answers of this system only.
    pub fn of(self, system: System) -> Self {
        Self { system, ..self }
    }

    /// Sends the call, to several nodes if need be, within `limit` in all. Connections that fail and 502, 503 and 504 are
    /// repeated, and 429 unless it will last; no other status is. A write whose connection broke after it was sent is
    /// not repeated: its outcome is unknown. What something else answers in the system's place is never given back, but lost:
    /// a read goes on to the next node, and of a write the outcome is unknown.
    pub async fn send(&self, call: &Call<'_>, limit: Duration) -> Result<Answer, NoResponse> {
        let ends = Instant::now() + limit;
        let mut answer = self.attempts(call, ends, limit).await?;
        if answer.status == StatusCode::UNAUTHORIZED && call.is_administrators() {
            if let Some(administrator) = &self.administrator
                && administrator.refresh().await == Refreshed::Changed
            {
                answer = self.attempts(call, ends, limit).await?;
            }
            if answer.status == StatusCode::UNAUTHORIZED {
                self.rejected(&answer);
            }
        }
        Ok(answer)
    }

    async fn attempts(&self, call: &Call<'_>, ends: Instant, limit: Duration) -> Result<Answer, NoResponse> {
        let authorization = match (call.own_credential(), &self.administrator) {
            (Some(own), _) => Some(own),
            (None, Some(administrator)) => Some(administrator.header().await.map_err(NoResponse::unsent)?),
            (None, None) => None,
        };
        let plan = self.ring.plan(ATTEMPTS);
        let (mut sent, mut last) = (false, Err(NoResponse::unsent("no node".into())));
        for (turn, node) in plan.iter().enumerate() {
            let Some(url) = call.url(&node.base) else {
                return Err(NoResponse::unsent("the name does not fit into a URL".into()));
            };
            let span = trace::attempt(call, &url, turn);
            let request = call.apply_to(self.http.request(call.method.clone(), url), &span);
            let request = request.header(ACCEPT, self.media_type.as_str());
            let request =
                if call.has_body() { request.header(CONTENT_TYPE, self.media_type.as_str()) } else { request };
            let request = authorization.iter().fold(request, |request, value| request.header(AUTHORIZATION, value));
            let answered = self.attempt(node, request, call, &span).instrument(span.clone());
            let Ok(next) = tokio::time::timeout_at(ends, answered).await else {
                node.failed("no answer in time");
                spans::failed(&span, "timeout");
                return Err(NoResponse { why: format!("no answer within {limit:?}"), sent: true });
            };
            drop(span);
            match next {
                Next::Done(answer) => return Ok(answer.after(sent)),
                Next::Stop(lost) => return Err(lost),
                Next::Again(outcome, wanted) => {
                    sent |= outcome.as_ref().map_or_else(|lost| lost.sent, |answer| answer.status.is_server_error());
                    last = outcome;
                    let others = plan
                        .get(turn + 1)
                        .is_some_and(|next| !plan.iter().take(turn + 1).any(|node| std::ptr::eq(*node, *next)));
                    let pause = if others { Duration::ZERO } else { wanted.unwrap_or(PAUSE * (1 << turn.min(4))) };
                    if plan.len() > turn + 1 && Instant::now() + pause < ends {
                        tokio::time::sleep(pause).await;
                    } else {
                        break;
                    }
                }
            }
        }
        match last {
            Ok(answer) => Ok(answer.after(sent)),
            Err(lost) => Err(NoResponse { sent, ..lost }),
        }
    }

    fn rejected(&self, answer: &Answer) {
        if let Some(administrator) = &self.administrator {
            administrator.rejected();
        }
        self.alert(&answer.describe());
    }

    /// Trouble with the administrator's account is for a person, now; said at most once a minute.
    pub fn alert(&self, what: &str) {
        let mut alerted = self.alerted.lock();
        if alerted.is_none_or(|at| at.elapsed() >= ALERTS) {
            *alerted = Some(Instant::now());
            tracing::error!(answer = what, "The administrator's account does not work: nobody new can be let in");
        }
    }

    async fn attempt(&self, node: &Node, request: RequestBuilder, call: &Call<'_>, span: &Span) -> Next {
        let answer = match answer::read(request, call.most).await {
            Ok(answer) => answer,
            Err(failed) => {
                spans::failed(span, "connection");
                return match failed {
                    answer::Failed::Oversize(why) => Next::Stop(NoResponse { why, sent: true }),
                    answer::Failed::Broken(lost) => {
                        node.failed(&lost.why);
                        if lost.sent && call.is_write() { Next::Stop(lost) } else { Next::Again(Err(lost), None) }
                    }
                };
            }
        };
        let (wanted, foreign) = (answer.retry_after(), self.foreign(node, call, &answer));
        trace::answered(span, answer.status, foreign.is_some());
        match answer.status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                node.failed(&foreign.clone().unwrap_or_else(|| answer.describe()));
                Next::Again(given(answer, foreign), wanted)
            }
            StatusCode::TOO_MANY_REQUESTS if !answer.will_last() => {
                node.answered();
                Next::Again(given(answer, foreign), wanted)
            }
            _ => match given(answer, foreign) {
                Ok(answer) => {
                    node.answered();
                    Next::Done(answer)
                }
                Err(lost) => {
                    node.failed(&lost.why);
                    if call.is_write() { Next::Stop(lost) } else { Next::Again(Err(lost), None) }
                }
            },
        }
    }

    /// Why the answer is not that of the system that was asked, where it is not.
    fn foreign(&self, node: &Node, call: &Call<'_>, answer: &Answer) -> Option<String> {
        if !self.system.expects(call.shape, answer) {
            return (!self.system.reports(answer)).then(|| answer.foreign(self.system));
        }
        let named = answer.headers.get(PRODUCT).is_some_and(|product| product == "Elasticsearch");
        let lost = self.system == System::Elasticsearch && node.lost_its_name(named);
        lost.then(|| {
            let why = answer.foreign(self.system);
            format!("{why} (it lacks the header {PRODUCT}, which came from this address before; if a proxy removes it since, restart elastauth)")
        })
    }
}

fn given(answer: Answer, foreign: Option<String>) -> Result<Answer, NoResponse> {
    foreign.map_or(Ok(answer), |why| Err(NoResponse { why, sent: true }))
}

#[cfg(test)]
mod tests;
