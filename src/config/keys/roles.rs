//! The keys that map groups to roles.

use super::form::Mapping;
use super::key::{key, section, unset};

section! {
    DEFAULT_ROLES: Vec<String> = unset("default_roles", "roles of a caller where no group is mapped");
    DENIED_ROLES: Vec<String> = unset(
        "denied_roles",
        "roles that no mapping may give: elastauth does not start if one does",
    )
    .restricting();
    GROUP_MAPPINGS: Mapping = unset(
        "group_mappings",
        "group to list of roles; ASCII letters match in any case, other characters only themselves",
    );
    ALLOW_NO_ROLES: bool = key("allow_no_roles", "false", "let callers without any role through");
}
