//! What the users that elastauth makes have in common on Elasticsearch and on OpenSearch: the ownership stamp, what a
//! write says about the password, and what a dry run does instead of a write. How stamp and password are written and read is
//! known to the back ends alone.

pub(crate) mod dry_run;
mod hash;
mod password;
mod stamp;

pub use password::Hashing;

pub(crate) use hash::Version;
pub(crate) use password::{PasswordField, PasswordHashing};
pub(crate) use stamp::{Entries, MANAGER, RELEASED, SECRET, SECRET_SHOWN, StoredStamp, entries_of, entries_of_write};
