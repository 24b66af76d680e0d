//! How elastauth shows the provider which of its clients is asking: RFC 6749 §2.3.

use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

/// `oidc.client_id` and `oidc.client_secret`.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's name.
    pub id: String,
    /// None for a public client (RFC 6749 §2.1), which only says its name.
    pub secret: Option<SecretString>,
}

/// `oidc.client_auth_method`: where the secret is in a request, by the names of `OpenID` Connect Core §9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthMethod {
    /// `client_secret_basic`: in the `Authorization` header. Every provider has to take it (RFC 6749 §2.3.1).
    Basic,
    /// `client_secret_post`: in the body.
    Post,
}

impl Client {
    /// A request with this form, in the client's name.
    pub(super) fn post(
        &self,
        http: &reqwest::Client,
        url: &Url,
        method: ClientAuthMethod,
        form: &[(&str, &str)],
    ) -> RequestBuilder {
        let secret = self.secret.as_ref().map(ExposeSecret::expose_secret);
        let mut body = Serializer::new(String::new());
        body.extend_pairs(form);
        let basic = match (method, secret) {
            (ClientAuthMethod::Basic, Some(secret)) => Some(secret),
            (ClientAuthMethod::Post, Some(secret)) => {
                body.append_pair("client_id", &self.id).append_pair("client_secret", secret);
                None
            }
            (_, None) => {
                body.append_pair("client_id", &self.id);
                None
            }
        };
        let request = http.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.header(ACCEPT, "application/json").body(body.finish());
        match basic {
            // RFC 6749 §2.3.1: both are form-encoded before they become a name and a password
            Some(secret) => {
                let [id, secret] =
                    [self.id.as_str(), secret].map(|text| byte_serialize(text.as_bytes()).collect::<String>());
                request.basic_auth(id, Some(secret))
            }
            None => request,
        }
    }
}
