use std::collections::HashMap;
use std::future::{Pending, pending, ready};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::*;
use crate::credentials::seal::{self, Key, Seal};
use crate::credentials::{CacheKey, DurableCopy, Store as _};
use crate::memory::{self, MemoryStore};

fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

fn stamp(cluster: &str, subject: &str, last_seen: &str) -> Stamp {
    Stamp {
        cluster: cluster.into(),
        issuer: "https://i".into(),
        subject: Some(subject.into()),
        as_of: 0,
        mapping: Version::default(),
        last_seen: Some(day(last_seen)),
        store: None,
    }
}

fn account(name: &str, stamp: Option<Stamp>) -> Account {
    let roles = Roles::new(["r"]);
    Account { name: name.into(), enabled: true, reserved: false, roles, of_go_service: false, stamp, copy: None }
}

/// A directory in memory.
#[derive(Default)]
struct Book {
    accounts: Mutex<Vec<Account>>,
    /// How often a disabled user is enabled again, by an elastauth that writes at the same time.
    enables: Mutex<usize>,
    /// The passwords that users were given, in their order.
    renewed: Mutex<Vec<(String, Password)>>,
    /// How many of them are acknowledged.
    renewals: Mutex<usize>,
    /// How often the list of users is still answered; none for always.
    lists: Mutex<Option<usize>>,
}

impl Book {
    fn of(accounts: &[Account]) -> Self {
        Self { accounts: Mutex::new(accounts.to_vec()), renewals: Mutex::new(usize::MAX), ..Self::default() }
    }

    /// Applies a write of this account after the time, as if it had been sent before the action.
    fn lands(self: &Arc<Self>, account: Account, after: Duration) {
        let book = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let mut accounts = book.accounts.lock();
            accounts.retain(|there| there.name != account.name);
            accounts.push(account);
        });
    }

    fn change(&self, name: &Username, how: impl FnOnce(&mut Account)) {
        let mut accounts = self.accounts.lock();
        how(accounts.iter_mut().find(|account| account.name == name.as_str()).unwrap());
    }

    fn get(&self, name: &str) -> Option<Account> {
        self.accounts.lock().iter().find(|account| account.name == name).cloned()
    }
}

