//! New passwords for users, and how a run tells which of them have one already.

use std::fmt;
use std::sync::Arc;

use crate::clock::now_millis;
use crate::credentials::seal::Seal;
use crate::credentials::{DurableCopy, Password, SealedCopy};
use crate::identity::{Millis, Username};

/// How new passwords are made, and which users get one.
#[derive(Clone)]
pub struct Rotation {
    /// Seals the copy that is kept with the user.
    pub seal: Arc<Seal>,
    /// Users whose password was generated at this time or later, in milliseconds since 1970, are left alone. The time of a
    /// password is in the user's copy; without one that opens a user always gets a new password.
    pub generated_before: Millis,
}

impl Rotation {
    /// Whether the copy shows a password that is new enough.
    pub(super) fn has_newer(&self, name: &Username, copy: Option<&SealedCopy>) -> bool {
        let opened = copy.and_then(|copy| self.seal.open_copy(name, copy).ok());
        opened.is_some_and(|copy| copy.born >= self.generated_before)
    }

    /// Whether it can be told from the user that it has a new password.
    pub(super) fn leaves_copies(&self) -> bool {
        self.seal.seals_copies()
    }

    /// A new password, with its copy for the user. Where no copies are kept, nothing knows the password once it is written.
    pub(super) fn make(&self, name: &Username) -> Result<(Password, Option<SealedCopy>), String> {
        let password = Password::generate().map_err(|error| error.to_string())?;
        // a clock that was set back would make the next run do it again
        let copy = DurableCopy { password: password.clone(), born: now_millis().max(self.generated_before) };
        let sealed = self.seal.seal_copy(name, &copy).map_err(|error| error.to_string())?;
        Ok((password, sealed))
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation").field("generated_before", &self.generated_before).finish_non_exhaustive()
    }
}

impl PartialEq for Rotation {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.seal, &other.seal) && self.generated_before == other.generated_before
    }
}

impl Eq for Rotation {}
