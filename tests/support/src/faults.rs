//! The faults that the stand-in for Elasticsearch imitates.

use std::sync::Arc;
use std::time::Duration;

/// The fate of a PUT: how long it is delayed, and how it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// The PUT waits this long before it is applied. If its client disconnects meanwhile, it is not applied.
    pub delay: Duration,
    /// How the PUT ends after the delay.
    pub ending: Ending,
}

/// How a PUT ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// Applied and answered as Elasticsearch would.
    #[default]
    Answered,
    /// Answered with this status at once, and not applied.
    Refused(u16),
    /// Applied, and never answered.
    AnswerLost,
    /// Neither applied nor answered.
    Lost,
    /// Applied after the delay even when the client has disconnected, and never answered.
    Late,
}

/// Draws the fate of each PUT when it arrives.
pub type Fates = Arc<dyn Fn() -> Fate + Send + Sync>;

/// The faults of all requests from now on.
#[derive(Clone, Default)]
pub struct Faults {
    /// Every PUT waits this long before it is applied.
    pub delay: Duration,
    /// A PUT is answered with this status and not applied.
    pub put_status: Option<u16>,
    /// A GET of a user is answered with this status.
    pub get_status: Option<u16>,
    /// The index that holds users cannot be read: their logins are answered 401, and the administrator, which is not in
    /// that index, 503 (`NativeUsersStore`, `SecurityIndexManager`).
    pub security_index_down: bool,
    /// A PUT is applied after the delay even when the client has disconnected.
    pub apply_after_client_gave_up: bool,
    /// Every request to other APIs than that of security is answered with this status, whatever its credential.
    pub other_status: Option<u16>,
    /// Draws the fate of each PUT, instead of `delay`, `put_status` and `apply_after_client_gave_up`.
    pub fates: Option<Fates>,
}

impl Faults {
    pub(crate) fn of_a_put(&self) -> Fate {
        let delay = self.delay;
        let same = || self.put_status.map_or(Fate { delay, ending: Ending::Answered }, refused);
        self.fates.as_ref().map_or_else(same, |draw| draw())
    }
}

fn refused(status: u16) -> Fate {
    Fate { delay: Duration::ZERO, ending: Ending::Refused(status) }
}
