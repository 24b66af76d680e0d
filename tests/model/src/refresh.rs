//! Checks the refresh of a session's tokens in the same way: the production code of `elastauth::login::refresh`, every interleaving
//! of three replicas over one store and one provider, and every fault at any moment.
//!
//! A replica begins attempts because of the requests of some tab; those that come while one is under way join it. The provider gives
//! each refresh token a successor, and revokes the session where a token is redeemed twice; another one leaves the token as it is. A
//! session that was ended otherwise than by a logout is followed by another login, which is counted.
//!
//! Time is coarse: a lease ends when its holder is gone, or as a fault ([`Faults::pauses`]); never while the provider is asked, since
//! the driver asks only with a lease that lasts longer. The near cache and markers of logouts have tests of their own.

use std::fmt;

use elastauth::login::refresh::{Action, State};
use elastauth::login::{Claim, ClaimId};
use stateright::{Model, Property};

mod effects;

use effects::after;

/// The number of replicas.
pub const REPLICAS: usize = 3;
/// The largest number of logins.
const LOGINS: usize = 4;

/// The property that the provider sees one redemption at a time.
pub const ONE_AT_A_TIME: &str = "a refresh token is never redeemed by two at once";
/// The property that no redeemed token comes back.
pub const NO_REUSE: &str = "a refresh token is never redeemed after its successor is stored";
/// The property that a logout is for good.
pub const ENDED: &str = "an ended session never comes back, unless the store was rolled back";
/// The property about the price of a fault.
pub const LOGINS_ARE_PAID: &str = "each fault costs at most one login";
/// The property that each attempt ends.
pub const ENDS: &str = "every schedule ends with every attempt ended";
/// The property that a claim is taken over.
pub const TAKES_OVER: &str = "an attempt that takes over a claim renews the tokens";

/// How often each fault may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// The process of a replica ends at any step, also while the provider is asked, which then may have redeemed the token.
    pub crashes: u8,
    /// The provider redeems the token, and its answer is lost.
    pub lost_answers: u8,
    /// The provider redeems nothing, and gives no answer.
    pub silences: u8,
    /// The provider cannot be asked.
    pub outages: u8,
    /// The provider revokes the session.
    pub revocations: u8,
    /// The store does not answer; what it was asked is done or not.
    pub store_failures: u8,
    /// The store loses the session.
    pub losses: u8,
    /// A former record comes back to the store.
    pub restores: u8,
    /// A lease ends while its holder stands still.
    pub pauses: u8,
}

/// One case to explore.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How many attempts each replica begins at most.
    pub attempts: [u8; REPLICAS],
    /// How often tokens become due.
    pub dues: u8,
    /// The faults that may happen.
    pub faults: Faults,
    /// Whether the person may log out.
    pub logout: bool,
    /// Whether the provider exchanges refresh tokens, and detects their reuse.
    pub rotates: bool,
}

/// A refresh token: that of a login, and after so many exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    login: u8,
    number: u8,
}

/// The session in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    token: Token,
    generation: u8,
    due: bool,
    claim: Option<Claim>,
}

/// An attempt that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    state: State,
    action: Action,
    /// The login of its session.
    login: u8,
    /// The record that it last read or wrote.
    read: Option<Record>,
    /// Whether the lease of the claim in it had ended.
    read_overdue: bool,
    /// Whether the rest of its own lease is long enough for a request.
    fresh: bool,
    /// The token that the provider has been asked to redeem, and has not answered.
    asking: Option<Token>,
    /// The token that the provider gave.
    received: Option<Token>,
}

/// One process of elastauth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Replica {
    begun: u8,
    attempt: Option<Attempt>,
}

/// Everything that distinguishes one state from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on one another")]
pub struct World {
    replicas: [Replica; REPLICAS],
    stored: Option<Record>,
    /// Whether the lease of the claim in the store has ended.
    overdue: bool,
    dump: Option<Record>,
    /// The good token of each login; none where the session was revoked.
    good: [Option<u8>; LOGINS],
    logins: u8,
    dues_left: u8,
    faults_left: Faults,
    /// The latest token of each login that was stored; those of before have a successor.
    stored_up_to: [u8; LOGINS],
    logged_out: bool,
    /// A former record came back to the store.
    restored: bool,
    /// Two replicas asked with one token at the same time.
    two_at_once: bool,
    /// A token was redeemed after its successor was stored.
    reused: bool,
    /// A claim was taken over, and the tokens were renewed.
    took_over: bool,
}

