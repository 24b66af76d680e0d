//! Redeems codes and refresh tokens at the provider, and verifies what comes of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use secrecy::{ExposeSecret as _, SecretString};

use super::error::Error;
use super::markers::{LoggedOut, LogoutNotice};
use super::renew::{Renew, RenewError, Renewed, SignedIn};
use super::sessions::NewSession;
use super::token_endpoint::{Grant, IdentityProvider, RedeemError, Tokens};
use crate::identity::issuers::Issuers;
use crate::identity::sign_in::{self, Expected, SignInTokens};
use crate::identity::{KeyError, Owner, token};

/// Errors that are about the client and its request (RFC 6749 §5.2): the token is as good as before, and no other session's would
/// be redeemed either. All others are about this person's token, or ask for the person.
const OF_THE_CLIENT: [&str; 4] = ["invalid_client", "unauthorized_client", "invalid_request", "unsupported_grant_type"];

/// The life of tokens whose provider does not say it.
const UNSAID: Duration = Duration::from_secs(300);

/// The identity provider as the login uses it.
pub(super) struct Redeemer<K> {
    pub(super) provider: K,
    pub(super) issuers: Arc<Issuers<K>>,
    /// The place of the issuer in the list.
    pub(super) at: usize,
    pub(super) client_id: String,
}

impl<K: IdentityProvider> Redeemer<K> {
    /// Redeems the code of a login that was begun at this host with this nonce and verifier.
    pub(super) async fn code(
        &self,
        code: &SecretString,
        host: &str,
        redirect_uri: &str,
        verifier: Option<&SecretString>,
        nonce: &str,
        now: SystemTime,
    ) -> Result<NewSession, Error> {
        let redeemed = self.provider.redeem(Grant::Code { code, redirect_uri, verifier }).await;
        let tokens = redeemed.map_err(|error| match error {
            refused @ RedeemError::Refused { .. } => Error::Code(refused.to_string()),
            RedeemError::NotSent(why) | RedeemError::Unknown(why) => Error::ProviderUnavailable(why),
        })?;
        let Some(id_token) = tokens.id_token.clone() else {
            return Err(Error::Code("the answer has no ID token: is `openid` among oidc.scopes?".into()));
        };
        let signed_in = self.verified(&id_token, &tokens, Some(nonce), now).await?;
        let lifetime = lifetime(&signed_in, &tokens);
        let sign_in::SignedIn { identity, sid, issued, .. } = signed_in;
        let refresh_token = tokens.refresh_token;
        let host = host.to_owned();
        Ok(NewSession { host, identity, sid, signed_in: issued, id_token, refresh_token, lifetime })
    }

    /// The issuer's name.
    pub(super) fn issuer(&self) -> &str {
        self.issuers.name_at(self.at).unwrap_or_default()
    }

    /// What a logout token of the provider says, after all checks.
    pub(super) async fn logout_notice(&self, token: &str, now: SystemTime) -> Result<LogoutNotice, token::Error> {
        let notice = self.issuers.logout_token(self.at, &self.client_id, token, now).await?;
        let of = match (notice.sid, notice.subject) {
            (Some(sid), _) => LoggedOut::Session(sid),
            (None, Some(subject)) => LoggedOut::Subject(subject),
            (None, None) => return Err(token::Error::LogoutToken("it has neither sid nor sub".into())),
        };
        Ok(LogoutNotice { issuer: notice.issuer.to_string(), of, issued: notice.issued })
    }

    async fn verified(
        &self,
        id_token: &SecretString,
        tokens: &Tokens,
        nonce: Option<&str>,
        now: SystemTime,
    ) -> Result<sign_in::SignedIn, token::Error> {
        let access_token = tokens.access_token.expose_secret();
        let tokens = SignInTokens { id_token: id_token.expose_secret(), access_token };
        let expected = Expected { nonce, client_id: &self.client_id };
        self.issuers.sign_in(self.at, tokens, expected, now).await
    }
}

/// The shorter one of the two lives: after it, the groups are to be asked for again.
fn lifetime(signed_in: &sign_in::SignedIn, tokens: &Tokens) -> Duration {
    tokens.expires_in.unwrap_or(Duration::MAX).min(signed_in.lifetime)
}

impl<K: IdentityProvider> Renew for Arc<Redeemer<K>> {
    async fn renew(&self, refresh_token: &SecretString, owner: &Owner) -> Result<Renewed, RenewError> {
        let tokens = self.provider.redeem(Grant::Refresh(refresh_token)).await.map_err(|error| match error {
            ref refused @ RedeemError::Refused { ref error, .. } if OF_THE_CLIENT.contains(&error.as_str()) => {
                RenewError::NotSent(refused.to_string())
            }
            refused @ RedeemError::Refused { .. } => RenewError::Refused(refused.to_string()),
            RedeemError::NotSent(why) => RenewError::NotSent(why),
            RedeemError::Unknown(why) => RenewError::Unknown(why),
        })?;
        // a provider may leave it out (OpenID Connect Core §12.2): then nothing is known of a change of groups before the next login
        let Some(id_token) = tokens.id_token.clone() else {
            let lifetime = tokens.expires_in.unwrap_or(UNSAID);
            return Ok(Renewed { signed_in: None, refresh_token: tokens.refresh_token, lifetime });
        };
        let signed_in = match self.verified(&id_token, &tokens, None, SystemTime::now()).await {
            Ok(signed_in) => signed_in,
            // the provider signs with a key that it does not publish yet, or that elastauth may not fetch yet
            Err(error) if error.is_outage() || matches!(error, token::Error::Key(KeyError::UnknownKey)) => {
                let (refresh_token, why) = (tokens.refresh_token, error.to_string());
                return Err(RenewError::Unverified { refresh_token, why });
            }
            Err(error) => return Err(RenewError::Refused(format!("the new ID token: {error}"))),
        };
        if signed_in.identity.owner != *owner {
            return Err(RenewError::Refused("the new ID token is another person's".into()));
        }
        let lifetime = lifetime(&signed_in, &tokens);
        let sign_in::SignedIn { identity, sid, .. } = signed_in;
        let signed_in = Some(SignedIn { identity, sid, id_token });
        Ok(Renewed { signed_in, refresh_token: tokens.refresh_token, lifetime })
    }
}
