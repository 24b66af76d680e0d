//! Identity by `metadata_context`: what a filter before this one found out, such as Envoy's `jwt_authn`.

use std::time::SystemTime;

use serde_json::{Map, Value};

use super::Error;
use crate::clock::unix_millis;
use crate::identity::claims::{self, Claims};
use crate::identity::{AsOf, Identity, Owner, token};

/// Where in Envoy's metadata the identity is: `authelia.metadata_*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `authelia.metadata_namespace`, such as `envoy.filters.http.jwt_authn`.
    pub namespace: String,
    /// `authelia.metadata_payload`: the key within it; `payload_in_metadata` of `jwt_authn`. None: the fields are in the
    /// namespace itself.
    pub payload: Option<String>,
    /// `oidc.claim_mappings`: which field holds what.
    pub claims: claims::Settings,
}

impl Settings {
    /// Reads the fields as the claims of a token are read. Where they are those of a verified token, its issuer, subject
    /// and time count, so that its bearer may later come with the token itself.
    pub(super) fn identify(
        &self,
        metadata: &Map<String, Value>,
        issuer: &str,
        now: SystemTime,
    ) -> Result<Identity, Error> {
        let fields = match &self.payload {
            None => metadata,
            Some(payload) => metadata.get(payload).and_then(Value::as_object).ok_or(Error::Missing)?,
        };
        let claims = Claims::from_metadata(fields);
        // the filter checks signature, issuer, audience and times, and not what the token is for
        token::kind(&claims)?;
        let claims::Mapped { username, email, full_name, groups, kept } = self.claims.apply(&claims)?;
        let text = |name: &str| claims.string(name).ok().filter(|text| !text.is_empty());
        let owner = match (text("iss"), text("sub")) {
            (Some(issuer), Some(subject)) => Owner { issuer: issuer.into(), subject: subject.into() },
            _ => Owner::of_headers(issuer, &username),
        };
        // a moment to come would keep the roles as they are until then
        let as_of = claims.time("iat")?.map_or(AsOf::Now, |(_, issued)| AsOf::At(issued.min(unix_millis(now))));
        let expires = claims.time("exp")?.map_or(now, |(end, _)| end);
        Ok(Identity { username, owner, email, full_name, groups, claims: kept, as_of, expires })
    }
}
