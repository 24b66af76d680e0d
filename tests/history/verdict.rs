//! The rules that must hold of a history, with every fault in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use elastauth_support::faults::Ending;
use elastauth_support::puts::Put;

use crate::record::{History, Outcome, Requested, Trouble, short};
use crate::world::{DEADLINE, LEASE, REPLICAS, Token, User, WRITE_TIMEOUT, World};

/// Added to time limits, for machines with other load.
const LOADED: Duration = Duration::from_secs(2);
/// A debt is paid, by a few round trips, well within this time.
const QUIET: Duration = Duration::from_millis(500);
/// A process that was killed this soon after an answer may not have done what had to follow from the answer.
const DIGESTION: Duration = Duration::from_secs(1);
/// A replica that has just started, or that can reach Redis again, uses it after this time.
const RECOVERY: Duration = Duration::from_secs(1);
/// A hang: no user who can be served waits longer, on a loaded machine either.
const HANG: Duration = Duration::from_secs(2);

/// The last answer for a user, and whether it works.
pub struct Settled {
    /// The outcome of the last request, with the user's newest token.
    pub outcome: Outcome,
    /// The roles that Elasticsearch gives to that credential; none when it gives no access.
    pub roles: Option<Vec<String>>,
}

impl Settled {
    /// Agreement and repair: the credential that was handed out last works, with the roles of the newest token.
    pub fn wrong(&self, user: &User) -> Option<String> {
        let Outcome::Allowed { password, .. } = &self.outcome else {
            return Some(format!("stuck: the last request ended with {:?}", self.outcome));
        };
        let Some(roles) = &self.roles else {
            return Some(format!("the password {} was handed out last and gives no access", short(password)));
        };
        let last = user.tokens.last()?;
        let newest = &last.roles;
        // of two tokens of one second a late write of the other one is not told from roles that a person added by hand
        let of_its_second = |token: &Token| token.issued == last.issued && *roles == token.roles;
        (!user.tokens.iter().any(of_its_second))
            .then(|| format!("has the roles {}, not {}", roles.join(","), newest.join(",")))
    }
}

#[derive(Default)]
pub struct Verdict {
    /// The user's number, and what is wrong.
    pub violations: Vec<(usize, String)>,
    /// Users that only a confirmation would repair.
    pub unconfirmed: BTreeSet<usize>,
    /// How often a PUT of one password was applied while one of another was under way.
    pub races: usize,
    /// How often a user was refused who could be served, by what was wrong meanwhile.
    pub refused: BTreeMap<String, usize>,
    /// The most PUTs for one user, and the bound for that user.
    pub busiest: (usize, usize),
}

/// `confirmed`: whether elastauth is expected to find and repair writes of which it got no answer, and records that came back.
pub fn judge(world: &World, history: &History, settled: &[Settled], confirmed: bool) -> Verdict {
    let mut verdict = Verdict::default();
    let mut puts: HashMap<&str, Vec<&Put>> = HashMap::new();
    for put in &history.puts {
        puts.entry(&put.user).or_default().push(put);
    }
    for (n, (user, settled)) in world.users.iter().zip(settled).enumerate() {
        let puts = puts.remove(user.name.as_str()).unwrap_or_default();
        let requests: Vec<&Requested> = history.requests.iter().filter(|request| request.user == n).collect();
        let mut applied: Vec<&Put> = puts.iter().copied().filter(|put| put.applied.is_some()).collect();
        applied.sort_by_key(|put| put.applied);
        let own = Own { n, user, puts, applied, requests, losses: history.losses(n), history };
        match settled.wrong(user) {
            Some(_) if !confirmed && own.overtaken(None) => {
                verdict.unconfirmed.insert(n);
            }
            Some(wrong) => verdict.violations.push((n, wrong)),
            None => {}
        }
        verdict.races += own.races();
        verdict.violations.extend(own.back().map(|wrong| (n, wrong)));
        let (sent, bound) = (own.puts.len(), own.bound(confirmed));
        if sent > bound {
            verdict.violations.push((n, format!("{sent} PUTs, where {bound} are enough")));
        }
        verdict.busiest = verdict.busiest.max((sent, bound));
        for request in &own.requests {
            let stale = if confirmed { None } else { own.stale(request) };
            match stale {
                Some(_) if own.overtaken(Some(request.end)) => {
                    verdict.unconfirmed.insert(n);
                }
                Some(wrong) => verdict.violations.push((n, wrong)),
                None => {}
            }
            verdict.violations.extend(own.answer(request).map(|wrong| (n, wrong)));
            if let Some(meanwhile) = own.refused_without_need(request) {
                // counted, and not yet a violation: two tokens of one second, or roles with the time of an older token, may still
                // hide which roles the record has
                *verdict.refused.entry(meanwhile).or_default() += 1;
            }
        }
    }
    verdict
}

