//! Clients that send requests without a pause, and count the answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;

use crate::process::until;

/// Clients that are running as tasks; [`Load::finish`] ends them.
pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answers: AtomicUsize,
    others: Mutex<BTreeMap<String, usize>>,
}

/// The answers to all clients together.
#[derive(Debug)]
pub struct Tally {
    /// The number of answers, of any status; a failed request counts as one.
    pub answers: usize,
    /// The number of answers other than 200, by status or error.
    pub others: BTreeMap<String, usize>,
}

impl Tally {
    /// The number of answers that were not 200.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.others.values().sum()
    }
}

impl Load {
    /// Starts one client for each token; it sends its next request when it has the answer to the one before.
    #[must_use]
    pub fn start(url: &str, tokens: &[String]) -> Self {
        let shared = Arc::<Shared>::default();
        let tasks = tokens.iter().map(|token| tokio::spawn(ask(Arc::clone(&shared), url.to_owned(), token.clone())));
        Self { tasks: tasks.collect(), shared }
    }

    /// Waits until this many more answers have arrived.
    pub async fn more(&self, answers: usize) {
        let goal = self.shared.answers.load(Ordering::SeqCst) + answers;
        until("answers", || async { self.shared.answers.load(Ordering::SeqCst) >= goal }).await;
    }

    /// Ends the clients when their present requests are answered, and returns what they counted.
    pub async fn finish(self) -> Tally {
        self.shared.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        let others = self.shared.others.lock().unwrap().clone();
        Tally { answers: self.shared.answers.load(Ordering::SeqCst), others }
    }
}

async fn ask(shared: Arc<Shared>, url: String, token: String) {
    let http = crate::http();
    while !shared.stop.load(Ordering::SeqCst) {
        let told = match http.get(&url).bearer_auth(&token).send().await {
            Ok(answer) => answer.status().as_u16().to_string(),
            Err(error) => error.without_url().to_string(),
        };
        shared.answers.fetch_add(1, Ordering::SeqCst);
        if told != "200" {
            *shared.others.lock().unwrap().entry(told).or_default() += 1;
        }
    }
}
