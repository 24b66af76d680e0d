//! Reads which groups give which roles.

use crate::config::keys::roles::{ALLOW_NO_ROLES, DEFAULT_ROLES, DENIED_ROLES, GROUP_MAPPINGS};
use crate::config::values::Values;
use crate::roles::Settings;

pub(super) fn roles(v: &mut Values<'_>) -> Settings {
    let default_roles = v.get(&DEFAULT_ROLES);
    let group_mappings = v.get(&GROUP_MAPPINGS);
    let denied = v.get(&DENIED_ROLES);
    for role in default_roles.iter().filter(|role| denied.contains(role)) {
        v.problem(&DEFAULT_ROLES, format!("the role {role} is in denied_roles"));
    }
    for (group, roles) in &group_mappings {
        for role in roles.iter().filter(|role| denied.contains(role)) {
            v.problem(
                &GROUP_MAPPINGS,
                format!("the group {group} would get the role {role}, which is in denied_roles"),
            );
        }
    }
    let superuser = |roles: &Vec<String>| roles.iter().any(|role| role == "superuser");
    if superuser(&default_roles) {
        v.warning(&DEFAULT_ROLES, "every user who can log in becomes superuser");
    }
    for (group, _) in group_mappings.iter().filter(|(_, roles)| superuser(roles)) {
        v.warning(&GROUP_MAPPINGS, format!("the group {group} becomes superuser"));
    }
    Settings { default_roles, group_mappings, allow_no_roles: v.get(&ALLOW_NO_ROLES) }
}