/// What becomes of a request to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It is done, and the answer is lost.
    Lost,
    /// It is not done, and there is no answer.
    Silence,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// A request at this replica finds that the tokens are due.
    Begin(usize),
    /// This replica takes its next step.
    Step(usize),
    /// As `Step`, and its answer is lost.
    LoseAnswer(usize),
    /// The store does not do what this replica asks for.
    FailStore(usize),
    /// This replica asks the provider.
    Ask(usize),
    /// This replica cannot ask the provider.
    Down(usize),
    /// The request of this replica to the provider ends in this way.
    Answer(usize, Fate),
    /// The process of this replica ends; a request that was on its way was redeemed, or not.
    Crash(usize, bool),
    /// A lease ends because its holder does nothing.
    ExpireLease,
    /// A lease ends while its holder stands still.
    Pause,
    /// Tokens become due.
    Age,
    /// The person logs out.
    LogOut,
    /// The person logs in once more.
    LogIn,
    /// The provider revokes the session.
    Revoke,
    /// The record is lost.
    Lose,
    /// A dump is taken.
    Dump,
    /// The dump is restored.
    Restore,
}

impl Setup {
    /// One attempt at each of three replicas, at a provider that rotates, and a logout at any moment.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { attempts: [1; REPLICAS], dues: 1, faults, logout: true, rotates: true }
    }

    fn faults(&self) -> u8 {
        let Faults { crashes, lost_answers, silences, outages, revocations, .. } = self.faults;
        let Faults { store_failures, losses, restores, pauses, .. } = self.faults;
        crashes + lost_answers + silences + outages + revocations + store_failures + losses + restores + pauses
    }
}

impl Attempt {
    /// Whether the waiting attempt is told of a change, or reads again by itself.
    fn wakes(&self, world: &World) -> bool {
        (world.stored, world.overdue) != (self.read, self.read_overdue)
    }

    fn acts(&self, world: &World) -> bool {
        self.action != Action::Wait || self.wakes(world)
    }
}

impl World {
    fn start(setup: &Setup) -> Self {
        let mut world = Self {
            replicas: [Replica::default(); REPLICAS],
            stored: None,
            overdue: false,
            dump: None,
            good: [None; LOGINS],
            logins: 0,
            dues_left: setup.dues,
            faults_left: setup.faults,
            stored_up_to: [0; LOGINS],
            logged_out: false,
            restored: false,
            two_at_once: false,
            reused: false,
            took_over: false,
        };
        world.log_in();
        world
    }

    fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.replicas.iter().filter_map(|replica| replica.attempt.as_ref())
    }

    /// Whether the holder of the claim in the store does nothing about it.
    fn abandoned(&self) -> bool {
        let Some(claim) = self.stored.and_then(|record| record.claim) else { return false };
        let acts = |(i, replica): (usize, &Replica)| {
            replica.attempt.is_some_and(|attempt| replica.id(i) == claim.id && attempt.acts(self))
        };
        !self.replicas.iter().enumerate().any(acts)
    }

    fn provider_is_asked(&self) -> bool {
        self.attempts().any(|attempt| attempt.asking.is_some())
    }
}

impl Replica {
    /// The id of its attempt, which no other one has.
    fn id(&self, i: usize) -> ClaimId {
        ClaimId(10 * u128::from(self.begun) + i as u128)
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overdue = if self.overdue { " (overdue)" } else { "" };
        write!(f, "stored {:?}{overdue}; good at the provider: {:?}; ", self.stored, self.good)?;
        self.attempts().try_for_each(|attempt| write!(f, "{attempt:?}; "))
    }
}

