//! What must hold of the refresh of sessions in every interleaving and with every fault. Every number of states is printed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;

use elastauth_model::cycles::search;
use elastauth_model::refresh::{Faults, Setup};
use stateright::{Checker, Model as _};

const NONE: Faults = Faults {
    crashes: 0,
    lost_answers: 0,
    silences: 0,
    outages: 0,
    revocations: 0,
    store_failures: 0,
    losses: 0,
    restores: 0,
    pauses: 0,
};

/// Checks all properties, and that every schedule ends.
fn holds(name: &str, setup: Setup) {
    let found = search(&setup, |_| 0);
    // written past the test harness, which captures what is printed
    let line = format!("model: refresh, {name}: {} states, {} transitions at most\n", found.states, found.deepest);
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(cycle) = &found.cycle {
        panic!("{name}: a schedule without an end:\n{}", cycle.join("\n"));
    }
    let checker = setup.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    assert_eq!(checker.unique_state_count(), found.states, "{name}: two ways through all states");
}

#[test]
fn without_faults_three_replicas_redeem_each_token_once() {
    holds("no faults", Setup { attempts: [2; 3], dues: 2, ..Setup::new(NONE) });
    holds("no faults, no rotation", Setup { rotates: false, attempts: [2; 3], dues: 2, ..Setup::new(NONE) });
}

#[test]
fn whatever_goes_wrong_costs_at_most_one_login() {
    for (name, faults) in [
        ("a crash", Faults { crashes: 1, ..NONE }),
        ("a lost answer", Faults { lost_answers: 1, ..NONE }),
        ("no answer", Faults { silences: 1, ..NONE }),
        ("an outage", Faults { outages: 1, ..NONE }),
        ("a revocation", Faults { revocations: 1, ..NONE }),
        ("a failure of the store", Faults { store_failures: 1, ..NONE }),
        ("a loss", Faults { losses: 1, ..NONE }),
        ("a roll-back", Faults { restores: 1, ..NONE }),
        ("a pause", Faults { pauses: 1, ..NONE }),
    ] {
        let setup = Setup { dues: 2, attempts: [2, 1, 1], ..Setup::new(faults) };
        holds(name, setup);
        holds(&format!("{name}, no rotation"), Setup { rotates: false, ..setup });
    }
}

#[test]
fn whatever_two_things_go_wrong_cost_at_most_two() {
    for (name, faults) in [
        ("two crashes", Faults { crashes: 2, ..NONE }),
        ("a crash and a failure of the store", Faults { crashes: 1, store_failures: 1, ..NONE }),
        ("a crash and a pause", Faults { crashes: 1, pauses: 1, ..NONE }),
        ("a crash and a lost answer", Faults { crashes: 1, lost_answers: 1, ..NONE }),
        ("no answer, twice", Faults { silences: 2, ..NONE }),
        ("two failures of the store", Faults { store_failures: 2, ..NONE }),
        ("a pause and a failure of the store", Faults { pauses: 1, store_failures: 1, ..NONE }),
        ("a loss and a crash", Faults { losses: 1, crashes: 1, ..NONE }),
        ("a roll-back and a crash", Faults { restores: 1, crashes: 1, ..NONE }),
        ("two pauses", Faults { pauses: 2, ..NONE }),
        ("a pause and a lost answer", Faults { pauses: 1, lost_answers: 1, ..NONE }),
    ] {
        holds(name, Setup { attempts: [2, 1, 1], ..Setup::new(faults) });
    }
}
