//! Asking the provider about one token.

use reqwest::RequestBuilder;
use reqwest::header::ACCEPT;
use url::Url;

use super::reply::{Expected, Reply};
use super::{Endpoint, OidcProvider, failed};
use crate::identity::{Answer, KeySourceError};
use crate::outbound;

/// A hint that providers may use to find the token (RFC 7662 §2.1).
const HINT: (&str, &str) = ("token_type_hint", "access_token");

impl OidcProvider {
    /// `OpenID` Connect Core §5.3.1, with the token in the header as RFC 6750 §2.1 has it.
    pub(super) async fn userinfo(&self, token: &str) -> Result<Answer, KeySourceError> {
        let url = self.locate(Endpoint::Userinfo).await?;
        let request = self.http.get(url.clone()).header(ACCEPT, "application/json").bearer_auth(token);
        let reply = self.send(&url, request).await?;
        if reply.refuses() {
            Ok(Answer::Refused)
        } else {
            reply.document(&url, Expected::Userinfo).map(Answer::Document)
        }
    }

    /// RFC 7662 §2.1, as the client of the configuration. Here 401 is about that client and not about the token (§2.3).
    pub(super) async fn introspect(&self, token: &str) -> Result<Answer, KeySourceError> {
        let url = self.locate(Endpoint::Introspection).await?;
        let Some(client) = self.client.as_ref().filter(|client| client.secret.is_some()) else {
            return Err(failed(&url, "there is no client_id with client_secret to ask with"));
        };
        let method = self.client_auth(Endpoint::Introspection);
        let request = client.post(&self.http, &url, method, &[("token", token), HINT]);
        self.send(&url, request).await?.document(&url, Expected::Introspection).map(Answer::Document)
    }

    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<Reply, KeySourceError> {
        let response = self.note(request.send().await);
        Reply::read(url, response.map_err(|error| failed(url, outbound::chain(error)))?).await
    }
}
