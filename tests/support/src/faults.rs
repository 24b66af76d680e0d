//! What goes wrong at the stand-in for Elasticsearch.

use std::sync::Arc;
use std::time::Duration;

/// What is to become of a PUT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// It waits this long before it is applied. A client that gives up meanwhile takes it back.
    pub delay: Duration,
    /// And then.
    pub ending: Ending,
}

/// How a PUT ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// Applied, and answered.
    #[default]
    Answered,
    /// Answered with this status at once, and not applied.
    Refused(u16),
    /// Applied, and never answered.
    AnswerLost,
    /// Neither applied nor answered.
    Lost,
    /// Applied after the delay even when the client has gone, and never answered.
    Late,
}

/// Decides about each PUT as it comes.
pub type Fates = Arc<dyn Fn() -> Fate + Send + Sync>;

/// What goes wrong from now on.
#[derive(Clone, Default)]
pub struct Faults {
    /// Every PUT waits this long before it is applied.
    pub delay: Duration,
    /// A PUT is answered with this status and not applied.
    pub put_status: Option<u16>,
    /// A GET of a user is answered with this status.
    pub get_status: Option<u16>,
    /// The index that holds users cannot be read: their logins are answered 401, and the administrator, who is not one of
    /// them, 503 (`NativeUsersStore`, `SecurityIndexManager`).
    pub security_index_down: bool,
    /// A PUT is applied after the delay even when the client has gone.
    pub apply_after_client_gave_up: bool,
    /// Decides about each PUT, instead of `delay`, `put_status` and `apply_after_client_gave_up`.
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
