//! The provider's side of a login: where browsers are sent, and the token endpoint (RFC 6749 §3.2).

use std::time::Duration;

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::reply::{Reply, is_oauth_error};
use super::{Endpoint, OidcProvider, failed};
use crate::login::{Endpoints, Grant, RedeemError, TokenEndpoint, Tokens, Unavailable};
use crate::outbound;
use crate::printable::printable;
use crate::spans;

/// How long a failed discovery keeps the next login from trying again, where nobody can log in without it.
const FAILED: Duration = Duration::from_secs(1);
/// The same where the address of the login is configured, and discovery would only tell what comes after a logout.
const UNTOLD: Duration = Duration::from_secs(60);

/// Errors of the code that say nothing about the grant: RFC 6749 §4.1.2.1 has them for another endpoint, and providers use them
/// here.
const TEMPORARY: [&str; 2] = ["temporarily_unavailable", "server_error"];

/// Of `error` and of `error_description`, characters that are shown.
const SHOWN: usize = 200;

/// A token that is valid for longer than this is taken for one that is valid for so long.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl TokenEndpoint for OidcProvider {
    async fn endpoints(&self) -> Result<Endpoints, Unavailable> {
        let told = || match self.endpoints.of_logins() {
            (Some(known), false) => Some(known),
            _ => None,
        };
        if let Some(known) = told() {
            return Ok(known);
        }
        let mut failure = self.discovering.lock().await;
        // another login may have discovered it meanwhile
        if let Some(known) = told() {
            return Ok(known);
        }
        let pause = if self.endpoints.of_logins().0.is_some() { UNTOLD } else { FAILED };
        if failure.as_ref().is_none_or(|(at, _)| at.elapsed() >= pause) {
            let discovered = self.discover().await.and_then(|()| self.endpoints.authorization());
            *failure = discovered.err().map(|error| (Instant::now(), error.to_string()));
        }
        match (self.endpoints.of_logins().0, failure.as_ref()) {
            (Some(found), _) => Ok(found),
            (None, Some((_, why))) => Err(Unavailable(why.clone())),
            (None, None) => Err(Unavailable("discovery was overtaken".into())),
        }
    }

    async fn redeem(&self, grant: Grant<'_>) -> Result<Tokens, RedeemError> {
        let span = span(&grant);
        let redeemed = self.redeem_once(&grant).instrument(span.clone()).await;
        match &redeemed {
            Ok(_) => {}
            // the grant is at fault, and nothing else: no outage
            Err(RedeemError::Refused { error, .. }) if error == "invalid_grant" => {}
            Err(RedeemError::Refused { .. }) => spans::failed(&span, "refused"),
            Err(RedeemError::NotSent(_)) => spans::failed(&span, "not_sent"),
            Err(RedeemError::Unknown(_)) => spans::failed(&span, "unknown"),
        }
        redeemed
    }
}

impl OidcProvider {
    /// Within `oidc.timeout`, discovery included where it is needed.
    async fn redeem_once(&self, grant: &Grant<'_>) -> Result<Tokens, RedeemError> {
        let deadline = Instant::now() + self.timeout;
        let not_sent = |why: String| RedeemError::NotSent(why);
        let Some(client) = &self.client else { return Err(not_sent("there is no oidc.client_id".into())) };
        let located = timeout_at(deadline, self.locate(Endpoint::Token)).await;
        let url = located
            .map_err(|_| not_sent("discovery of the token endpoint timed out".into()))?
            .map_err(|error| not_sent(error.to_string()))?;
        let span = Span::current();
        span.record("server.address", url.host_str());
        span.record("server.port", url.port_or_known_default().map(i64::from));

        let form = form(grant);
        let request = client.post(&self.http, &url, self.client_auth(Endpoint::Token), &form);
        let request = request.timeout(deadline.saturating_duration_since(Instant::now()));
        let response = self.note(request.send().await).map_err(|error| {
            let before_it_left = error.is_connect() || error.is_builder();
            let why = failed(&url, outbound::chain(error)).to_string();
            if before_it_left { RedeemError::NotSent(why) } else { RedeemError::Unknown(why) }
        })?;
        span.record("http.response.status_code", i64::from(response.status().as_u16()));
        let reply = Reply::read(&url, response).await.map_err(|error| RedeemError::Unknown(error.to_string()))?;
        let unknown = |why: String| RedeemError::Unknown(failed(&url, why).to_string());
        let object = reply.object().unwrap_or_default();
        if let Some(refused) = refusal(reply.status(), &object, &form, client.secret.as_ref()) {
            return Err(refused);
        }
        if reply.status() != StatusCode::OK {
            return Err(unknown(format!("answered {}{}", reply.status(), reply.kind())));
        }
        tokens(&object).map_err(|why| unknown(format!("answered {}{}, {why}", reply.status(), reply.kind())))
    }
}

