//! `make try`: a person logs in with a browser and sees who she is in Elasticsearch. A real Envoy with `envoy/envoy.yaml`, a real
//! provider, and Redis where it is installed; stand-ins play Elasticsearch and Kibana.

#![expect(clippy::unwrap_used, reason = "a demonstration fails by panicking")]

use std::path::PathBuf;
use std::process::ExitCode;

use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::envoy::{Envoy, exchange};
use elastauth_support::kibana::Kibana;
use elastauth_support::process::free_port;
use elastauth_support::providers::{BrowserClient, CLIENT_SECRET, OidcProvider};
use elastauth_support::servers::{Elastauth, Redis, config, optional_tool, redis_cache};

#[tokio::main]
async fn main() -> ExitCode {
    let Some(binary) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: try_login ELASTAUTH");
        return ExitCode::from(2);
    };
    let port = free_port();
    let site = format!("http://localhost:{port}");
    let client = BrowserClient::of(&site, "/.elastauth/callback", "/.elastauth/logged-out");
    let Some(provider) = OidcProvider::for_browsers(&client) else {
        eprintln!("The provider needs Node.js 20 and npm.");
        return ExitCode::FAILURE;
    };
    provider.set_groups("carol", &[]).await;
    let elasticsearch = Elasticsearch::start().await;
    let kibana = Kibana::start(&elasticsearch.url, "/.elastauth/logout").await;
    let redis = optional_tool("redis-server").and_then(|_| Redis::start(&[]));
    let cache = redis.as_ref().map_or_else(|| "  type: memory".to_owned(), |redis| redis_cache(&redis.address));
    let yaml = config(&provider.client.issuer, &elasticsearch.url, &cache);
    let with_secret = format!("  client_secret: {CLIENT_SECRET}\n  client_id:");
    let yaml = exchange(yaml, "  client_id:", &with_secret);
    let login = format!("login:\n  enabled: true\n  hosts: [\"{site}\"]\n");
    let elastauth = Elastauth::start(&binary, &format!("{login}{yaml}"));
    let named = |text: String| exchange(text, "domains: [", &format!("domains: [\"localhost:{port}\", "));
    let Some(_envoy) = Envoy::start_at(port, "envoy.yaml", &[&elastauth.grpc], &kibana.address, named).await else {
        return ExitCode::FAILURE;
    };
    println!("\nOpen {site}/ in a browser.\n");
    println!("  ann    is an administrator");
    println!("  bob    is a developer");
    println!("  carol  has no role: she is told so, and can change the account\n");
    println!("Any password is right. Ctrl-C ends everything.");
    tokio::signal::ctrl_c().await.unwrap();
    ExitCode::SUCCESS
}