/// The time of the roles that a PUT writes, in milliseconds.
fn as_of(put: &Put) -> Option<u64> {
    put.metadata["elastauth"]["as_of"].as_u64()
}

fn before(request: &Requested, time: Duration) -> Instant {
    request.start.checked_sub(time).unwrap_or(request.start)
}

/// The part of the history that concerns one user.
struct Own<'a> {
    n: usize,
    user: &'a User,
    puts: Vec<&'a Put>,
    /// The PUTs that changed the user, in the order in which they did.
    applied: Vec<&'a Put>,
    requests: Vec<&'a Requested>,
    /// When the record was lost, in order of time.
    losses: Vec<Instant>,
    history: &'a History,
}

impl Own<'_> {
    /// Agreement in the meantime: while nothing has been written or lost for a while, a credential that is handed out works.
    fn stale(&self, request: &Requested) -> Option<String> {
        let Outcome::Allowed { password, .. } = &request.outcome else { return None };
        let at = request.end;
        let near = |moment: Instant| moment < at + QUIET && moment + QUIET > request.start;
        let written = |put: &&Put| [Some(put.received), put.applied].into_iter().flatten().any(near);
        if self.puts.iter().any(written) || self.losses.iter().any(|loss| near(*loss)) {
            return None;
        }
        // whom the process knows is served while Redis does not answer, up to `cache.max_stale`
        let away = [Trouble::RedisAway, Trouble::SlowToConnect];
        if self.history.trouble(&away, &request.replica, before(request, RECOVERY), at) {
            return None;
        }
        let there = self.applied.iter().rev().filter(|put| put.applied <= Some(at));
        let last_password = there.clone().find_map(|put| put.password.as_deref())?;
        if last_password != password {
            let (it, that) = (short(password), short(last_password));
            return Some(format!("{it} was handed out while Elasticsearch had {that} and nothing was written"));
        }
        let last_roles = &there.clone().next()?.roles;
        let fit = self.fits(request, last_roles);
        (!fit).then(|| format!("let through with the roles {}, which are not the token's", last_roles.join(",")))
    }

    /// Whether what is wrong (at a moment, or in the end) is the known effect of a PUT that overtook the agreement: its record
    /// was lost from Redis, another one was agreed and written, and then the PUT was applied and its sender had ended before it
    /// got the answer. With the record still in Redis this cannot happen, and a sender that gets the answer owes a repair.
    fn overtaken(&self, moment: Option<Instant>) -> bool {
        let applied = || self.applied.iter().copied().filter(|put| moment.is_none() || put.applied <= moment);
        let last_password = applied().rev().find(|put| put.password.is_some());
        [last_password, applied().next_back()].into_iter().flatten().any(|last| {
            let mut others = applied().filter(|other| other.applied < last.applied && self.heard(other));
            // a PUT is sent within the lease of the record that was read, or not at all
            let lost = self.losses.iter().filter(|at| **at + LEASE + LOADED > last.received);
            !self.heard(last) && others.any(|other| lost.clone().any(|at| other.received + DIGESTION > *at))
        })
    }

    /// Whether a PUT was surely acknowledged to a process that continued to run.
    fn heard(&self, put: &Put) -> bool {
        let Some(at) = put.acknowledged() else { return false };
        // the sender's time-out began before Elasticsearch received the PUT
        let in_time = at - put.received < WRITE_TIMEOUT / 2;
        let sender = put.sender.as_str();
        let alive = self.history.killed(sender).is_none_or(|killed| killed > at + DIGESTION);
        in_time && alive && !self.history.trouble(&[Trouble::Frozen], sender, put.received, at + DIGESTION)
    }

    fn races(&self) -> usize {
        let passwords: Vec<&&Put> = self.applied.iter().filter(|put| put.password.is_some()).collect();
        let raced = |pair: &&[&&Put]| pair[0].password != pair[1].password && Some(pair[1].received) < pair[0].applied;
        passwords.windows(2).filter(raced).count()
    }

    /// An older token never takes roles away or gives them back, as long as the record lasts.
    fn back(&self) -> Option<String> {
        let sent = |put: &Put| format!("{} as of {}", put.roles.join(","), as_of(put).unwrap_or_default());
        let back = self.puts.windows(2).find(|pair| {
            let (before, after) = (pair[0], pair[1]);
            // a record that was read before it was lost may be written during its lease
            let lost = |at: &Instant| *at + LEASE + LOADED > before.received && *at < after.received + DIGESTION;
            as_of(after) < as_of(before) && !self.losses.iter().any(lost)
        });
        back.map(|pair| format!("the roles {} were followed by {}", sent(pair[0]), sent(pair[1])))
    }

    /// Bounded work. While a record lasts, each of the tokens used meanwhile can raise its roles once, and each raise is one
    /// PUT. A PUT that was under way when the record was lost is repeated once (the debt). A PUT without an answer leaves a
    /// lease that expires: its holder may repeat the PUT while another replica takes the lease over, which is two PUTs, and one
    /// more because neither knows of the other's. The number of processes makes no difference. Where passwords are confirmed, a
    /// PUT that was applied late or without an answer, and a record that came back, are each repaired by every process that
    /// finds them, at worst one after the other.
    fn bound(&self, confirmed: bool) -> usize {
        let mut limits: Vec<Option<Instant>> = vec![None];
        limits.extend(self.losses.iter().copied().map(Some));
        limits.push(None);
        let used = |from: Option<Instant>, to: Option<Instant>| {
            let meanwhile = |request: &&&Requested| {
                // the work that a request began continues when the request has ended
                let over = request.end + DEADLINE;
                from.is_none_or(|from| over >= from) && to.is_none_or(|to| request.start <= to + DIGESTION)
            };
            self.requests.iter().filter(meanwhile).map(|request| request.token).collect::<BTreeSet<_>>().len()
        };
        let raises: usize = limits.windows(2).map(|ends| used(ends[0], ends[1])).sum();
        // where Redis did not answer that the record is ready, the lease expires as after a PUT without an answer
        let troubles = [
            Trouble::RedisAway,
            Trouble::WritesRefused,
            Trouble::SlowToConnect,
            Trouble::ConnectionsClosed,
            Trouble::Busy,
        ];
        let shaken = |put: &Put| self.history.trouble(&troubles, &put.sender, put.received, put.received + LEASE);
        let unheard = self.puts.iter().filter(|put| !self.heard(put) || shaken(put)).count();
        let late = self.puts.iter().filter(|put| put.ending == Ending::Late).count();
        let came_back = self.history.roll_backs(self.n);
        let repairs = if confirmed { REPLICAS * (unheard + late + came_back) } else { late };
        raises + 3 * unheard + repairs + self.losses.len()
    }

    /// Whether some path could serve this request, by the failure table in `docs/operations.md`: a ready record is in Redis, its
    /// roles do not give the user too much, and the replica can read there. Neither an outage of Elasticsearch nor one of writes to
    /// Redis is an excuse.
    ///
    /// That there is such a record is seen by a witness: a request that was let through after the record was last lost. If newer
    /// tokens than that of the witness were used meanwhile, their roles may not be written yet; but where each has at least the
    /// roles of the one before, what Elasticsearch has is not too much for any of them, nor for the older ones.
    fn servable(&self, request: &Requested) -> bool {
        let lost = self.losses.iter().rfind(|at| **at <= request.end + QUIET);
        // a run that read the record before it was lost may still change what came after it
        let after_loss = |other: &Requested| lost.is_none_or(|lost| other.start > *lost + LEASE);
        let witness =
            |other: &&&Requested| other.outcome.is_allowed() && other.end < request.start && after_loss(other);
        let Some(witnessed) = self.requests.iter().filter(witness).map(|other| other.token).max() else { return false };
        let newer = |other: &&&Requested| other.start <= request.end && other.token >= witnessed;
        let used: BTreeSet<usize> = self.requests.iter().filter(newer).map(|other| other.token).collect();
        let used: Vec<&Vec<&str>> = used.into_iter().map(|token| &self.user.tokens[token].roles).collect();
        let gains = |pair: &[&Vec<&str>]| pair[0].iter().all(|role| pair[1].contains(role));
        if !used.windows(2).all(gains) {
            return false;
        }
        // the witness may have been served with former roles: what Elasticsearch has must not be too much for this token
        let own = &self.user.tokens[request.token];
        let enough = |put: &&Put| {
            put.roles.iter().all(|role| own.roles.contains(&role.as_str())) || as_of(put) >= Some(own.issued * 1000)
        };
        if !self.applied.iter().rfind(|put| put.applied <= Some(request.start)).is_some_and(enough) {
            return false;
        }
        let away = [Trouble::RedisAway, Trouble::Frozen, Trouble::Busy];
        let since = before(request, RECOVERY);
        let reads = !self.history.trouble(&away, &request.replica, since, request.end);
        let runs = self.history.killed(&request.replica).is_none_or(|killed| killed > request.end)
            && self.history.started(&request.replica).is_none_or(|started| started < since);
        reads && runs
    }

    /// Whether a user who could be served was refused, or waited for long: what was wrong in the meantime.
    fn refused_without_need(&self, request: &Requested) -> Option<String> {
        let hung = request.end - request.start > HANG;
        if !(hung || request.outcome == Outcome::Denied(503)) || !self.servable(request) {
            return None;
        }
        let (from, to) = (before(request, RECOVERY), request.end);
        let meanwhile = [Trouble::WritesRefused, Trouble::SlowToConnect, Trouble::ConnectionsClosed]
            .into_iter()
            .find(|trouble| self.history.trouble(&[*trouble], &request.replica, from, to));
        let meanwhile = meanwhile.map_or_else(
            || format!("in weather {}", self.history.weather(from).unwrap_or_default()),
            |trouble| format!("with {trouble:?}"),
        );
        Some(if hung { format!("after a hang {meanwhile}") } else { meanwhile })
    }

    /// What is wrong with one answer.
    fn answer(&self, request: &Requested) -> Option<String> {
        let took = request.end - request.start;
        let frozen = self.history.trouble(&[Trouble::Frozen], &request.replica, request.start, request.end);
        if took > DEADLINE + LOADED && !frozen {
            return Some(format!("a request took {took:?}"));
        }
        match &request.outcome {
            Outcome::Allowed { username, .. } if *username != self.user.name => {
                Some(format!("a token of {} was answered with a credential of {username}", self.user.name))
            }
            Outcome::Allowed { password, .. } => self.early(request, password),
            // all tokens are valid and the rightful owner's: only an outage refuses them
            Outcome::Denied(503) => None,
            Outcome::Denied(status) => Some(format!("a good token was answered with {status}")),
            Outcome::Lost(_) if self.history.killed(&request.replica).is_some() => None,
            Outcome::Lost(why) => Some(format!("{} was alive and did not answer: {why}", request.replica)),
        }
    }

    /// Whether a request may be let through with these roles: its token's own, those of a newer one, or fewer, while more cannot
    /// be written.
    fn fits(&self, request: &Requested, roles: &[String]) -> bool {
        let [own, newer @ ..] = &self.user.tokens[request.token..] else { return false };
        let given = |role: &str, token: &Token| own.roles.contains(&role) || token.roles.contains(&role);
        let within = |token: &Token| roles.iter().all(|role| given(role, token));
        newer.iter().any(within) || within(own)
    }

    /// No early use: the password and the roles that are handed out were acknowledged by Elasticsearch before. After a loss of the
    /// record a login acknowledges them too.
    fn early(&self, request: &Requested, password: &str) -> Option<String> {
        let tried = |put: &Put| {
            let lost = self.losses.iter().any(|at| *at + DIGESTION > put.received && *at < request.end);
            put.applied.filter(|_| lost)
        };
        let known = |put: &Put| put.acknowledged().or_else(|| tried(put)).is_some_and(|at| at <= request.end);
        let acknowledged = || self.puts.iter().filter(|put| known(put));
        if !acknowledged().any(|put| put.password.as_deref() == Some(password)) {
            return Some(format!("{} was handed out before a PUT of it was acknowledged", short(password)));
        }
        let fit = |put: &Put| self.fits(request, &put.roles);
        (!acknowledged().any(|put| fit(put)))
            .then(|| "a request was let through before its roles were acknowledged".to_owned())
    }
}
