//! What must hold in every interleaving and with every fault. Every number of states is printed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;

use elastauth_model::cycles::{Search, search};
use elastauth_model::rules::{AGREEMENT, OWNER, REPAIR, SERVES};
use elastauth_model::{Faults, Request, Setup};
use stateright::{Checker, Model as _};

const NONE: Faults = Faults {
    losses: 0,
    crashes: 0,
    unknown: 0,
    refusals: 0,
    restores: 0,
    pauses: 0,
    password_changes: 0,
    outages: 0,
    lost_answers: 0,
    later_formats: 0,
    overwrites: 0,
};

/// A token; older ones have smaller numbers.
fn token_of(age: u8, roles: u8) -> Request {
    Request { owner: 0, roles, as_of: Some(10 * (age + 1)) }
}

/// A token with other roles for each age.
fn token(age: u8) -> Request {
    token_of(age, [1, 2, 4, 3][usize::from(age)])
}

/// A token of another subject, for the same username.
fn others(age: u8) -> Request {
    Request { owner: 1, ..token(age) }
}

/// The roles of a caller that headers name: they have no time.
fn headers(roles: u8) -> Request {
    Request { owner: 0, roles, as_of: None }
}

/// Two replicas, two requests each: four tokens.
fn pairs(faults: Faults) -> Setup {
    Setup { faults, ..Setup::new(vec![vec![token(0), token(2)], vec![token(1), token(3)]]) }
}

/// Two replicas, one request each.
fn singles(faults: Faults) -> Setup {
    Setup { faults, ..Setup::new(vec![vec![token(0)], vec![token(1)]]) }
}

fn three(faults: Faults) -> Setup {
    Setup { faults, ..Setup::new(vec![vec![token(0)], vec![token(1)], vec![token(2)]]) }
}

/// Two subjects that compete for one username, at replicas that see both.
fn owners(faults: Faults) -> Setup {
    Setup { faults, ..Setup::new(vec![vec![token(0), others(2)], vec![others(1)]]) }
}

/// Instances of a login proxy that disagree.
fn proxies(faults: Faults) -> Setup {
    Setup { faults, ..Setup::new(vec![vec![headers(1), headers(4)], vec![headers(2)]]) }
}

/// During a roll-out the first replica runs the old configuration, the second one the new one, and both see an older and a newer
/// token. The new configuration takes a role away from both, and gives another.
fn rollout(faults: Faults) -> Setup {
    let requests = vec![vec![token_of(0, 0b011), token_of(1, 0b110)], vec![token_of(0, 0b001), token_of(1, 0b101)]];
    Setup { faults, mappings: [(1, 1), (2, 2), (1, 1)], ..Setup::new(requests) }
}

/// The same roll-out, and the newer token comes first.
fn rollout_backwards(faults: Faults) -> Setup {
    let mut setup = rollout(faults);
    setup.requests.iter_mut().for_each(|requests| requests.reverse());
    setup
}

/// A replica of the old configuration that is started again in the middle of a roll-out runs the configuration that was
/// started last.
fn restarted(faults: Faults) -> Setup {
    let requests = vec![vec![token_of(0, 0b011), token_of(0, 0b011)], vec![token_of(0, 0b001)]];
    Setup { faults, mappings: [(1, 3), (2, 2), (1, 1)], ..Setup::new(requests) }
}

/// The old configuration, the new one, and the old one again, at the same time.
fn rolled_back(faults: Faults) -> Setup {
    let requests = vec![vec![token_of(0, 0b011)], vec![token_of(1, 0b101)], vec![token_of(0, 0b110)]];
    Setup { faults, mappings: [(1, 1), (2, 2), (3, 3)], ..Setup::new(requests) }
}

/// The requests of a login proxy during a roll-out.
fn rollout_of_headers(faults: Faults) -> Setup {
    let requests = vec![vec![headers(0b011), headers(0b110)], vec![headers(0b001), headers(0b101)]];
    Setup { faults, mappings: [(1, 1), (2, 2), (1, 1)], ..Setup::new(requests) }
}

