//! Records what became of every PUT of a user, with times on the clock of the test process.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::http::StatusCode;
use serde_json::Value;

use crate::faults::Ending;
use crate::secrets;

/// One PUT that the stand-in for Elasticsearch received.
#[derive(Clone, Debug)]
pub struct Put {
    /// The name of the user that it writes.
    pub user: String,
    /// The part of the path before `/_security`: it distinguishes senders that were configured with different addresses.
    pub sender: String,
    /// `None` when only the roles are written.
    pub password: Option<String>,
    /// The names of the user's roles.
    pub roles: Vec<String>,
    /// The user's `metadata`, as sent.
    pub metadata: Value,
    /// How the stand-in was instructed to end it.
    pub ending: Ending,
    /// When the request arrived.
    pub received: Instant,
    /// When the user changed; `None` as long as the PUT is not applied.
    pub applied: Option<Instant>,
    /// The status, and the moment before the answer was sent.
    pub answered: Option<(u16, Instant)>,
    open: bool,
}

impl Put {
    /// When a 2xx was sent.
    #[must_use]
    pub fn acknowledged(&self) -> Option<Instant> {
        self.answered.filter(|(status, _)| (200..300).contains(status)).map(|(_, at)| at)
    }
}

/// The largest number of PUTs that were under way at the same time; those without an answer are not counted.
#[must_use]
pub fn peak(puts: &[Put]) -> usize {
    let answered = puts.iter().filter_map(|put| Some((put.received, put.answered?.1)));
    let mut moments: Vec<_> = answered.flat_map(|(from, to)| [(from, true), (to, false)]).collect();
    // at the same moment, ends sort before beginnings
    moments.sort();
    let (mut now, mut peak) = (0, 0);
    for (_, comes) in moments {
        now = if comes { now + 1 } else { now - 1 };
        peak = peak.max(now);
    }
    peak
}

/// Every PUT, in the order of arrival.
#[derive(Clone, Default)]
pub(crate) struct Puts(Arc<Mutex<Vec<Put>>>);

impl Puts {
    pub(crate) fn all(&self) -> Vec<Put> {
        self.0.lock().unwrap().clone()
    }

    /// The number of PUTs that may still be applied or answered.
    pub(crate) fn open(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|put| put.open).count()
    }

    pub(crate) fn begin(&self, sender: &str, user: &str, body: &Value, ending: Ending) -> Underway {
        for secret in ["password", "password_hash"].into_iter().filter_map(|key| body[key].as_str()) {
            secrets::keep("a generated password", secret);
        }
        let names = body["roles"].as_array().into_iter().flatten();
        let put = Put {
            user: user.to_owned(),
            sender: sender.to_owned(),
            password: body["password"].as_str().map(str::to_owned),
            roles: names.filter_map(Value::as_str).map(str::to_owned).collect(),
            metadata: body["metadata"].clone(),
            ending,
            received: Instant::now(),
            applied: None,
            answered: None,
            open: true,
        };
        let mut all = self.0.lock().unwrap();
        all.push(put);
        Underway { puts: self.clone(), index: all.len() - 1 }
    }
}

/// A PUT that is under way. It ends when this is dropped, because it was answered or because its client disconnected.
pub(crate) struct Underway {
    puts: Puts,
    index: usize,
}

impl Underway {
    fn change(&self, how: impl FnOnce(&mut Put)) {
        how(&mut self.puts.0.lock().unwrap()[self.index]);
    }

    pub(crate) fn applied(&self) {
        self.change(|put| put.applied = Some(Instant::now()));
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        self.change(|put| put.answered = Some((status.as_u16(), Instant::now())));
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.change(|put| put.open = false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::elasticsearch::{ADMIN, Elasticsearch, Faults};
    use crate::faults::{Ending, Fate};
    use crate::process::until;

    /// A PUT by a client with a timeout of 200 ms: its status, whether it was applied, and whether that was recorded.
    async fn put(delay: u64, ending: Ending) -> (Option<u16>, bool, bool) {
        let server = Elasticsearch::start().await;
        let fate = Fate { delay: Duration::from_millis(delay), ending };
        server.fail(Faults { fates: Some(std::sync::Arc::new(move || fate)), ..Faults::default() });
        let body = serde_json::json!({ "password": "secret-1", "roles": ["a"] });
        let request = crate::http().put(format!("{}/one/_security/user/ann", server.url));
        let request = request.basic_auth(ADMIN.0, Some(ADMIN.1)).timeout(Duration::from_millis(200));
        let answer = request.json(&body).send().await.ok().map(|answer| answer.status().as_u16());
        until("the end of the PUT", || async { server.open_puts() == 0 }).await;
        let puts = server.puts();
        let [put] = puts.as_slice() else { panic!("one PUT") };
        assert_eq!((put.user.as_str(), put.sender.as_str(), put.password.as_deref()), ("ann", "one", Some("secret-1")));
        assert_eq!(put.answered.map(|(status, _)| status), answer);
        (answer, server.user("ann").is_some(), put.applied.is_some())
    }

    #[tokio::test]
    async fn a_put_ends_as_its_fate_says_and_is_on_record() {
        for (delay, ending, expected) in [
            (0, Ending::Answered, (Some(200), true, true)),
            (0, Ending::Refused(503), (Some(503), false, false)),
            (0, Ending::AnswerLost, (None, true, true)),
            (0, Ending::Lost, (None, false, false)),
            (600, Ending::Answered, (None, false, false)),
            (600, Ending::Late, (None, true, true)),
        ] {
            assert_eq!(put(delay, ending).await, expected, "{ending:?} after {delay} ms");
        }
    }
}
