//! Asking the provider about one token.

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::ExposeSecret as _;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{Endpoint, OidcProvider, document, failed};
use crate::identity::{Answer, KeySourceError};
use crate::outbound;

impl OidcProvider {
    /// `OpenID` Connect Core §5.3.1, with the token in the header as RFC 6750 §2.1 has it.
    pub(super) async fn userinfo(&self, token: &str) -> Result<Answer, KeySourceError> {
        let url = self.locate(Endpoint::Userinfo).await?;
        let response = self.send(&url, self.client.get(url.clone()).bearer_auth(token)).await?;
        match response.status() {
            // RFC 6750 §3.1: invalid_request, invalid_token, insufficient_scope
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(Answer::Refused),
            _ => json(&url, response).await,
        }
    }

    /// RFC 7662 §2.1, as the client of the configuration. Here 401 is about that client and not about the token (§2.3).
    pub(super) async fn introspect(&self, token: &str) -> Result<Answer, KeySourceError> {
        let url = self.locate(Endpoint::Introspection).await?;
        let Some((id, secret)) = &self.secret else {
            return Err(failed(&url, "there is no client_id with client_secret to ask with"));
        };
        // RFC 6749 §2.3.1: both are form-encoded before they become a name and a password
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let body = Serializer::new(String::new())
            .append_pair("token", token)
            .append_pair("token_type_hint", "access_token")
            .finish();
        let request = self
            .client
            .post(url.clone())
            .basic_auth(encoded(id), Some(encoded(secret.expose_secret())))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        json(&url, self.send(&url, request).await?).await
    }

    /// An address that is not there is discovered anew next time. A failure at one token says nothing about the address.
    async fn send(&self, url: &Url, request: RequestBuilder) -> Result<Response, KeySourceError> {
        let response = request.header(ACCEPT, "application/json").send().await;
        let gone = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::GONE];
        if response.as_ref().map_or(true, |response| gone.contains(&response.status())) {
            self.endpoints.forget();
        }
        response.map_err(|error| failed(url, outbound::chain(error)))
    }
}

/// Core §5.3.2 and RFC 9701 let the answer be a signed token; what is read here is the plain one, whose origin TLS vouches for.
async fn json(url: &Url, response: Response) -> Result<Answer, KeySourceError> {
    let signed = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"jwt"));
    if signed && response.status() == StatusCode::OK {
        return Err(failed(url, "answered a signed token; let it answer plain JSON for this client"));
    }
    document(url, response).await.map(Answer::Document)
}