fn transitions(setup: &Setup, world: &World, transitions: &mut Vec<Transition>) {
    let left = &world.faults_left;
    for (i, replica) in world.replicas.iter().enumerate() {
        let Some(attempt) = &replica.attempt else {
            if replica.begun < setup.attempts[i] && world.stored.is_some_and(|record| record.due) {
                transitions.push(Transition::Begin(i));
            }
            continue;
        };
        if attempt.asking.is_some() {
            transitions.push(Transition::Answer(i, Fate::Answered));
            if left.lost_answers > 0 {
                transitions.push(Transition::Answer(i, Fate::Lost));
            }
            if left.silences > 0 {
                transitions.push(Transition::Answer(i, Fate::Silence));
            }
        } else if attempt.action == Action::Redeem && attempt.fresh {
            transitions.push(Transition::Ask(i));
            if left.outages > 0 {
                transitions.push(Transition::Down(i));
            }
        } else if attempt.acts(world) {
            transitions.push(Transition::Step(i));
            if left.store_failures > 0 && !matches!(attempt.action, Action::Wait | Action::Redeem) {
                transitions.push(Transition::FailStore(i));
                if attempt.action != Action::Read {
                    transitions.push(Transition::LoseAnswer(i));
                }
            }
        }
        if left.crashes > 0 {
            transitions.push(Transition::Crash(i, false));
            if attempt.asking.is_some() {
                transitions.push(Transition::Crash(i, true));
            }
        }
    }
    let record = world.stored;
    let claimed = record.is_some_and(|record| record.claim.is_some());
    let due = record.is_some_and(|record| record.due);
    // the browser has the cookie of the last login only
    let former = world.dump.is_some_and(|record| record.token.login + 1 == world.logins);
    for (may, transition) in [
        (claimed && !world.overdue && world.abandoned(), Transition::ExpireLease),
        (claimed && !world.overdue && left.pauses > 0 && !world.provider_is_asked(), Transition::Pause),
        (record.is_some() && !due && !claimed && world.dues_left > 0, Transition::Age),
        (setup.logout && record.is_some() && !world.logged_out, Transition::LogOut),
        (record.is_none() && !world.logged_out && usize::from(world.logins) < LOGINS, Transition::LogIn),
        (left.revocations > 0 && record.is_some(), Transition::Revoke),
        (left.losses > 0 && record.is_some(), Transition::Lose),
        (left.restores > 0 && world.dump.is_none() && record.is_some(), Transition::Dump),
        (left.restores > 0 && former && world.dump != record, Transition::Restore),
    ] {
        if may {
            transitions.push(transition);
        }
    }
}

impl Model for Setup {
    type State = World;
    type Action = Transition;

    fn init_states(&self) -> Vec<World> {
        vec![World::start(self)]
    }

    fn actions(&self, world: &World, into: &mut Vec<Transition>) {
        transitions(self, world, into);
    }

    fn next_state(&self, world: &World, transition: Transition) -> Option<World> {
        Some(after(self, world, transition))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_AT_A_TIME, |_, world: &World| !world.two_at_once || world.restored),
            Property::always(NO_REUSE, |_, world: &World| !world.reused || world.restored),
            Property::always(ENDED, |_, world: &World| !world.logged_out || world.stored.is_none() || world.restored),
            Property::always(LOGINS_ARE_PAID, |setup: &Setup, world: &World| {
                let happened = setup.faults() - Setup { faults: world.faults_left, ..*setup }.faults();
                world.logins <= 1 + happened
            }),
            Property::always("without a fault the stored token is good", sound),
            Property::always(ENDS, |setup: &Setup, world: &World| {
                let mut next = Vec::new();
                transitions(setup, world, &mut next);
                !next.is_empty() || world.attempts().count() == 0
            }),
            Property::sometimes(TAKES_OVER, |setup: &Setup, world: &World| {
                world.took_over || setup.faults.crashes + setup.faults.silences == 0
            }),
        ]
    }
}

/// A stored token without a claim that is not good means a login later, which some fault must have caused.
fn sound(setup: &Setup, world: &World) -> bool {
    let Some(Record { token, claim: None, .. }) = world.stored else { return true };
    world.faults_left != setup.faults || world.good[usize::from(token.login)] == Some(token.number)
}
