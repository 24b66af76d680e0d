//! `elastauth explain`: shows what becomes of a token or of groups, and why.

use std::io::{self, IsTerminal as _, Read as _};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use elastauth::app;
use elastauth::authz::policy::Policy;
use elastauth::authz::{Refusal, Request, Text};
use elastauth::config::{Provider, Settings};
use elastauth::credentials::broker::{self, PlannedWrite};
use elastauth::credentials::{Caller, InspectError, Refused};
use elastauth::identity::issuers::Explained;
use elastauth::identity::token::Check;
use elastauth::identity::{AsOf, Identity, Owner, Username, UsernameError};
use elastauth::roles::{Mapping, Roles};
use zeroize::Zeroizing;

mod cached;

/// Bytes of standard input that are read; no token that is accepted is longer.
const MAX_INPUT: u64 = 64 * 1024;

/// Flags of `explain`: the caller, and the request that it makes.
#[derive(Args)]
pub struct Explain {
    /// These groups, separated by commas, instead of a token.
    #[arg(long, value_delimiter = ',')]
    groups: Option<Vec<String>>,
    /// Also reads the cache, looks at the user in Elasticsearch, and prints what a request would write.
    #[arg(long, conflicts_with = "groups")]
    online: bool,
    /// The request's method, for the rules of `policy.allow`.
    #[arg(long, default_value = "GET")]
    method: String,
    /// The request's host, for the rules of `policy.allow`.
    #[arg(long, default_value = "")]
    host: String,
    /// The request's path, for the rules of `policy.allow`.
    #[arg(long, default_value = "/")]
    path: String,
}

