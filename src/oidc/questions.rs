//! Asking the provider about one token.

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::ExposeSecret as _;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

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
        let reply = self.send(&url, self.client.get(url.clone()).bearer_auth(token)).await?;
        if reply.refuses() {
            Ok(Answer::Refused)
        } else {
            reply.document(&url, Expected::Userinfo).map(Answer::Document)
        }
    }

    /// RFC 7662 §2.1, as the client of the configuration. Here 401 is about that client and not about the token (§2.3).
    pub(super) async fn introspect(&self, token: &str) -> Result<Answer, KeySourceError> {
        let url = self.locate(Endpoint::Introspection).await?;
        let Some((id, secret)) = &self.secret else {
            return Err(failed(&url, "there is no client_id with client_secret to ask with"));
        };
        let secret = secret.expose_secret();
        let (header, form) = if self.endpoints.wants_the_secret_in_the_body() {
            (None, encoded(&[("token", token), HINT, ("client_id", id), ("client_secret", secret)]))
        } else {
            // RFC 6749 §2.3.1: both are form-encoded before they become a name and a password
            let [id, secret] = [id.as_str(), secret].map(|text| byte_serialize(text.as_bytes()).collect::<String>());
            (Some((id, secret)), encoded(&[("token", token), HINT]))
        };
        let request =
            self.client.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let request = header.into_iter().fold(request, |request, (id, secret)| request.basic_auth(id, Some(secret)));
        self.send(&url, request).await?.document(&url, Expected::Introspection).map(Answer::Document)
    }

    /// An address that is not there is discovered anew next time. A failure at one token says nothing about the address.
    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<Reply, KeySourceError> {
        let response = request.header(ACCEPT, "application/json").send().await;
        let gone = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::GONE];
        if response.as_ref().map_or(true, |response| gone.contains(&response.status())) {
            self.endpoints.forget();
        }
        Reply::read(url, response.map_err(|error| failed(url, outbound::chain(error)))?).await
    }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    Serializer::new(String::new()).extend_pairs(pairs).finish()
}
