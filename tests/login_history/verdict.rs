//! The rules that must hold of a history, with every fault in it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use elastauth_support::scripted_provider::Redemption;

use crate::at;
use crate::record::{Asked, Outcome, Session, Trouble, What};
use crate::world::World;

/// The end of a session is felt at every replica after this time.
const FELT: Duration = Duration::from_secs(1);
/// What a machine with other load adds to it.
const LOADED: Duration = Duration::from_millis(500);
/// A process that was killed or frozen this soon after the provider's answer may not have stored it.
const DIGESTION: Duration = Duration::from_secs(2);

/// A replica that can reach Redis again asks it after this time.
const RECOVERY: Duration = Duration::from_secs(1);

pub struct Verdict {
    pub violations: Vec<String>,
    pub summary: String,
}

struct Judge<'a> {
    world: &'a World,
    sessions: Vec<Session>,
    troubles: Vec<Trouble>,
}

pub fn judge(world: &World) -> Verdict {
    let sessions = world.sessions.lock().unwrap().clone();
    let troubles = world.troubles.lock().unwrap().clone();
    let asked = world.asked.lock().unwrap().clone();
    let redemptions = world.provider.redemptions();
    let judge = Judge { world, sessions, troubles };
    let mut violations = world.failed_logins.lock().unwrap().clone();
    violations.extend(asked.iter().filter_map(|asked| judge.request(asked)));
    let mut by_login: HashMap<&str, Vec<&Redemption>> = HashMap::new();
    for redemption in &redemptions {
        by_login.entry(&redemption.sid).or_default().push(redemption);
    }
    let mut permitted = 0;
    for of_one in by_login.values() {
        let (wrong, doubles) = judge.redemptions(of_one);
        violations.extend(wrong);
        permitted += doubles;
    }
    let count = |which: fn(&Outcome) -> bool| asked.iter().filter(|asked| which(&asked.outcome)).count();
    let mut summary = String::new();
    write!(
        summary,
        "{} requests: {} in, {} out, {} unavailable, {} lost; {} logins, {} refreshes, {permitted} repeated after a fault; \
         {} ends; {:?}",
        asked.len(),
        count(|outcome| matches!(outcome, Outcome::In(_))),
        count(|outcome| *outcome == Outcome::Out),
        count(|outcome| *outcome == Outcome::Unavailable),
        count(|outcome| *outcome == Outcome::Lost),
        judge.sessions.len(),
        redemptions.iter().filter(|redemption| redemption.generation > 0).count(),
        judge.sessions.iter().flat_map(|session| &session.ends).filter(|end| end.done.is_some()).count(),
        judge.troubles.iter().filter(|trouble| trouble.what != What::Busy).map(|trouble| (trouble.what, at(world, trouble.from))).collect::<Vec<_>>(),
    )
    .unwrap();
    Verdict { violations, summary }
}

impl Judge<'_> {
    fn request(&self, asked: &Asked) -> Option<String> {
        let session = &self.sessions[asked.session];
        let person = session.person;
        let when = || format!("person {person} at {} at replica {}", at(self.world, asked.began), asked.replica);
        match &asked.outcome {
            Outcome::In(user) if *user != format!("person-{person}") => Some(format!("{}: let in as {user}", when())),
            Outcome::In(_) => {
                let (ended, how) = self.ended(session)?;
                let late = asked.began > ended + FELT + LOADED && !self.cut_off(asked);
                late.then(|| format!("{}: served after the {how} at {}", when(), at(self.world, ended)))
            }
            Outcome::Out => {
                let reason = self.may_have_ended(session, asked.ended);
                (!reason).then(|| format!("{}: logged out without a reason: {session:?}", when()))
            }
            Outcome::Unavailable | Outcome::Lost => None,
            Outcome::Odd(answer) => Some(format!("{}: {answer}", when())),
        }
    }

    /// Whether a replica may have been without an answer of Redis, and served what it had, as `cache.max_stale` allows.
    fn cut_off(&self, asked: &Asked) -> bool {
        let causes = [What::Frozen, What::RedisClosed, What::Busy];
        let from = asked.began.checked_sub(RECOVERY).unwrap_or(asked.began);
        causes.into_iter().any(|what| self.during(what, from, Some(asked.ended)).next().is_some())
    }

    /// When a session certainly had ended, and by what.
    fn ended(&self, session: &Session) -> Option<(Instant, &'static str)> {
        let by_person = session.ends.iter().filter_map(|end| Some((end.done?, end.how)));
        let flushes = self.troubles.iter().filter(|trouble| trouble.what == What::Flushed);
        // a record that was written after the loss is there
        let flushed = flushes.filter(|flush| flush.from > session.known).map(|flush| (flush.until, "loss of Redis"));
        by_person.chain(flushed).min()
    }

    /// Whether there is a reason for the end of a session before this moment.
    fn may_have_ended(&self, session: &Session, before: Instant) -> bool {
        let by_person = session.ends.iter().any(|end| end.began <= before);
        let flushed = self.during(What::Flushed, session.began, Some(before)).next().is_some();
        let revoked = self.world.provider.revoked(&session.sid).is_some_and(|revoked| revoked <= before);
        by_person || flushed || revoked || self.subject_logged_out(session)
    }

    /// A logout of the subject also ends a session that began in the same second.
    fn subject_logged_out(&self, session: &Session) -> bool {
        let others = self.sessions.iter().filter(|other| other.person == session.person);
        let mut ends = others.flat_map(|other| &other.ends).filter(|end| end.how == "logout of the subject");
        ends.any(|end| session.began <= end.done.unwrap_or(end.began) + Duration::from_secs(1))
    }

    fn during(&self, what: What, from: Instant, until: Option<Instant>) -> impl Iterator<Item = &Trouble> {
        let within = move |trouble: &&Trouble| trouble.until >= from && until.is_none_or(|until| trouble.from <= until);
        self.troubles.iter().filter(move |trouble| trouble.what == what).filter(within)
    }

    /// What is wrong with the redemptions of one login, in the order of their arrival; and how many were repeated for a reason.
    fn redemptions(&self, all: &[&Redemption]) -> (Vec<String>, usize) {
        let (mut wrong, mut permitted) = (Vec::new(), 0);
        for (place, later) in all.iter().enumerate() {
            let when = || format!("refresh token {} at {}", later.generation, at(self.world, later.began));
            for earlier in &all[..place] {
                if earlier.generation > later.generation {
                    wrong.push(format!("{}: redeemed after its successor was", when()));
                }
                if earlier.generation != later.generation {
                    continue;
                }
                if earlier.ended.is_none_or(|ended| later.began < ended) {
                    wrong.push(format!("{}: redeemed by two at once", when()));
                } else if self.excused(earlier) {
                    permitted += 1;
                } else {
                    wrong.push(format!("{}: redeemed twice: {earlier:?}", when()));
                }
            }
        }
        (wrong, permitted)
    }

    /// Whether the answer to a redemption may not have been stored.
    fn excused(&self, redemption: &Redemption) -> bool {
        let until = redemption.ended.map(|ended| ended + DIGESTION);
        let lost = [What::Killed, What::Frozen, What::RedisClosed, What::ProviderDown, What::Busy];
        let lost = lost.into_iter().any(|what| self.during(what, redemption.began, until).next().is_some());
        redemption.generation > 0 && (lost || !redemption.answered)
    }
}
