//! Computes the state of the world after a transition.

use elastauth::login::refresh::{Action, Event, Found, State, Swap, step};

use super::{Attempt, Fate, Record, Setup, Token, Transition, World};

pub(super) fn after(setup: &Setup, world: &World, transition: Transition) -> World {
    let mut world = *world;
    match transition {
        Transition::Begin(i) => {
            let login = world.stored.unwrap().token.login;
            let replica = &mut world.replicas[i];
            replica.begun += 1;
            let (state, action) = step(State::new(replica.id(i)), Event::Start);
            replica.attempt = Some(Attempt {
                state,
                action,
                login,
                read: None,
                read_overdue: false,
                fresh: false,
                asking: None,
                received: None,
            });
        }
        Transition::Step(i) => {
            if let Some(event) = world.perform(i) {
                world.deliver(i, event);
            }
        }
        Transition::LoseAnswer(i) => {
            world.faults_left.store_failures -= 1;
            let read = world.attempt(i).read;
            if world.perform(i).is_some() {
                // it does not know that it wrote
                world.attempt(i).read = read;
                world.deliver(i, Event::StoreFailed);
            }
        }
        Transition::FailStore(i) => {
            world.faults_left.store_failures -= 1;
            world.deliver(i, Event::StoreFailed);
        }
        Transition::Ask(i) => {
            let token = world.attempt(i).read.unwrap().token;
            let asked = world.attempts().any(|attempt| attempt.asking == Some(token));
            world.two_at_once |= asked;
            world.reused |= setup.rotates && token.number < world.stored_up_to[usize::from(token.login)];
            world.attempt(i).asking = Some(token);
        }
        Transition::Down(i) => {
            world.faults_left.outages -= 1;
            world.deliver(i, Event::NotSent);
        }
        Transition::Answer(i, fate) => world.answer(setup, i, fate),
        Transition::Crash(i, redeemed) => {
            world.faults_left.crashes -= 1;
            if let (true, Some(token)) = (redeemed, world.attempt(i).asking) {
                let _lost = world.redeem(setup, token);
            }
            world.replicas[i].attempt = None;
        }
        Transition::ExpireLease => world.overdue = true,
        Transition::Pause => {
            world.faults_left.pauses -= 1;
            world.overdue = true;
            for attempt in world.replicas.iter_mut().filter_map(|replica| replica.attempt.as_mut()) {
                attempt.fresh = false;
            }
        }
        Transition::Age => {
            world.dues_left -= 1;
            world.stored = world.stored.map(|record| Record { due: true, ..record });
        }
        Transition::LogOut => {
            world.logged_out = true;
            world.lose();
        }
        Transition::LogIn => world.log_in(),
        Transition::Revoke => {
            world.faults_left.revocations -= 1;
            let token = world.stored.unwrap().token;
            world.good[usize::from(token.login)] = None;
        }
        Transition::Lose => {
            world.faults_left.losses -= 1;
            world.lose();
        }
        Transition::Dump => world.dump = world.stored,
        Transition::Restore => {
            world.faults_left.restores -= 1;
            world.stored = world.dump.take();
            world.overdue = world.stored.is_some_and(|record| record.claim.is_some());
            world.restored = true;
        }
    }
    world
}

impl World {
    pub(super) fn log_in(&mut self) {
        let token = Token { login: self.logins, number: 0 };
        self.good[usize::from(token.login)] = Some(0);
        self.logins += 1;
        self.stored = Some(Record { token, generation: 0, due: false, claim: None });
        self.overdue = false;
    }

    fn lose(&mut self) {
        (self.stored, self.overdue) = (None, false);
    }

    /// The session that the replica's attempt is for. Another login has another record.
    fn seen_by(&self, i: usize) -> Option<Record> {
        let login = self.replicas[i].attempt?.login;
        self.stored.filter(|record| record.token.login == login)
    }

    fn attempt(&mut self, i: usize) -> &mut Attempt {
        self.replicas[i].attempt.as_mut().unwrap()
    }

    fn deliver(&mut self, i: usize, event: Event) {
        let attempt = self.attempt(i);
        (attempt.state, attempt.action) = step(attempt.state, event);
        if matches!(attempt.action, Action::Finish(_)) {
            self.replicas[i].attempt = None;
        }
    }

    /// What the provider does with a token: its successor, or a refusal.
    fn redeem(&mut self, setup: &Setup, token: Token) -> Option<Token> {
        let good = &mut self.good[usize::from(token.login)];
        if *good != Some(token.number) {
            // reuse: nothing of this session is good any more
            *good = None;
            return None;
        }
        let next = if setup.rotates { token.number + 1 } else { token.number };
        *good = Some(next);
        Some(Token { number: next, ..token })
    }

    fn answer(&mut self, setup: &Setup, i: usize, fate: Fate) {
        let token = self.attempt(i).asking.take().unwrap();
        match fate {
            Fate::Answered => {
                let received = self.redeem(setup, token);
                self.attempt(i).received = received;
                self.deliver(i, if received.is_some() { Event::Renewed } else { Event::Refused });
            }
            Fate::Lost => {
                self.faults_left.lost_answers -= 1;
                let _lost = self.redeem(setup, token);
                self.deliver(i, Event::Unknown);
            }
            Fate::Silence => {
                self.faults_left.silences -= 1;
                self.deliver(i, Event::Unknown);
            }
        }
    }

    /// What the store, or the driver, does with the replica's action.
    fn perform(&mut self, i: usize) -> Option<Event> {
        let (stored, overdue) = (self.seen_by(i), self.overdue);
        let attempt = self.attempt(i);
        Some(match attempt.action {
            Action::Read => {
                (attempt.read, attempt.read_overdue) = (stored, overdue);
                stored.map_or(Event::Missing, |record| {
                    Event::Found(Found {
                        generation: record.generation.into(),
                        due: record.due,
                        claim: record.claim,
                        overdue,
                    })
                })
            }
            Action::Claim(claim) => {
                attempt.fresh = true;
                let new = attempt.read.map(|record| Record { claim: Some(claim), ..record });
                self.replace(i, new)
            }
            Action::Store => {
                let received = attempt.received.unwrap();
                let new = attempt.read.map(|record| Record {
                    token: received,
                    generation: record.generation + 1,
                    due: false,
                    claim: None,
                });
                let second = attempt.read.and_then(|record| record.claim).is_some_and(|claim| claim.attempt > 1);
                let swapped = self.replace(i, new);
                if swapped == Event::Swapped(Swap::Yes) {
                    self.took_over |= second;
                    let up_to = &mut self.stored_up_to[usize::from(received.login)];
                    *up_to = (*up_to).max(received.number);
                }
                swapped
            }
            Action::Release => {
                let new = attempt.read.map(|record| Record { claim: None, ..record });
                self.replace(i, new)
            }
            Action::End => self.replace(i, None),
            Action::Redeem => Event::LeaseTooShort,
            Action::Wait => Event::Waited,
            Action::Finish(_) => return None,
        })
    }

    /// Compare and set, or compare and delete.
    fn replace(&mut self, i: usize, new: Option<Record>) -> Event {
        let (stored, attempt) = (self.seen_by(i), self.attempt(i));
        Event::Swapped(match (stored, new) {
            (None, _) => Swap::Missing,
            (stored, _) if stored != attempt.read => Swap::Changed,
            (_, new) => {
                (attempt.read, attempt.read_overdue) = (new, false);
                (self.stored, self.overdue) = (new, false);
                Swap::Yes
            }
        })
    }
}
