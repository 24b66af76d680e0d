//! The digest of all settings that decide which roles a caller gets.

use crate::config::settings::Provider;
use crate::digest::Digest;
use crate::identity::claims;
use crate::roles::{self, Mapping};

/// Another digest means that the same caller may get other roles. What only checks the configuration itself, as
/// `denied_roles` does, is not part of it.
pub(super) fn digest(provider: &Provider, roles: &roles::Settings) -> Digest {
    let source: Vec<String> = match provider {
        Provider::Oidc(issuers, _) => {
            let mut sources: Vec<[String; 4]> = issuers
                .iter()
                .map(|(_, issuer)| {
                    let [groups, prefix] = of_claims(&issuer.token.claims);
                    [issuer.token.issuer.clone(), format!("{:?}", issuer.validation), groups, prefix]
                })
                .collect();
            sources.sort();
            sources.into_iter().flatten().collect()
        }
        Provider::Headers(headers) => match &headers.metadata {
            Some(metadata) => {
                let place = [metadata.namespace.clone(), metadata.payload.clone().unwrap_or_default()];
                place.into_iter().chain(of_claims(&metadata.claims)).collect()
            }
            None => vec![headers.names.groups.to_string(), headers.separator.to_string()],
        },
    };
    Mapping::new(roles).digest(source)
}

fn of_claims(claims: &claims::Settings) -> [String; 2] {
    [claims.groups.clone(), claims.groups_prefix.clone()]
}
