use std::collections::HashMap;

use super::*;
use crate::login::testing::{at, endpoints, other_site, seal, settings, site};

const OWN: &str = "/.elastauth";

fn start(path: &str, seconds: u64) -> Attempt {
    Attempt::start(&site(), ReturnPath::of(path.as_bytes(), OWN), at(seconds)).unwrap()
}

/// The cookies of a browser, by name.
#[derive(Default)]
struct Browser(HashMap<String, String>);

impl Browser {
    fn headers(&self) -> Vec<Bytes> {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        vec![pairs.join("; ").into()]
    }

    /// Obeys `Set-Cookie`, and returns how many cookies were set and ended.
    fn obey(&mut self, lines: &[String]) -> (usize, usize) {
        let (mut set, mut ended) = (0, 0);
        for line in lines {
            let (pair, attributes) = line.split_once("; ").unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            for attribute in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
                assert!(attributes.contains(attribute), "{line}");
            }
            assert!(!attributes.contains("Domain"), "{line}");
            if attributes.contains("Max-Age=0") {
                assert!(self.0.remove(name).is_some(), "{line}");
                ended += 1;
            } else {
                assert!(attributes.contains("Max-Age=600"), "{line}");
                self.0.insert(name.to_owned(), value.to_owned());
                set += 1;
            }
        }
        (set, ended)
    }

    fn begin(&mut self, attempt: &Attempt, seconds: u64) -> (usize, usize) {
        let lines = attempt.cookies(&seal(1), &site(), &self.headers(), at(seconds)).unwrap();
        self.obey(&lines)
    }
}

#[test]
fn what_was_started_comes_back_to_the_same_browser_at_the_same_host() {
    let mut browser = Browser::default();
    let attempt = start("/app/discover?a=1", 0);
    assert_eq!(browser.begin(&attempt, 0), (1, 0));
    let found = Attempt::find(&seal(1), &site(), &browser.headers(), attempt.state(), at(1)).unwrap();
    assert_eq!(found.state(), attempt.state());
    assert_eq!(found.nonce(), attempt.nonce());
    assert_eq!(found.verifier().expose_secret(), attempt.verifier().expose_secret());
    assert_eq!(found.return_path().as_str(), "/app/discover?a=1");
    assert_eq!(found.started(), at(0));
}

#[test]
fn an_attempt_is_of_no_use_elsewhere_later_or_changed() {
    let mut browser = Browser::default();
    let (attempt, other) = (start("/", 1000), start("/", 1000));
    browser.begin(&attempt, 1000);
    let headers = browser.headers();
    let finds = |seal: &Seal, site: &Site, headers: &[Bytes], state: &State, seconds| {
        Attempt::find(seal, site, headers, state, at(seconds)).is_some()
    };
    let state = attempt.state();
    assert!(finds(&seal(1), &site(), &headers, state, 1600));
    assert!(!finds(&seal(1), &site(), &headers, state, 1601), "ten minutes are over");
    assert!(finds(&seal(1), &site(), &headers, state, 995), "a replica's clock is behind");
    assert!(!finds(&seal(1), &site(), &headers, state, 0), "no clock is so far behind");
    assert!(!finds(&seal(2), &site(), &headers, state, 1000), "another key");
    assert!(!finds(&seal(1), &other_site(), &headers, state, 1000), "another host");
    assert!(!finds(&seal(1), &site(), &[], state, 1000), "another browser");
    assert!(!finds(&seal(1), &site(), &headers, other.state(), 1000), "another attempt");
    // the cookie of one attempt under the name of another
    let moved = String::from_utf8(headers[0].to_vec()).unwrap().replace(&state.cookie(), &other.state().cookie());
    assert!(!finds(&seal(1), &site(), &[moved.into()], other.state(), 1000), "a moved cookie");
    let twice = [&headers[0][..], b"; ", &headers[0][..]].concat();
    assert!(!finds(&seal(1), &site(), &[twice.into()], state, 1000), "which of two counts cannot be told");
    let value = &browser.0[&state.cookie()];
    for at in 0..value.len() {
        let mut changed = value.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        let header = Bytes::from(format!("{}={changed}", state.cookie()));
        assert!(!finds(&seal(1), &site(), &[header], state, 1000), "changed at {at}");
    }
    for value in ["", "x", "!", &"A".repeat(8192)] {
        let header = Bytes::from(format!("{}={value}", state.cookie()));
        assert!(!finds(&seal(1), &site(), &[header], state, 1000), "{value}");
    }
}

#[test]
fn no_other_seal_makes_an_attempt() {
    use crate::credentials::CacheKey;
    use crate::identity::Username;
    let attempt = start("/", 0);
    let key = CacheKey::of(&Username::parse("ann").unwrap());
    let record = seal(1).seal(&key, &attempt.plain()).unwrap();
    let value = URL_SAFE_NO_PAD.encode(record);
    assert!(Attempt::open(&seal(1), &site(), &value, at(0)).is_none());
}

