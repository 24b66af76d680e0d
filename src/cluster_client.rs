//! The HTTP client for a cluster of several nodes, which the back ends for Elasticsearch and OpenSearch share. It knows neither
//! their paths nor what their bodies mean, only whether an answer is theirs at all (`genuine`).
//!
//! Nodes are asked in turn. One that fails is left alone for a while; when all are, the one that is to be asked again soonest
//! is tried. No request is made only to find out whether a node works. A call has one deadline for all its attempts.

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
mod cluster_id;
mod condition;
#[cfg(test)]
pub(crate) mod foreign_answers;
mod genuine;
mod node_pool;
mod system;
mod trace;
mod write_limit;

pub use account::Account;
pub use answer::{Answer, NoResponse};
pub use call::Call;
pub use genuine::ExpectedAnswer;
pub use system::System;
pub use write_limit::WriteLimits;

pub(crate) use call::{LIST_BYTES, LIST_TIMEOUT};
pub(crate) use cluster_id::ClusterId;
pub(crate) use condition::Condition;
pub(crate) use write_limit::WriteLimiter;

use account::{Administrator, Refreshed, Scheme};
use answer::PRODUCT;
use node_pool::{Node, NodePool};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a call that may be repeated is sent in all, also where there is one address only: that is often the address of a
/// load balancer.
const ATTEMPTS: usize = 3;
/// The pause before a node is asked a second time; it doubles with each further attempt.
const PAUSE: Duration = Duration::from_millis(50);
/// From one log line about trouble with the administrator's account to the next.
const ALERT_INTERVAL: Duration = Duration::from_secs(60);

/// How to reach the cluster, and with which credential.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base addresses; a path prefix is kept. At least one.
    pub hosts: Vec<Url>,
    /// The administrator's account; none where a client certificate is the only credential.
    pub account: Option<Account>,
    /// The authorities that sign the cluster's certificates, and the client certificate.
    pub tls: Tls,
    /// For `Accept` and `Content-Type`; `application/json` unless a server wants another.
    pub media_type: String,
}

impl Settings {
    /// Whether this is the name of the account that elastauth itself uses.
    pub(crate) fn is_own_account(&self, username: &str) -> bool {
        let scheme = self.account.as_ref().map(|account| &account.scheme);
        matches!(scheme, Some(Scheme::Basic { username: own }) if own == username)
    }
}

/// Sends calls to a cluster, and remembers which of its nodes failed.
pub struct ClusterClient {
    http: reqwest::Client,
    nodes: NodePool,
    system: System,
    administrator: Option<Administrator>,
    media_type: String,
    alerted: Mutex<Option<Instant>>,
}

/// What one attempt leads to.
enum Attempt {
    Done(Answer),
    /// The call may be sent again: certainly nothing was done, or doing it twice does no harm. With the pause that the node
    /// asked for.
    Retry(Result<Answer, NoResponse>, Option<Duration>),
    GiveUp(NoResponse),
}

