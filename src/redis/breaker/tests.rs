//! A server that fails, or shows signs of life, as its breaker is told of it.

use std::future::{Ready, pending, ready};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::*;

const PATIENCE: Duration = Duration::from_millis(500);

/// A server that answers or does not, and counts its probes.
struct Fickle {
    breaker: Breaker,
    answers: AtomicBool,
    probes: AtomicUsize,
}

impl Fickle {
    fn new() -> (Arc<Self>, Arc<Invalidations>) {
        let (signs, invalidations) = (Signs::default(), Arc::<Invalidations>::default());
        signs.watch(&invalidations);
        let breaker = Breaker::new("redis:6379".into(), PATIENCE, signs);
        (Arc::new(Self { breaker, answers: AtomicBool::new(true), probes: AtomicUsize::new(0) }), invalidations)
    }

    fn probe(self: Arc<Self>) -> Ready<bool> {
        self.probes.fetch_add(1, SeqCst);
        ready(self.answers.load(SeqCst))
    }

    /// One command, as a node runs it. Returns whether it was sent and answered.
    fn ask(self: &Arc<Self>, what: Use) -> bool {
        if self.breaker.admit(what).is_err() {
            return false;
        }
        let before = self.breaker.before();
        if self.answers.load(SeqCst) {
            self.breaker.answered(what);
            return true;
        }
        if self.breaker.no_answer(what, before, "timed out") {
            Breaker::probe(self, |server| &server.breaker, Self::probe);
        }
        false
    }

    /// A read that is not answered, nor is the probe after it.
    async fn fail(self: &Arc<Self>) {
        assert!(!self.ask(Use::Read));
        // the probe has its turn
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_probed_in_the_background_at_a_bounded_rate_until_it_answers() {
    let (server, _) = Fickle::new();
    server.answers.store(false, SeqCst);
    for _ in 0..100 {
        server.fail().await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let probes = server.probes.load(SeqCst);
    assert!((60..70).contains(&probes), "{probes}");
    server.answers.store(true, SeqCst);
    tokio::time::sleep(MAX_BACK_OFF).await;
    assert!(server.ask(Use::Read) && server.ask(Use::Write) && !server.breaker.is_open());
}

#[tokio::test(start_paused = true)]
async fn one_connection_that_fails_stops_nobody_when_a_probe_over_another_is_answered() {
    let (server, _) = Fickle::new();
    server.answers.store(false, SeqCst);
    assert!(!server.ask(Use::Read));
    server.answers.store(true, SeqCst);
    for _ in 0..5 {
        assert!(server.breaker.admit(Use::Read).is_ok() && server.breaker.admit(Use::Soon).is_ok());
        tokio::task::yield_now().await;
    }
    assert_eq!(server.probes.load(SeqCst), 1);
    assert!(server.ask(Use::Read));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_its_probe_is_not_asked_any_more_soon() {
    let (server, _) = Fickle::new();
    let silent = |server: &Arc<Fickle>| Breaker::probe(server, |server| &server.breaker, |_| pending());
    let before = server.breaker.before();
    assert!(server.breaker.no_connection(before, "timed out"));
    silent(&server);
    tokio::time::sleep(PATIENCE * 9 / 10).await;
    assert!(server.breaker.admit(Use::Soon).is_ok());
    tokio::time::sleep(PATIENCE / 5).await;
    assert_eq!(server.breaker.admit(Use::Soon), Err("timed out".into()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_on_other_connections_is_asked_on() {
    let (server, _) = Fickle::new();
    let before = server.breaker.before();
    assert!(server.ask(Use::Read));
    assert!(!server.breaker.no_answer(Use::Read, before, "timed out"));
    assert!(!server.breaker.no_connection(before, "refused"));
    assert!(server.ask(Use::Soon) && server.ask(Use::Write));
}

#[tokio::test(start_paused = true)]
async fn writes_without_an_answer_stop_writes_alone_and_one_at_a_time_tries_again() {
    let (server, _) = Fickle::new();
    let fail = |server: &Arc<Fickle>| {
        let before = server.breaker.before();
        assert!(server.ask(Use::Read), "reads say nothing about writes");
        assert!(!server.breaker.no_answer(Use::Write, before, "timed out"));
    };
    fail(&server);
    assert!(server.breaker.is_open() && server.breaker.admit(Use::Write).is_err());
    for _ in 0..10 {
        assert!(server.ask(Use::Read) && server.ask(Use::Soon));
        tokio::time::sleep(MAX_BACK_OFF).await;
        assert!(server.breaker.admit(Use::Write).is_ok() && server.breaker.admit(Use::Write).is_err());
        fail(&server);
    }
    tokio::time::sleep(MAX_BACK_OFF).await;
    assert!(server.ask(Use::Write) && server.ask(Use::Write) && !server.breaker.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_reports_a_change_is_asked_before_the_next_probe_by_a_request_that_has_nothing_else() {
    let (server, invalidations) = Fickle::new();
    server.answers.store(false, SeqCst);
    server.fail().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    server.answers.store(true, SeqCst);
    assert!(!server.ask(Use::Read), "it has shown no sign of life");
    invalidations.changed(b"elastauth-other");
    assert!(!server.ask(Use::Soon), "a request that can be served does not wait for it");
    assert!(server.ask(Use::Read));
    assert!(server.ask(Use::Soon), "it is closed for all");
}

#[tokio::test(start_paused = true)]
async fn one_sign_of_life_is_good_for_one_failure_and_the_background_goes_on_alone() {
    let (server, invalidations) = Fickle::new();
    server.answers.store(false, SeqCst);
    server.fail().await;
    for _ in 0..20 {
        invalidations.begun();
        assert!(server.breaker.admit(Use::Read).is_ok());
        assert!(!server.ask(Use::Read));
        for _ in 0..100 {
            assert!(server.breaker.admit(Use::Read).is_err());
        }
    }
    let probes = server.probes.load(SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let probes = server.probes.load(SeqCst) - probes;
    assert!((55..70).contains(&probes), "one asks in the background: {probes}");
    for _ in 0..2 {
        server.answers.store(true, SeqCst);
        tokio::time::sleep(MAX_BACK_OFF).await;
        assert!(server.ask(Use::Read), "and again later");
        server.answers.store(false, SeqCst);
        server.fail().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_connection_is_let_go_only_when_the_server_stays_away() {
    let (server, _) = Fickle::new();
    let waits = timeout(Duration::from_secs(60), server.breaker.stays_open(PATIENCE)).await;
    assert!(waits.is_err(), "the server is asked");
    server.answers.store(false, SeqCst);
    server.fail().await;
    let began = Instant::now();
    server.breaker.stays_open(PATIENCE).await;
    assert_eq!(began.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_and_goes_does_not_fill_the_log_and_an_outage_that_lasts_is_in_it() {
    let mut circuit = Circuit::default();
    let mut lines = 0;
    for _ in 0..600 {
        circuit.fail("timed out", 0);
        lines += usize::from(circuit.tell().is_some());
        lines += usize::from(circuit.close());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(lines, 4, "two lines in thirty seconds");
    circuit.fail("timed out", 0);
    assert!(circuit.tell().is_some() && circuit.tell().is_none());
    assert!(circuit.close());
    circuit.fail("timed out", 0);
    assert!(circuit.tell().is_none(), "just after the last line");
    tokio::time::sleep(QUIET).await;
    assert!(circuit.tell().is_some(), "it lasts");
    assert!(circuit.close());
}