#[test]
fn five_tabs_log_in_at_once_and_a_sixth_ends_the_oldest() {
    let mut browser = Browser::default();
    let mut attempts = Vec::new();
    for second in 0..5 {
        let attempt = start("/", second);
        assert_eq!(browser.begin(&attempt, second), (1, 0), "{second}");
        attempts.push(attempt);
    }
    let headers = browser.headers();
    for attempt in &attempts {
        assert!(Attempt::find(&seal(1), &site(), &headers, attempt.state(), at(5)).is_some());
    }
    for second in 5..20 {
        let attempt = start("/", second);
        assert_eq!(browser.begin(&attempt, second), (1, 1), "{second}");
        assert_eq!(browser.0.len(), 5);
        attempts.push(attempt);
        let headers = browser.headers();
        let alive =
            |attempt: &Attempt| Attempt::find(&seal(1), &site(), &headers, attempt.state(), at(second)).is_some();
        let alive: Vec<bool> = attempts.iter().map(alive).collect();
        assert!(alive[alive.len() - 5..].iter().all(|alive| *alive) && !alive[..alive.len() - 5].contains(&true));
    }
}

#[test]
fn what_has_expired_or_is_not_ours_is_ended_and_cookies_stay_small_together() {
    let mut browser = Browser::default();
    browser.begin(&start("/", 0), 0);
    browser.0.insert(format!("{ATTEMPT}ffffffff"), "nonsense".into());
    browser.0.insert("other".into(), "stays".into());
    assert_eq!(browser.begin(&start("/", 700), 700), (1, 2));
    assert_eq!(browser.0["other"], "stays");

    let path = format!("/{}", "x".repeat(2000));
    for second in 701..720 {
        browser.begin(&start(&path, second), second);
        let bytes: usize = browser.0.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(bytes < MOST_BYTES + 50, "{bytes}");
        assert!(browser.0.len() >= 3, "two attempts with the longest path have room");
    }
    let small: Vec<String> = start("/", 0).cookies(&seal(1), &site(), &[], at(0)).unwrap();
    assert!(small[0].len() < 260, "{}", small[0].len());
}

#[test]
fn a_browser_with_hundreds_of_cookies_gets_a_bounded_answer() {
    let many: Vec<String> = (0..500).map(|n| format!("{ATTEMPT}{n:08x}=x")).collect();
    let lines = start("/", 0).cookies(&seal(1), &site(), &[many.join("; ").into()], at(0)).unwrap();
    assert_eq!(lines.len(), 1 + MOST_ENDED);
    let strange = Bytes::from(format!("{ATTEMPT}\u{e9}=x; {ATTEMPT}a b=x"));
    assert_eq!(start("/", 0).cookies(&seal(1), &site(), &[strange], at(0)).unwrap().len(), 1);
}

#[test]
fn the_provider_is_asked_for_a_code_with_pkce() {
    let attempt = start("/", 0);
    let url = attempt.authorization_url(&endpoints(), &settings(), &site());
    assert!(url.as_str().starts_with("https://id.example.org/authorize?tenant=a%26b&response_type=code&"), "{url}");
    let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
    let expect = |name: &str, value: &str| assert_eq!(query[name], value, "{name}");
    expect("tenant", "a&b");
    expect("client_id", "kibana login");
    expect("redirect_uri", "https://kibana.example.org/.elastauth/callback");
    expect("scope", "openid profile");
    expect("state", attempt.state().as_str());
    expect("nonce", &attempt.nonce());
    expect("code_challenge_method", "S256");
    let verifier = attempt.verifier();
    assert_eq!(verifier.expose_secret().len(), 43);
    expect("code_challenge", &URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.expose_secret().as_bytes())));
    assert_eq!(query.len(), 9);

    let plain = Settings { pkce: false, ..settings() };
    let url = attempt.authorization_url(&endpoints(), &plain, &other_site());
    assert!(!url.as_str().contains("code_challenge"), "{url}");
    assert!(url.as_str().contains("redirect_uri=https%3A%2F%2Felastic.example.org%3A8443%2F.elastauth%2Fcallback"));
}

#[test]
fn no_two_attempts_share_anything() {
    let (one, other) = (start("/", 0), start("/", 0));
    assert_ne!(one.state(), other.state());
    assert_ne!(one.nonce(), other.nonce());
    assert_ne!(one.verifier().expose_secret(), other.verifier().expose_secret());
    assert_ne!(one.state().as_str(), one.nonce());
}

#[test]
fn a_state_is_32_digits_in_one_spelling() {
    assert!(State::parse(&"0123456789abcdef".repeat(2)).is_some());
    for text in ["", "0", &"A".repeat(32), &"0".repeat(31), &"0".repeat(33), &"g".repeat(32), &"\u{e9}".repeat(16)] {
        assert_eq!(State::parse(text), None, "{text}");
    }
}
