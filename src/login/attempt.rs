//! One attempt to log in, from the redirect to the provider until the callback. It lives in a sealed cookie of the browser alone: a
//! flood of starts costs no memory here, and no other browser can finish it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ring::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

use super::cookies::{ATTEMPT, end, set_for};
use super::return_path::ReturnPath;
use super::settings::{Settings, Site};
use super::token_endpoint::Endpoints;
use crate::clock::unix_millis;
use crate::cookies;
use crate::credentials::seal::{Seal, SealError};
use crate::random::{self, NoRandomness};

/// How long a person may take at the provider.
pub const LIFE: Duration = Duration::from_secs(600);

/// The most attempts that one browser has at a time, one for each tab.
const MOST: usize = 5;
/// The most bytes of their cookies together. Servers refuse requests with longer headers than 8 KiB, and other cookies need room.
const MOST_BYTES: usize = 6 * 1024;
/// The most cookies that one response ends. More than that are not a browser's.
const MOST_ENDED: usize = 20;

/// How many digits of the state are in the name of its cookie.
const IN_NAME: usize = 8;

/// Which attempt a callback answers: 128 random bits, in 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State(String);

impl State {
    /// Reads a parameter; none where it cannot be a state of elastauth's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 32 && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }

    fn of(bits: u128) -> Self {
        Self(format!("{bits:032x}"))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the attempt's cookie.
    #[must_use]
    pub fn cookie(&self) -> String {
        format!("{ATTEMPT}{}", &self.0[..IN_NAME])
    }
}

/// What must be known again when the browser comes back.
pub struct Attempt {
    state: State,
    nonce: u128,
    /// The random bytes that the PKCE verifier is made of.
    seed: Zeroizing<[u8; 32]>,
    return_path: ReturnPath,
    host: String,
    /// In milliseconds since 1970.
    started: u64,
}

impl Attempt {
    /// Begins to log in at this site.
    pub fn start(site: &Site, return_path: ReturnPath, now: SystemTime) -> Result<Self, NoRandomness> {
        let state = State::of(u128::from_be_bytes(random::bytes()?));
        let (nonce, seed) = (u128::from_be_bytes(random::bytes()?), Zeroizing::new(random::bytes()?));
        Ok(Self { state, nonce, seed, return_path, host: site.host.clone(), started: unix_millis(now) })
    }

    /// The attempt that this state names, of the cookies of one request: one that this browser started at this site, and not
    /// longer ago than [`LIFE`].
    #[must_use]
    pub fn find(seal: &Seal, site: &Site, headers: &[Bytes], state: &State, now: SystemTime) -> Option<Self> {
        let [value] = cookies::find(headers, &state.cookie())[..] else { return None };
        Self::open(seal, site, value, now).filter(|attempt| attempt.state == *state)
    }

    /// Opens the value of an attempt's cookie.
    #[must_use]
    pub fn open(seal: &Seal, site: &Site, value: &str, now: SystemTime) -> Option<Self> {
        let sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
        let plain = seal.open_attempt(&site.host, &sealed).ok()?;
        let (started, rest) = plain.split_first_chunk()?;
        let (state, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (seed, path) = rest.split_first_chunk()?;
        let (started, state) = (u64::from_be_bytes(*started), State::of(u128::from_be_bytes(*state)));
        let (nonce, seed) = (u128::from_be_bytes(*nonce), Zeroizing::new(*seed));
        let return_path = ReturnPath::unsealed(path);
        let is_live = u128::from(unix_millis(now).abs_diff(started)) <= LIFE.as_millis();
        is_live.then(|| Self { state, nonce, seed, return_path, host: site.host.clone(), started })
    }

    fn plain(&self) -> Zeroizing<Vec<u8>> {
        let bits = u128::from_str_radix(self.state.as_str(), 16).unwrap_or_default();
        let (started, state, nonce) = (self.started.to_be_bytes(), bits.to_be_bytes(), self.nonce.to_be_bytes());
        Zeroizing::new([&started[..], &state, &nonce, &*self.seed, self.return_path.as_str().as_bytes()].concat())
    }

    /// `Set-Cookie` for the attempt itself, and for those of this browser that are ended: what has expired or cannot be opened, and
    /// the oldest ones where there are too many.
    pub fn cookies(
        &self,
        seal: &Seal,
        site: &Site,
        headers: &[Bytes],
        now: SystemTime,
    ) -> Result<Vec<String>, SealError> {
        let own = self.state.cookie();
        let value = URL_SAFE_NO_PAD.encode(seal.seal_attempt(&self.host, &self.plain())?);
        let mut others: Vec<(&str, usize, u64)> = cookies::beginning_with(headers, ATTEMPT)
            .filter(|(name, _)| *name != own && cookies::is_name(name))
            .map(|(name, value)| {
                let started = Self::open(seal, site, value, now).map_or(0, |attempt| attempt.started);
                (name, name.len() + value.len(), started)
            })
            .collect();
        others.sort_unstable_by_key(|(_, _, started)| std::cmp::Reverse(*started));
        let (mut kept, mut bytes) = (1, own.len() + value.len());
        let mut set = vec![set_for(&own, &value, LIFE)];
        for (name, size, started) in others {
            let stays = started > 0 && kept < MOST && bytes + size <= MOST_BYTES;
            if stays {
                (kept, bytes) = (kept + 1, bytes + size);
            } else if set.len() <= MOST_ENDED {
                set.push(end(name));
            }
        }
        Ok(set)
    }

    /// Where the browser is sent: the provider's authorization endpoint with a request of the code flow (OpenID Connect Core
    /// §3.1.2.1). What the endpoint's own query says stays.
    #[must_use]
    pub fn authorization_url(&self, endpoints: &Endpoints, settings: &Settings, site: &Site) -> Url {
        let mut url = endpoints.authorization.clone();
        url.set_fragment(None);
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", &redirect_uri(settings, site))
            .append_pair("scope", &settings.scopes.join(" "))
            .append_pair("state", self.state.as_str())
            .append_pair("nonce", &self.nonce());
        if settings.pkce {
            let challenge = digest(&SHA256, self.verifier().expose_secret().as_bytes());
            query
                .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(challenge))
                .append_pair("code_challenge_method", "S256");
        }
        drop(query);
        url
    }

    /// Which of this browser's attempts it is.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What the ID token must have as its `nonce`.
    #[must_use]
    pub fn nonce(&self) -> String {
        format!("{:032x}", self.nonce)
    }

    /// The PKCE verifier: 43 characters (RFC 7636 §4.1).
    #[must_use]
    pub fn verifier(&self) -> SecretString {
        URL_SAFE_NO_PAD.encode(*self.seed).into()
    }

    /// Where the person wanted to go.
    #[must_use]
    pub fn return_path(&self) -> &ReturnPath {
        &self.return_path
    }

    /// When it was started.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.started)
    }
}

/// Where the provider sends browsers back to; it must be registered there.
#[must_use]
pub fn redirect_uri(settings: &Settings, site: &Site) -> String {
    format!("{}{}/callback", site.origin, settings.path)
}

#[cfg(test)]
mod tests;