/// By OpenTelemetry's conventions for HTTP clients.
fn span(grant: &Grant<'_>) -> Span {
    let name = match grant {
        Grant::Code { .. } => "exchange code",
        Grant::Refresh(_) => "refresh tokens",
    };
    spans::span!(
        "redeem",
        otel.name = name,
        otel.kind = "client",
        http.request.method = "POST",
        server.address = Empty,
        server.port = Empty,
        http.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
    )
}

fn form<'a>(grant: &Grant<'a>) -> Vec<(&'static str, &'a str)> {
    match grant {
        Grant::Code { code, redirect_uri, verifier } => {
            let code = [("grant_type", "authorization_code"), ("code", code.expose_secret())];
            let verifier = verifier.map(|verifier| ("code_verifier", verifier.expose_secret()));
            code.into_iter().chain([("redirect_uri", *redirect_uri)]).chain(verifier).collect()
        }
        Grant::Refresh(token) => vec![("grant_type", "refresh_token"), ("refresh_token", token.expose_secret())],
    }
}

/// What an error of OAuth says (RFC 6749 §5.2). Only these statuses have one: 401 where the client is not let in, and 403 at
/// providers that have it for a policy of theirs. A gateway's or framework's error has another form and says nothing about the
/// grant.
fn refusal(
    status: StatusCode,
    body: &Map<String, Value>,
    form: &[(&str, &str)],
    secret: Option<&SecretString>,
) -> Option<RedeemError> {
    if ![StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status) {
        return None;
    }
    let error = body.get("error")?.as_str().filter(|error| is_oauth_error(error) && !TEMPORARY.contains(error))?;
    // a provider may repeat what it was sent
    let sent = form.iter().skip(1).filter(|(name, _)| *name != "redirect_uri").map(|(_, value)| *value);
    let secrets: Vec<&str> = sent.chain(secret.map(ExposeSecret::expose_secret)).collect();
    let safe = |text: &&str| !secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret));
    let described = body.get("error_description").and_then(Value::as_str).filter(|text| !text.is_empty()).filter(safe);
    let error = if safe(&error) { error } else { "an error that repeats a secret" };
    Some(RedeemError::Refused { error: bounded(error), description: described.map(bounded) })
}

fn bounded(text: &str) -> String {
    printable(&text.chars().take(SHOWN).collect::<String>()).into_owned()
}

/// RFC 6749 §5.1 and `OpenID` Connect Core §3.1.3.3. The error completes a sentence.
fn tokens(body: &Map<String, Value>) -> Result<Tokens, &'static str> {
    let text = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(SecretString::from(text.as_str()))),
        Some(_) => Err("with a token that is not a text"),
    };
    let access_token =
        text("access_token")?.ok_or("without an access_token: is it the token endpoint that answers there?")?;
    // another type would have to be shown with a proof (RFC 9449 §5)
    if !body.get("token_type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err("with a token_type that is not Bearer");
    }
    Ok(Tokens {
        id_token: text("id_token")?,
        access_token,
        refresh_token: text("refresh_token")?,
        expires_in: body.get("expires_in").and_then(life),
    })
}

/// Seconds as a number, or, as some providers write it, as text. Zero and less stand for "not told" or "never" at those that
/// write it.
fn life(seconds: &Value) -> Option<Duration> {
    let number = match seconds {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    if number < 1.0 || number.is_nan() {
        return None;
    }
    Some(Duration::try_from_secs_f64(number).unwrap_or(LONGEST).min(LONGEST))
}