impl ClusterClient {
    /// Connects on first use. Answers of either system are accepted until [`ClusterClient::of`] says which.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let Settings { hosts, account, tls, media_type } = settings;
        let http = outbound::client_with(&tls, &hosts)?.connect_timeout(CONNECT_TIMEOUT).build()?;
        let (nodes, administrator, system) = (NodePool::new(hosts), account.map(Administrator::new), System::Either);
        Ok(Self { http, nodes, system, administrator, media_type, alerted: Mutex::default() })
    }

    /// Accepts the answers of this system only.
    pub fn of(self, system: System) -> Self {
        Self { system, ..self }
    }

    /// Sends the call, to several nodes if need be, within `limit` in all. It is sent again when a connection fails, after 502,
    /// 503 and 504, and after a 429 that is not going to last; after no other status. A write is not sent again when its
    /// connection broke after it was sent: its outcome is unknown. An answer that is not the system's own is never returned
    /// but counts as none: a read goes on to the next node, and the outcome of a write is unknown.
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
        let authorization = match (call.user_credential(), &self.administrator) {
            (Some(user), _) => Some(user),
            (None, Some(administrator)) => Some(administrator.header().await.map_err(NoResponse::unsent)?),
            (None, None) => None,
        };
        let plan = self.nodes.plan(ATTEMPTS);
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
            let attempt = self.attempt(node, request, call, &span).instrument(span.clone());
            let Ok(attempt) = tokio::time::timeout_at(ends, attempt).await else {
                node.failed("no answer in time");
                spans::failed(&span, "timeout");
                return Err(NoResponse { why: format!("no answer within {limit:?}"), sent: true });
            };
            drop(span);
            match attempt {
                Attempt::Done(answer) => return Ok(answer.after(sent)),
                Attempt::GiveUp(error) => return Err(error),
                Attempt::Retry(outcome, wanted) => {
                    sent |= outcome.as_ref().map_or_else(|error| error.sent, |answer| answer.status.is_server_error());
                    last = outcome;
                    let is_new = |next: &&Node| !plan.iter().take(turn + 1).any(|node| std::ptr::eq(*node, *next));
                    let another = plan.get(turn + 1).is_some_and(is_new);
                    let pause = if another { Duration::ZERO } else { wanted.unwrap_or(PAUSE * (1 << turn.min(4))) };
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
            Err(error) => Err(NoResponse { sent, ..error }),
        }
    }

    fn rejected(&self, answer: &Answer) {
        if let Some(administrator) = &self.administrator {
            administrator.rejected();
        }
        self.alert(&answer.describe());
    }

    /// Logs trouble with the administrator's account, which a person has to mend, at most once a minute.
    pub(crate) fn alert(&self, what: &str) {
        let mut alerted = self.alerted.lock();
        if alerted.is_none_or(|at| at.elapsed() >= ALERT_INTERVAL) {
            *alerted = Some(Instant::now());
            tracing::error!(
                answer = what,
                "The administrator's account does not work: users that are not cached yet are denied until it does"
            );
        }
    }

    async fn attempt(&self, node: &Node, request: RequestBuilder, call: &Call<'_>, span: &Span) -> Attempt {
        let answer = match answer::read(request, call.max_answer).await {
            Ok(answer) => answer,
            Err(error) => {
                spans::failed(span, "connection");
                return match error {
                    answer::ReadError::TooLarge(why) => Attempt::GiveUp(NoResponse { why, sent: true }),
                    answer::ReadError::Connection(error) => {
                        node.failed(&error.why);
                        if error.sent && call.is_write() {
                            Attempt::GiveUp(error)
                        } else {
                            Attempt::Retry(Err(error), None)
                        }
                    }
                };
            }
        };
        let (wanted, foreign) = (answer.retry_after(), self.foreign(node, call, &answer));
        trace::answered(span, answer.status, foreign.is_some());
        match answer.status {
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                node.failed(&foreign.clone().unwrap_or_else(|| answer.describe()));
                Attempt::Retry(genuine_or_none(answer, foreign), wanted)
            }
            StatusCode::TOO_MANY_REQUESTS if !answer.will_last() => {
                node.answered();
                Attempt::Retry(genuine_or_none(answer, foreign), wanted)
            }
            _ => match genuine_or_none(answer, foreign) {
                Ok(answer) => {
                    node.answered();
                    Attempt::Done(answer)
                }
                Err(error) => {
                    node.failed(&error.why);
                    if call.is_write() { Attempt::GiveUp(error) } else { Attempt::Retry(Err(error), None) }
                }
            },
        }
    }

    /// Why the answer is not that of the system that was asked, where it is not.
    fn foreign(&self, node: &Node, call: &Call<'_>, answer: &Answer) -> Option<String> {
        if !self.system.expects(call.expected, answer) {
            return (!self.system.reports_error(answer)).then(|| answer.foreign(self.system));
        }
        let lost = self.system == System::Elasticsearch && node.lost_product_name(answer.names_elasticsearch());
        lost.then(|| {
            let why = answer.foreign(self.system);
            format!(
                "{why} (it lacks the header {PRODUCT}, which came from this address before; if a proxy removes it since, restart \
                 elastauth)"
            )
        })
    }
}

/// The answer, unless there is a reason to call it foreign.
fn genuine_or_none(answer: Answer, foreign: Option<String>) -> Result<Answer, NoResponse> {
    foreign.map_or(Ok(answer), |why| Err(NoResponse { why, sent: true }))
}

#[cfg(test)]
mod tests;