/// How the command ends when the caller is not let through.
enum End {
    Refused(Refusal),
    Usage(&'static str),
    Failed(app::Error),
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<app::Error> for End {
    fn from(error: app::Error) -> Self {
        Self::Failed(error)
    }
}

/// Runs the command to its end, and returns the exit code of the process.
pub fn run(flags: &Explain, settings: &Settings) -> ExitCode {
    super::block_on(async {
        match explain(flags, settings).await {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(End::Refused(refusal)) => {
                let verdict = refusal.verdict();
                say!("refused    {} {}: {refusal}", verdict.http, verdict.reason);
                say!("cure       {}", refusal.reason().cure());
                Ok(ExitCode::FAILURE)
            }
            Err(End::Usage(why)) => {
                remark!("elastauth: {why}");
                Ok(ExitCode::from(super::EXIT_USAGE))
            }
            Err(End::Failed(error)) => Err(error),
        }
    })
}

async fn explain(flags: &Explain, settings: &Settings) -> Result<(), End> {
    let identity = match &flags.groups {
        Some(groups) => anonymous(groups).map_err(|error| Refusal::Token(error.into()))?,
        None => bearer(settings).await?,
    };
    let roles = decide(flags, settings, &identity)?;
    if flags.online { preview(settings, identity, roles).await } else { Ok(()) }
}

/// Prints what is cached and what would be written.
async fn preview(settings: &Settings, identity: Identity, roles: Roles) -> Result<(), End> {
    let owner = identity.owner.clone();
    let previewed = app::preview(settings, &Caller::new(identity, roles.clone())).await?;
    super::out::lines(&cached::lines(&previewed, &owner, &roles));
    let dry_run = || settings.elasticsearch.dry_run.then_some(Refused::DryRun);
    let refused = |refused| Refusal::Credentials(broker::Error::Refused(refused));
    match (previewed.preview.next, previewed.preview.user) {
        (Err(error), _) => Err(Refusal::Credentials(error).into()),
        // a user that is served from the cache is not inspected before
        (Ok(PlannedWrite::Written { .. }), Err(InspectError::Refused(why))) => Err(refused(why).into()),
        (Ok(PlannedWrite::Written { .. }), _) => dry_run().map_or(Ok(()), |why| Err(refused(why).into())),
        (Ok(PlannedWrite::Served | PlannedWrite::Waits), _) => Ok(()),
    }
}

/// An identity with these groups and a placeholder for the name.
fn anonymous(groups: &[String]) -> Result<Identity, UsernameError> {
    let username = Username::parse("somebody")?;
    Ok(Identity {
        owner: Owner::of_headers("", &username),
        username,
        email: None,
        full_name: None,
        groups: groups.to_vec(),
        claims: Vec::new(),
        as_of: AsOf::Now,
        expires: UNIX_EPOCH,
    })
}

/// The identity that the token on standard input makes.
async fn bearer(settings: &Settings) -> Result<Identity, End> {
    let token = read_token().ok_or(End::Usage("no token on standard input"))?;
    let explained = app::explain(settings, &token, SystemTime::now()).await?;
    let Explained { issuer, passed, outcome } =
        explained.ok_or(End::Usage("auth_provider is authelia: callers bring no tokens; use --groups"))?;
    if let Some(issuer) = &issuer {
        say!("issuer     {issuer}");
    }
    if !passed.is_empty() {
        let passed: Vec<_> = passed.into_iter().map(Check::name).collect();
        say!("passed     {}", passed.join(", "));
    }
    let identity = outcome.map_err(Refusal::Token)?.identity;
    claims(settings, &identity);
    Ok(identity)
}

/// The token, with or without `Bearer` before it.
fn read_token() -> Option<Zeroizing<String>> {
    if io::stdin().is_terminal() {
        remark!("the token, then an empty line and Ctrl-D:");
    }
    let mut input = Zeroizing::new(String::new());
    io::stdin().take(MAX_INPUT).read_to_string(&mut input).ok()?;
    let token = input.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim_start();
    (!token.is_empty()).then(|| Zeroizing::new(token.to_owned()))
}

/// Prints which claim gave which part of the identity.
fn claims(settings: &Settings, identity: &Identity) {
    let Provider::Oidc(issuers, _) = &settings.identity else { return };
    let Some((_, issuer)) = issuers.iter().find(|(_, issuer)| issuer.token.issuer == *identity.owner.issuer) else {
        return;
    };
    let names = &issuer.token.claims;
    say!("username   {}, of the claim {}", identity.username, names.username);
    say!("groups     {}, of the claim {}", list(&identity.groups), names.groups);
    for (what, value, name) in
        [("full name ", &identity.full_name, &names.full_name), ("email     ", &identity.email, &names.email)]
    {
        if let Some(value) = value {
            say!("{what} {}, of the claim {name}", value);
        }
    }
}

/// Prints the roles, the rule that decides, and the user that would be written.
fn decide(flags: &Explain, settings: &Settings, identity: &Identity) -> Result<Roles, Refusal> {
    let roles = roles(settings, identity)?;
    let text = |text: &str| Text(text.to_owned().into_bytes().into());
    let request =
        Request { method: text(&flags.method), host: text(&flags.host), path: text(&flags.path), ..Request::default() };
    if flags.groups.is_some() && settings.policy.allow.iter().any(|rule| !rule.claims.is_empty()) {
        say!("policy     rules about claims do not match without a token");
    }
    match Policy::new(settings.policy.clone()).judge(identity, &request).map_err(Refusal::Policy)? {
        Some(rule) => say!("policy     the rule {rule} lets {} {} through", request.method, request.path),
        None => say!("policy     no rules: every caller with a role gets through"),
    }
    let Identity { username, owner, .. } = identity;
    match flags.groups {
        Some(_) => say!("allowed    with the roles {roles}"),
        None => say!(
            "allowed    the Elasticsearch user {username} would have the roles {roles} and belong to the subject {} of {}{}",
            owner.subject,
            owner.issuer,
            if flags.online { "" } else { "; --online also looks at the cache and at the user in Elasticsearch" }
        ),
    }
    Ok(roles)
}

fn roles(settings: &Settings, identity: &Identity) -> Result<Roles, Refusal> {
    let mapping = Mapping::new(&settings.roles);
    let mut matched = false;
    for group in &identity.groups {
        let roles = mapping.of(group);
        matched |= roles.is_some();
        let gives = roles.map_or_else(|| "nothing: not in group_mappings".into(), list);
        say!("mapping    {} gives {gives}", group);
    }
    if !matched {
        say!("mapping    no group matched: default_roles, {}", list(&settings.roles.default_roles));
    }
    Ok(mapping.roles(&identity.groups)?)
}

fn list(names: &[impl AsRef<str>]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.join(", ")
}
