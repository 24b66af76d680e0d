//! The stamp of the user in Elasticsearch takes part in the agreement.

use super::order::*;
use crate::credentials::agreement::*;
use crate::credentials::record::Phase;
use crate::credentials::{Existing, Ours, Password, Refused};
use crate::identity::{AsOf, Millis};
use crate::roles::Roles;

fn stamp(role: &str, as_of: Millis) -> Event {
    let stamp = Standing { mapping: THIS, as_of, roles: Roles::new([role]) };
    Event::Inspected(Ok(Existing::Ours(Ours { standing: Some(stamp), copy: None })))
}

/// The state of a run that inspects the user because the caller's record is gone.
fn inspecting(as_of: AsOf) -> State {
    let (state, _) = step(State::new(ME, entitlement("admins", as_of)), Event::Start);
    let (state, _) = step(state, Event::Absent(Fresh { password: Password::known("p".into()), born: 50 }));
    let (state, action) = step(state, Event::Created);
    assert!(matches!(action, Action::Inspect { .. }), "{action:?}");
    state
}

#[test]
fn newer_roles_of_the_stamp_are_agreed_and_then_written() {
    let (state, action) = step(inspecting(AsOf::At(10)), stamp("developers", 20));
    let Action::Replace(agreed, Life::Lease) = action else { panic!("{action:?}") };
    assert_eq!((agreed.roles.to_string().as_str(), agreed.as_of), ("developers", 20));
    let (_, action) = step(state, Event::Replaced(Swap::Yes));
    assert_eq!(action, Action::Write { record: agreed, with_password: true }, "without another inspection");
}

#[test]
fn a_stamp_that_is_as_old_or_older_is_overwritten() {
    for as_of in [10, 9] {
        let (_, action) = step(inspecting(AsOf::At(10)), stamp("developers", as_of));
        assert!(matches!(&action, Action::Write { record, .. } if record.as_of == 10), "{as_of}: {action:?}");
    }
}

#[test]
fn roles_without_a_time_are_dated_after_the_stamp() {
    let (_, action) = step(inspecting(AsOf::Now), stamp("developers", 70));
    let Action::Replace(agreed, Life::Lease) = action else { panic!("{action:?}") };
    assert_eq!((agreed.roles.to_string().as_str(), agreed.as_of), ("admins", 71));
}

#[test]
fn a_write_that_was_outranked_while_it_waited_inspects_again() {
    let (state, _) = step(inspecting(AsOf::At(10)), Event::Inspected(Ok(Existing::Absent)));
    let (state, action) = step(state, Event::Written(Err(WriteFailure::Outranked)));
    assert!(matches!(action, Action::Inspect { .. }), "{action:?}");
    let (_, action) = step(state, stamp("developers", 20));
    assert!(matches!(action, Action::Replace(record, _) if record.as_of == 20));
}

#[test]
fn an_outage_after_newer_roles_were_agreed_does_not_put_the_old_record_back() {
    let (state, _) = step(State::renew(ME, record("admins", 10, Phase::Ready)), Event::Start);
    let found = Event::Found { record: record("admins", 10, Phase::Ready), lease_expired: false, observation: at(50) };
    let (state, _) = step(state, found);
    let (state, _) = step(state, Event::Replaced(Swap::Yes));
    let (state, _) = step(state, stamp("developers", 20));
    let (state, _) = step(state, Event::Replaced(Swap::Yes));
    let (_, action) = step(state, Event::Written(Err(WriteFailure::Unfinished)));
    assert_eq!(action, Action::Finish(Outcome::Unavailable));
}

#[test]
fn a_refusal_after_newer_roles_were_agreed_removes_the_record_that_was_made() {
    let (state, _) = step(inspecting(AsOf::At(10)), stamp("developers", 20));
    let (state, _) = step(state, Event::Replaced(Swap::Yes));
    let (_, action) = step(state, Event::Written(Err(WriteFailure::Refused(Refused::Rejected))));
    assert_eq!(action, Action::Remove);
}

#[test]
fn a_record_that_another_replica_changed_meanwhile_is_not_removed_by_a_refusal() {
    let (state, _) = step(inspecting(AsOf::At(10)), stamp("developers", 20));
    let (state, action) = step(state, Event::Replaced(Swap::Changed));
    assert_eq!(action, Action::Get);
    let mine = Phase::Pending { holder: ME, again: false, password_known: false };
    let found = Event::Found { record: record("developers", 20, mine), lease_expired: false, observation: at(60) };
    let (state, _) = step(state, found);
    let (_, action) = step(state, Event::Inspected(Err(Failure::Refused(Refused::Rejected))));
    assert_eq!(action, Action::Finish(Outcome::Refused(Refused::Rejected)));
}