impl Directory for Book {
    async fn list(&self) -> Result<Vec<Account>, DirectoryError> {
        let mut lists = self.lists.lock();
        match lists.as_mut() {
            Some(0) => return Err(DirectoryError("503".into())),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(self.accounts.lock().clone())
    }

    async fn find(&self, name: &Username) -> Result<Option<Account>, DirectoryError> {
        Ok(self.get(name.as_str()))
    }

    async fn disable(&self, name: &Username) -> Result<(), DirectoryError> {
        let mut enables = self.enables.lock();
        self.change(name, |account| account.enabled = *enables > 0);
        *enables = enables.saturating_sub(1);
        Ok(())
    }

    async fn delete(&self, name: &Username) -> Result<(), DirectoryError> {
        self.accounts.lock().retain(|account| account.name != name.as_str());
        Ok(())
    }

    async fn mark(&self, name: &Username, stamp: Option<&Stamp>) -> Result<(), DirectoryError> {
        self.change(name, |account| account.stamp = stamp.cloned());
        Ok(())
    }

    async fn renew(
        &self,
        name: &Username,
        password: &Password,
        copy: Option<&SealedCopy>,
    ) -> Result<(), DirectoryError> {
        tokio::time::sleep(RENEWAL).await;
        self.renewed.lock().push((name.to_string(), password.clone()));
        self.change(name, |account| account.copy = copy.cloned());
        let fails = self.renewed.lock().len() > *self.renewals.lock();
        if fails { Err(DirectoryError("no answer".into())) } else { Ok(()) }
    }
}

/// How long a password takes to be written.
const RENEWAL: Duration = Duration::from_secs(1);

struct Silent;

impl Progress for Silent {
    fn at(&self, _: usize, _: usize) {}
    fn waits(&self, _: Duration, _: usize) {}
    fn undone(&self, _: usize) {}
    fn interrupted(&self) {}
}

const SETTLING: Duration = Duration::from_secs(90);

fn patiently() -> SettlingWait<Pending<()>> {
    SettlingWait { time: SETTLING, interrupted: pending() }
}

const ONLY_SAY: Option<SettlingWait<Pending<()>>> = None;

fn task(action: Action, names: &[&str]) -> Task {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let selection = Selection { names, ..Selection::default() };
    Task { action, selection, cluster: "c".into(), today: day("2026-11-25") }
}

async fn act(book: &Book, task: &Task) -> Vec<(String, Outcome)> {
    let results = run(book, None::<&MemoryStore>, task, Some(patiently()), &Silent).await.unwrap();
    results.into_iter().map(|result| (result.user, result.outcome)).collect()
}

fn adopt() -> Action {
    Action::Adopt { issuer: "https://i".into(), subjects: SubjectSource::First }
}

#[tokio::test(start_paused = true)]
async fn only_this_cluster_s_users_are_touched_and_for_named_ones_the_reason_is_given() {
    let mut built_in = account("kibana", Some(stamp("c", "s", "2026-11-01")));
    built_in.reserved = true;
    let before = [
        account("foreign", Some(stamp("d", "s", "2026-11-01"))),
        account("person", None),
        account("_odd", Some(stamp("c", "s", "2026-11-01"))),
        built_in,
    ];
    let names = ["foreign", "person", "_odd", "kibana", "nobody"];
    for action in [
        Action::Disable,
        Action::Delete,
        Action::Release,
        Action::Rebind { issuer: Some("https://new".into()), subjects: SubjectSource::Kept },
    ] {
        let book = Book::of(&before);
        let lines = act(&book, &task(action.clone(), &names)).await;
        assert_eq!(lines.len(), 5, "{action:?}");
        assert!(lines.iter().all(|(_, outcome)| matches!(outcome, Outcome::Refused(_))), "{action:?}: {lines:?}");
        assert_eq!(*book.accounts.lock(), before, "{action:?}");
        let rule = Selection { matching: Some(Pattern::new("*")), ..Selection::default() };
        let lines = act(&book, &Task { selection: rule, ..task(action.clone(), &[]) }).await;
        assert_eq!(lines, [], "a rule leaves out users that may not be touched");
        assert_eq!(*book.accounts.lock(), before, "{action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn adoption_leaves_out_built_in_users_and_holders_of_superuser_and_binds_to_the_first_subject() {
    let (mut built_in, mut boss) = (account("elastic", None), account("boss", None));
    built_in.reserved = true;
    boss.roles = Roles::new(["a", "superuser"]);
    let mut locked = account("locked", None);
    locked.enabled = false;
    let ours = account("ours", Some(stamp("c", "s", "2026-11-01")));
    let book = Book::of(&[built_in.clone(), boss.clone(), locked, ours.clone(), account("ann", None)]);
    let rule = Selection { matching: Some(Pattern::new("*")), ..Selection::default() };
    let lines = act(&book, &Task { selection: rule, ..task(adopt(), &[]) }).await;
    let expected = [
        ("ann", Outcome::Done),
        ("boss", Outcome::Refused("holds superuser".into())),
        ("locked", Outcome::Done),
        ("ours", Outcome::Unchanged("elastauth's already")),
    ];
    assert_eq!(lines, expected.map(|(user, outcome)| (user.to_owned(), outcome)));
    assert_eq!((book.get("elastic"), book.get("boss"), book.get("ours")), (Some(built_in), Some(boss), Some(ours)));
    let stamp = book.get("ann").unwrap().stamp.unwrap();
    assert_eq!((stamp.issuer.as_str(), stamp.subject.as_deref(), stamp.day()), ("https://i", None, day("2026-11-25")));
    assert!(!book.get("locked").unwrap().enabled, "a user that an administrator disabled stays disabled");
}

#[tokio::test(start_paused = true)]
async fn inactivity_counts_from_the_last_day_seen() {
    let seen = |name: &str, last_seen: &str| account(name, Some(stamp("c", "s", last_seen)));
    let book = Book::of(&[
        seen("today", "2026-11-25"),
        seen("day29", "2026-10-27"),
        seen("day30", "2026-10-26"),
        seen("long", "2020-01-01"),
        account("person", None),
    ]);
    let month = Some(Duration::from_secs(30 * 24 * 3600));
    let selection = Selection { inactive_for: month, ..Selection::default() };
    let task = Task { selection, ..task(Action::Disable, &[]) };
    let planned = run(&book, None::<&MemoryStore>, &task, ONLY_SAY, &Silent).await.unwrap();
    assert_eq!(
        planned.iter().map(|line| (line.user.as_str(), &line.outcome)).collect::<Vec<_>>(),
        [("day30", &Outcome::Planned), ("long", &Outcome::Planned)]
    );
    assert!(book.get("long").unwrap().enabled, "a dry run changes nothing");
    act(&book, &task).await;
    let out: Vec<String> =
        book.accounts.lock().iter().filter(|account| !account.enabled).map(|a| a.name.clone()).collect();
    assert_eq!(out, ["day30", "long"]);
}

#[tokio::test(start_paused = true)]
async fn an_elastauth_that_was_just_writing_does_not_undo_it() {
    for (enables, expected) in [(1, true), (9, false)] {
        let book = Book::of(&[account("ann", Some(stamp("c", "s", "2026-11-01")))]);
        *book.enables.lock() = enables;
        let lines = act(&book, &task(Action::Disable, &["ann"])).await;
        assert_eq!(lines[0].1 == Outcome::Done, expected, "{lines:?}");
        assert_eq!(!book.get("ann").unwrap().enabled, expected);
    }
}

fn changes() -> [Action; 5] {
    let rebind = |issuer: Option<&str>, subjects| Action::Rebind { issuer: issuer.map(str::to_owned), subjects };
    [
        Action::Disable,
        Action::Delete,
        Action::Release,
        rebind(None, SubjectSource::Given("new".into())),
        rebind(Some("https://new"), SubjectSource::First),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_on_its_way_does_not_undo_it_for_good() {
    for action in changes() {
        let before = account("ann", Some(stamp("c", "s", "2026-11-01")));
        let book = Arc::new(Book::of(std::slice::from_ref(&before)));
        let task = task(action, &["ann"]);
        book.lands(before.clone(), Duration::from_secs(60));
        assert_eq!(act(&book, &task).await, [("ann".to_owned(), Outcome::Done)], "{:?}", task.action);
        tokio::time::sleep(SETTLING).await;
        let after = book.get("ann");
        assert!(!after.as_ref().is_some_and(|after| task.is_undone(&before, after)), "{after:?}");
        assert_ne!(after, Some(before));
    }
}

#[tokio::test(start_paused = true)]
async fn what_undoes_it_again_and_again_is_reported() {
    for action in changes() {
        let before = account("ann", Some(stamp("c", "s", "2026-11-01")));
        let book = Arc::new(Book::of(std::slice::from_ref(&before)));
        for n in 0..5 {
            book.lands(before.clone(), Duration::from_secs(60 + 90 * n));
        }
        let began = tokio::time::Instant::now();
        let lines = act(&book, &task(action.clone(), &["ann"])).await;
        assert!(
            matches!(&lines[0].1, Outcome::Failed(why) if why.contains("again and again")),
            "{action:?}: {lines:?}"
        );
        assert_eq!(began.elapsed(), 2 * SETTLING, "and it ends");
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_subject_that_came_meanwhile_keeps_the_user() {
    let book = Arc::new(Book::of(&[account("ann", Some(stamp("c", "s", "2026-11-01")))]));
    let action = Action::Rebind { issuer: None, subjects: SubjectSource::First };
    let bound = account("ann", Some(stamp("c", "the first to come", "2026-11-25")));
    book.lands(bound.clone(), Duration::from_secs(60));
    assert_eq!(act(&book, &task(action, &["ann"])).await, [("ann".to_owned(), Outcome::Done)]);
    assert_eq!(book.get("ann"), Some(bound));
}

#[tokio::test(start_paused = true)]
async fn a_second_check_that_did_not_take_place_is_reported() {
    let book = Book::of(&[account("ann", Some(stamp("c", "s", "2026-11-01")))]);
    let settling = SettlingWait { time: SETTLING, interrupted: ready(()) };
    let lines =
        run(&book, None::<&MemoryStore>, &task(Action::Disable, &["ann"]), Some(settling), &Silent).await.unwrap();
    assert!(matches!(&lines[0].outcome, Outcome::Failed(why) if why.contains("interrupted")), "{lines:?}");
    assert!(!book.get("ann").unwrap().enabled);

    let book = Book::of(&[account("ann", Some(stamp("c", "s", "2026-11-01")))]);
    *book.lists.lock() = Some(1);
    let lines = act(&book, &task(Action::Disable, &["ann"])).await;
    assert!(matches!(&lines[0].1, Outcome::Failed(why) if why.contains("503")), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn there_is_no_wait_for_users_that_were_left_alone() {
    let mut out = account("ann", Some(stamp("c", "s", "2026-11-01")));
    out.enabled = false;
    let book = Book::of(&[out, account("person", None)]);
    let began = tokio::time::Instant::now();
    act(&book, &task(Action::Disable, &["ann", "person"])).await;
    run(&book, None::<&MemoryStore>, &task(Action::Delete, &["ann"]), ONLY_SAY, &Silent).await.unwrap();
    act(&book, &task(adopt(), &["person"])).await;
    assert!(began.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_cached_record_goes_with_its_user_s_access() {
    let key = CacheKey::of(&Username::parse("ann").unwrap());
    for action in [
        Action::Disable,
        Action::Delete,
        Action::Release,
        Action::Rebind { issuer: None, subjects: SubjectSource::Given("new".into()) },
    ] {
        let store = MemoryStore::new(memory::Settings { max_entries: 10 });
        store.put_if_absent(&key, b"sealed", Duration::from_secs(60)).await.unwrap();
        let book = Book::of(&[account("ann", Some(stamp("c", "s", "2026-11-01")))]);
        let planned = run(&book, Some(&store), &task(action.clone(), &["ann"]), ONLY_SAY, &Silent).await.unwrap();
        assert_eq!(planned[0].outcome, Outcome::Planned);
        assert!(store.get(&key).await.unwrap().is_some());
        let done = run(&book, Some(&store), &task(action.clone(), &["ann"]), Some(patiently()), &Silent).await.unwrap();
        assert_eq!(done[0].outcome, Outcome::Done, "{action:?}");
        assert_eq!(store.get(&key).await.unwrap(), None, "{action:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rebinding_exchanges_what_is_given_and_only_where_that_is_known() {
    let ours = |name: &str| account(name, Some(Stamp { as_of: 7, ..stamp("c", name, "2026-11-01") }));
    let book = Book::of(&[ours("ann"), ours("bob")]);
    let listed = SubjectSource::Listed(HashMap::from([("ann".to_owned(), "new-ann".to_owned())]));
    let action = Action::Rebind { issuer: Some("https://new".into()), subjects: listed };
    let lines = act(&book, &task(action.clone(), &["ann", "bob"])).await;
    assert_eq!(lines[0], ("ann".into(), Outcome::Done));
    assert_eq!(lines[1], ("bob".into(), Outcome::Refused("not in the list of subjects".into())));
    let bound = book.get("ann").unwrap().stamp.unwrap();
    assert_eq!((bound.issuer.as_str(), bound.subject.as_deref()), ("https://new", Some("new-ann")));
    assert_eq!(bound.as_of, 0, "the roles of the former subject are never newer than what the new one brings");
    assert_eq!(book.get("bob").unwrap().stamp.unwrap().issuer, "https://i");
    let again = act(&book, &task(action, &["ann"])).await;
    assert_eq!(again[0].1, Outcome::Unchanged("bound so already"));
}

#[test]
fn a_file_of_subjects_is_read_line_by_line_and_a_broken_one_not_at_all() {
    let read = subjects("# from the new provider\nann, 17\n\nbob,b,c\n").unwrap();
    assert_eq!((read["ann"].as_str(), read["bob"].as_str(), read.len()), ("17", "b,c", 2));
    for (text, why) in [("ann", "line 1"), ("ann,", "line 1"), ("ann,1\nann,2", "twice"), (",x", "line 1")] {
        assert!(subjects(text).unwrap_err().contains(why), "{text}");
    }
}

const BEFORE: Millis = 1_700_000_000_000;

fn rotation(key: Key) -> Rotation {
    let seal = Seal::new(&seal::Settings { key, previous: Vec::new(), cluster: "c".into() }).unwrap();
    Rotation { seal: Arc::new(seal), generated_before: BEFORE }
}

fn given(key: u8) -> Key {
    Key::Given(Box::new([key; 32]).into())
}

/// A user with a copy of a password that was made at this time.
fn holder(rotation: &Rotation, name: &str, born: Millis) -> Account {
    let copy = DurableCopy { password: Password::generate().unwrap(), born };
    let copy = rotation.seal.seal_copy(&Username::parse(name).unwrap(), &copy).unwrap();
    Account { copy, ..account(name, Some(stamp("c", "s", "2026-11-01"))) }
}

#[tokio::test(start_paused = true)]
async fn a_rotation_gives_new_passwords_to_those_whose_copy_shows_no_newer_one() {
    let rotation = rotation(given(1));
    let mut locked = holder(&rotation, "locked", 7);
    locked.enabled = false;
    let book = Book::of(&[
        holder(&rotation, "old", BEFORE - 1),
        holder(&rotation, "new", BEFORE),
        holder(&super::tests::rotation(given(2)), "other-key", BEFORE + 1),
        Account { copy: holder(&rotation, "new", BEFORE).copy, ..holder(&rotation, "moved", BEFORE) },
        account("bare", Some(stamp("c", "s", "2026-11-01"))),
        locked,
        account("person", None),
        account("foreign", Some(stamp("d", "s", "2026-11-01"))),
    ]);
    let all = Selection { matching: Some(Pattern::new("*")), ..Selection::default() };
    let task = Task { selection: all, ..task(Action::Rotate(rotation.clone()), &[]) };
    let planned = run(&book, None::<&MemoryStore>, &task, ONLY_SAY, &Silent).await.unwrap();
    assert_eq!(planned.iter().filter(|line| line.outcome == Outcome::Planned).count(), 5);
    assert!(book.renewed.lock().is_empty(), "a dry run changes nothing");

    let lines = act(&book, &task).await;
    let expected = ["bare", "locked", "moved", "new", "old", "other-key"].map(|user| {
        let outcome = if user == "new" { Outcome::Unchanged("has a newer password") } else { Outcome::Done };
        (user.to_owned(), outcome)
    });
    assert_eq!(lines, expected);
    for (user, password) in &*book.renewed.lock() {
        let copy = book.get(user).unwrap().copy.unwrap();
        let copy = rotation.seal.open_copy(&Username::parse(user).unwrap(), &copy).unwrap();
        assert_eq!(copy.password, *password, "{user}");
        assert!(copy.born >= BEFORE, "{user}");
    }
    assert!(!book.get("locked").unwrap().enabled, "a user that an administrator disabled stays disabled");

    let again = act(&book, &task).await;
    assert!(again.iter().all(|(_, outcome)| matches!(outcome, Outcome::Unchanged(_))), "{again:?}");
    assert_eq!(book.renewed.lock().len(), 5, "a second run with the same time has nothing to do");
}

#[tokio::test(start_paused = true)]
async fn where_no_copies_are_kept_each_run_replaces_each_password_once() {
    let key = Key::Derived { secret: "of the administrator".to_owned().into(), guessable: true };
    let rotation = rotation(key);
    let book = Book::of(&[account("ann", Some(stamp("c", "s", "2026-11-01")))]);
    for passwords in [1, 2] {
        let lines = act(&book, &task(Action::Rotate(rotation.clone()), &["ann"])).await;
        assert_eq!(lines, [("ann".to_owned(), Outcome::Done)]);
        assert_eq!(book.renewed.lock().len(), passwords);
    }
    assert_eq!(book.get("ann").unwrap().copy, None);
}

/// It would hand out the former password, and a replica would write that once more.
#[tokio::test(start_paused = true)]
async fn a_rotation_removes_the_record_also_when_it_is_not_known_whether_the_password_was_written() {
    let key = CacheKey::of(&Username::parse("ann").unwrap());
    for (renewals, done) in [(usize::MAX, true), (0, false)] {
        let store = MemoryStore::new(memory::Settings { max_entries: 10 });
        store.put_if_absent(&key, b"sealed", Duration::from_secs(60)).await.unwrap();
        let rotation = rotation(given(1));
        let book = Book::of(&[holder(&rotation, "ann", 7)]);
        *book.renewals.lock() = renewals;
        let task = task(Action::Rotate(rotation), &["ann"]);
        let lines = run(&book, Some(&store), &task, Some(patiently()), &Silent).await.unwrap();
        assert_eq!(lines[0].outcome == Outcome::Done, done, "{lines:?}");
        assert_eq!(store.get(&key).await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_write_of_the_former_password_is_found_and_rotated_again() {
    let rotation = rotation(given(1));
    let before = holder(&rotation, "ann", 7);
    let book = Arc::new(Book::of(std::slice::from_ref(&before)));
    book.lands(before, Duration::from_secs(60));
    assert_eq!(act(&book, &task(Action::Rotate(rotation), &["ann"])).await, [("ann".to_owned(), Outcome::Done)]);
    assert_eq!(book.renewed.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_rotation_ends_with_the_user_at_hand_and_the_next_run_goes_on() {
    let rotation = rotation(given(1));
    let book = Book::of(&["a", "b", "c", "d"].map(|name| holder(&rotation, name, 7)));
    let task = task(Action::Rotate(rotation), &["a", "b", "c", "d"]);
    let settling = SettlingWait { time: SETTLING, interrupted: tokio::time::sleep(RENEWAL * 3 / 2) };
    let lines = run(&book, None::<&MemoryStore>, &task, Some(settling), &Silent).await.unwrap();
    let renewed = || book.renewed.lock().iter().map(|(user, _)| user.clone()).collect::<Vec<_>>();
    assert_eq!(renewed(), ["a", "b"], "one after the other");
    let said = |at: usize, part: &str| matches!(&lines[at].outcome, Outcome::Failed(why) if why.contains(part));
    assert!(said(0, "not looked at again") && said(1, "not looked at again"), "{lines:?}");
    assert!(said(2, "the run was interrupted") && said(3, "the run was interrupted"), "{lines:?}");
    act(&book, &task).await;
    assert_eq!(renewed(), ["a", "b", "c", "d"], "nobody twice");
}
