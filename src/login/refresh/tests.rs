use super::*;

const ME: ClaimId = ClaimId(1);
const OTHER: ClaimId = ClaimId(2);

fn claim(id: ClaimId, attempt: u32) -> Claim {
    Claim { id, attempt }
}

fn found(generation: u64, claim: Option<Claim>, overdue: bool) -> Event {
    Event::Found(Found { generation, due: true, claim, overdue })
}

/// The action after these events.
fn after(events: &[Event]) -> Action {
    let begun = step(State::new(ME), Event::Start);
    assert_eq!(begun.1, Action::Read);
    events.iter().fold(begun, |(state, _), event| step(state, *event)).1
}

const DUE: Event = Event::Found(Found { generation: 5, due: true, claim: None, overdue: false });
const YES: Event = Event::Swapped(Swap::Yes);
const CHANGED: Event = Event::Swapped(Swap::Changed);
const MISSING: Event = Event::Swapped(Swap::Missing);

#[test]
fn the_provider_is_asked_between_a_claim_and_the_write_of_its_answer() {
    for (events, action) in [
        (&[DUE][..], Action::Claim(claim(ME, 1))),
        (&[DUE, YES], Action::Redeem),
        (&[DUE, YES, Event::Renewed], Action::Store),
        (&[DUE, YES, Event::Renewed, YES], Action::Finish(Outcome::Renewed)),
        (&[DUE, YES, Event::Refused], Action::End),
        (&[DUE, YES, Event::Refused, YES], Action::Finish(Outcome::Refused)),
        (&[DUE, YES, Event::NotSent], Action::Release),
        (&[DUE, YES, Event::NotSent, YES], Action::Finish(Outcome::NotSent)),
        (&[DUE, YES, Event::NotSent, Event::StoreFailed], Action::Finish(Outcome::NotSent)),
        (&[DUE, YES, Event::Unknown], Action::Finish(Outcome::Unanswered)),
        (&[DUE, YES, Event::LeaseTooShort], Action::Claim(claim(ME, 2))),
    ] {
        assert_eq!(after(events), action, "{events:?}");
    }
}

#[test]
fn a_claim_of_another_attempt_is_waited_for_and_taken_over_when_it_is_overdue() {
    let fresh = Event::Found(Found { generation: 6, due: false, claim: None, overdue: false });
    for (events, action) in [
        (&[found(5, Some(claim(OTHER, 1)), false)][..], Action::Wait),
        (&[found(5, Some(claim(OTHER, 1)), false), Event::Waited], Action::Read),
        (&[found(5, Some(claim(OTHER, 1)), true)], Action::Claim(claim(ME, 2))),
        (&[found(5, Some(claim(OTHER, 2)), true)], Action::Claim(claim(ME, 3))),
        (&[found(5, Some(claim(OTHER, u32::MAX)), true)], Action::Claim(claim(ME, u32::MAX))),
        (&[DUE, CHANGED], Action::Read),
        (&[DUE, CHANGED, fresh], Action::Finish(Outcome::Fresh)),
        (&[fresh], Action::Finish(Outcome::Fresh)),
    ] {
        assert_eq!(after(events), action, "{events:?}");
    }
}

#[test]
fn a_session_that_has_ended_stays_ended() {
    for events in [
        &[Event::Missing][..],
        &[DUE, MISSING],
        &[DUE, Event::StoreFailed, Event::Missing],
        &[DUE, YES, Event::Renewed, MISSING],
        &[DUE, YES, Event::Renewed, CHANGED, Event::Missing],
        &[DUE, YES, Event::Renewed, Event::StoreFailed, Event::Missing],
        &[DUE, YES, Event::Refused, MISSING],
        &[DUE, YES, Event::LeaseTooShort, MISSING],
    ] {
        assert_eq!(after(events), Action::Finish(Outcome::Ended), "{events:?}");
    }
}

#[test]
fn a_write_without_an_answer_is_read_before_anything_else_is_done() {
    let mine = found(5, Some(claim(ME, 1)), false);
    let stored = Event::Found(Found { generation: 6, due: false, claim: None, overdue: false });
    for (events, action) in [
        (&[DUE, Event::StoreFailed][..], Action::Read),
        (&[DUE, Event::StoreFailed, mine], Action::Redeem),
        (&[DUE, Event::StoreFailed, DUE], Action::Claim(claim(ME, 1))),
        (&[DUE, Event::StoreFailed, found(5, Some(claim(ME, 1)), true)], Action::Claim(claim(ME, 2))),
        (&[DUE, Event::StoreFailed, Event::StoreFailed], Action::Finish(Outcome::StoreFailed)),
        (&[DUE, YES, Event::Renewed, Event::StoreFailed], Action::Read),
        (&[DUE, YES, Event::Renewed, Event::StoreFailed, Event::StoreFailed], Action::Read),
        (&[DUE, YES, Event::Renewed, Event::StoreFailed, mine], Action::Store),
        (&[DUE, YES, Event::Renewed, Event::StoreFailed, stored], Action::Finish(Outcome::Renewed)),
        (&[DUE, YES, Event::Refused, Event::StoreFailed, mine], Action::End),
        (&[DUE, YES, Event::Refused, CHANGED, stored], Action::Finish(Outcome::Fresh)),
    ] {
        assert_eq!(after(events), action, "{events:?}");
    }
}

#[test]
fn tokens_that_came_after_a_take_over_are_dropped_and_those_of_a_rolled_back_record_are_not() {
    let taken_over = found(5, Some(claim(OTHER, 2)), false);
    for (events, action) in [
        (&[DUE, YES, Event::Renewed, CHANGED, taken_over][..], Action::Wait),
        (&[DUE, YES, Event::Renewed, CHANGED, taken_over, Event::Waited, DUE], Action::Claim(claim(ME, 1))),
        (&[DUE, YES, Event::Refused, CHANGED, taken_over], Action::Wait),
        // as it was before the claim
        (&[DUE, YES, Event::Renewed, CHANGED, DUE], Action::Store),
        (&[DUE, YES, Event::Renewed, CHANGED, found(4, None, false)], Action::Store),
        (&[DUE, YES, Event::Refused, CHANGED, DUE], Action::End),
    ] {
        assert_eq!(after(events), action, "{events:?}");
    }
}

#[test]
fn an_attempt_owes_the_store_what_the_provider_has_answered() {
    let mut state = State::new(ME);
    for (event, owes) in [
        (Event::Start, false),
        (DUE, false),
        (YES, false),
        (Event::Renewed, true),
        (Event::StoreFailed, true),
        (found(5, Some(claim(ME, 1)), false), true),
        (YES, false),
    ] {
        (state, _) = step(state, event);
        assert_eq!(state.owes(), owes, "{event:?}");
    }
}