fn say(name: &str, found: &Search) {
    let Search { states, deepest, most: writes, .. } = found;
    // written past the test harness, which captures what is printed
    let line = format!("model: {name}: {states} states, {deepest} transitions at most, {writes} PUTs at most\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Checks all properties, and that every schedule ends.
fn holds(name: &str, setup: Setup) -> Search {
    let found = search(&setup, |world| world.writes);
    say(name, &found);
    if let Some(cycle) = &found.cycle {
        panic!("{name}: a schedule without an end:\n{}", cycle.join("\n"));
    }
    let checker = setup.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert_eq!(checker.unique_state_count(), found.states, "{name}: two ways through all states");
    found
}

#[test]
fn without_faults_each_change_is_one_write() {
    for (name, setup) in [
        ("two replicas, four tokens", pairs(NONE)),
        ("three replicas", three(NONE)),
        ("two subjects", owners(NONE)),
        ("headers", proxies(NONE)),
        ("no confirmation", Setup { confirmation: false, ..pairs(NONE) }),
    ] {
        let most = setup.bound();
        let found = holds(name, setup);
        assert!(found.most <= most, "{name}");
    }
}

#[test]
fn two_configurations_in_a_roll_out_take_no_turns_and_the_later_one_wins() {
    for (name, setup) in [
        ("roll-out", rollout as fn(Faults) -> Setup),
        ("roll-out, newer first", rollout_backwards),
        ("roll-out, headers", rollout_of_headers),
    ] {
        let most = setup(NONE).bound();
        let found = holds(name, setup(NONE));
        assert!(found.most <= most, "{name}");
        holds(&format!("{name}, a loss"), setup(Faults { losses: 1, ..NONE }));
    }
    // with a loss there are 4.4 million states, and nothing more to see
    holds("old, new, old again", rolled_back(NONE));
    holds("roll-out, a restart", restarted(Faults { crashes: 1, ..NONE }));
    holds("roll-out, an unknown outcome", rollout(Faults { unknown: 1, ..NONE }));
    holds("roll-out, a roll-back of the store", rollout(Faults { restores: 1, ..NONE }));
    holds("roll-out, a crash", rollout_backwards(Faults { crashes: 1, ..NONE }));
    holds("roll-out, no scripting", Setup { scripting: false, ..rollout(Faults { overwrites: 1, ..NONE }) });
    holds("roll-out, a refusal", rollout(Faults { refusals: 1, ..NONE }));
}

/// Without the comparison with the stamp a lost record lets an older token bring its roles back: see `agreement::standing`.
#[test]
fn an_older_token_brings_nothing_back_when_the_record_is_lost() {
    let older_again = Setup::new(vec![vec![token(0), token(1), token(0)]]);
    holds("a loss, older again", Setup { faults: Faults { losses: 1, ..NONE }, ..older_again });
    let apart = Setup::new(vec![vec![token(0), token(0)], vec![token(1)]]);
    holds("a loss, older again elsewhere", Setup { faults: Faults { losses: 1, ..NONE }, ..apart });
}

#[test]
fn whatever_goes_wrong_the_replicas_agree() {
    for (name, faults) in [
        ("a loss", Faults { losses: 1, ..NONE }),
        ("a crash", Faults { crashes: 1, ..NONE }),
        ("an unknown outcome", Faults { unknown: 1, ..NONE }),
        ("a refusal", Faults { refusals: 1, ..NONE }),
        ("a roll-back", Faults { restores: 1, ..NONE }),
        ("a pause", Faults { pauses: 1, ..NONE }),
        ("a password changed by hand", Faults { password_changes: 1, ..NONE }),
        ("an outage", Faults { outages: 1, ..NONE }),
        ("a lost answer", Faults { lost_answers: 1, ..NONE }),
        ("a record of a later release", Faults { later_formats: 1, ..NONE }),
    ] {
        holds(name, pairs(faults));
        holds(&format!("{name}, headers"), proxies(faults));
        holds(&format!("{name}, two subjects"), owners(faults));
    }
}

#[test]
fn whatever_two_things_go_wrong_the_replicas_agree() {
    for (name, faults) in [
        ("a loss and a crash", Faults { losses: 1, crashes: 1, ..NONE }),
        ("a loss and an unknown outcome", Faults { losses: 1, unknown: 1, ..NONE }),
        ("a crash and an unknown outcome", Faults { crashes: 1, unknown: 1, ..NONE }),
        ("two unknown outcomes", Faults { unknown: 2, ..NONE }),
        ("a roll-back and an unknown outcome", Faults { restores: 1, unknown: 1, ..NONE }),
        ("a roll-back and a crash", Faults { restores: 1, crashes: 1, ..NONE }),
        ("a roll-back and a loss", Faults { restores: 1, losses: 1, ..NONE }),
        ("a refusal and a loss", Faults { refusals: 1, losses: 1, ..NONE }),
        ("a refusal and an unknown outcome", Faults { refusals: 1, unknown: 1, ..NONE }),
        ("a pause and a crash", Faults { pauses: 1, crashes: 1, ..NONE }),
        ("two outages", Faults { outages: 2, ..NONE }),
        ("an outage and a crash", Faults { outages: 1, crashes: 1, ..NONE }),
        ("an outage and an unknown outcome", Faults { outages: 1, unknown: 1, ..NONE }),
        ("an outage and a loss", Faults { outages: 1, losses: 1, ..NONE }),
        ("a lost answer and an unknown outcome", Faults { lost_answers: 1, unknown: 1, ..NONE }),
        ("a record of a later release and an unknown outcome", Faults { later_formats: 1, unknown: 1, ..NONE }),
        ("a lost answer and a loss", Faults { lost_answers: 1, losses: 1, ..NONE }),
    ] {
        holds(name, singles(faults));
    }
}

#[test]
fn three_replicas_agree_too() {
    for (name, faults) in [
        ("three replicas, a loss", Faults { losses: 1, ..NONE }),
        ("three replicas, a pause", Faults { pauses: 1, ..NONE }),
    ] {
        // without confirmation there are fewer states, and what is ready must be right
        holds(name, Setup { confirmation: false, ..three(faults) });
    }
    holds("three replicas, an outage", three(Faults { outages: 1, ..NONE }));
    holds("three replicas, a crash", three(Faults { crashes: 1, ..NONE }));
    holds("three replicas, a refusal", three(Faults { refusals: 1, ..NONE }));
    holds("three replicas, an unknown outcome", three(Faults { unknown: 1, ..NONE }));
}

/// `SET … XX GET` after a comparison: each change that happens just between the two costs a few PUTs more. If that happened in
/// every round, for ever, two replicas could overwrite each other's records for ever: see the page of `agreement`.
#[test]
fn without_scripting_each_unlucky_moment_costs_a_few_writes() {
    let unlucky = |overwrites| Faults { overwrites, ..NONE };
    for (name, setup) in [
        ("no scripting", pairs(unlucky(1))),
        ("no scripting, twice", pairs(unlucky(2))),
        ("no scripting, three times", singles(unlucky(3))),
        ("no scripting, three replicas", three(unlucky(1))),
        ("no scripting, a crash", singles(Faults { crashes: 1, ..unlucky(1) })),
        ("no scripting, a refusal", pairs(Faults { refusals: 1, ..unlucky(1) })),
        ("no scripting, two subjects", owners(unlucky(1))),
    ] {
        holds(name, Setup { scripting: false, ..setup });
    }
}

#[test]
fn without_confirmation_a_write_that_lands_late_is_not_noticed() {
    let unnoticed = |setup: Setup| {
        let checker = Setup { confirmation: false, ..setup }.checker().threads(2).spawn_bfs().join();
        let trace = checker.assert_any_discovery(AGREEMENT).into_actions();
        let violated: Vec<_> =
            checker.discoveries().into_keys().filter(|name| ![AGREEMENT, REPAIR].contains(name)).collect();
        assert!(violated.is_empty(), "{violated:?}");
        let line = format!("model: without confirmation: {trace:?}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    };
    unnoticed(singles(Faults { unknown: 1, ..NONE }));
    unnoticed(singles(Faults { crashes: 1, ..NONE }));
}

/// The limit of what a PUT without a condition allows. Both subjects have inspected the user before either of them was written,
/// the record of the one is lost, the other's PUT is applied after the loss, and the debt for it is not paid: its sender ended
/// or got no answer, or that record was lost too. The user is then the other subject's, and stays so: the first one is refused,
/// which the log shows.
#[test]
fn two_subjects_can_lose_a_new_name_to_each_other_only_by_a_loss_and_a_second_fault_together() {
    for faults in [
        Faults { losses: 1, crashes: 1, ..NONE },
        Faults { losses: 1, unknown: 1, ..NONE },
        Faults { losses: 2, ..NONE },
    ] {
        let checker = owners(faults).checker().threads(2).spawn_bfs().join();
        checker.assert_any_discovery(OWNER);
        let violated = checker.discoveries().into_keys().filter(|name| ![OWNER, SERVES, REPAIR].contains(name)).count();
        assert_eq!(violated, 0, "nothing else is lost");
    }
    for (name, faults) in [
        ("two crashes", Faults { crashes: 2, ..NONE }),
        ("an unknown outcome and a crash", Faults { unknown: 1, crashes: 1, ..NONE }),
        ("a pause and a crash", Faults { pauses: 1, crashes: 1, ..NONE }),
    ] {
        holds(&format!("two subjects, {name}"), owners(faults));
    }
}
