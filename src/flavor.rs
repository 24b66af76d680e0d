//! Finds out whether Elasticsearch or OpenSearch answers at `elasticsearch.hosts`.

use std::time::Duration;

use reqwest::StatusCode;

use crate::cluster_client::{Answer, Call, ClusterClient};

/// The product that the cluster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// Elasticsearch, 7.10 or later.
    Elasticsearch,
    /// OpenSearch, 1 or later.
    OpenSearch,
}

/// Asks for the root, and where the account may not read it, for the account itself, which the two products do under different
/// paths. Without a clear answer there is an error, and no guess: with the wrong product a 400 would pass for an absent user.
pub(crate) async fn find(client: &ClusterClient, limit: Duration) -> Result<Flavor, String> {
    let root = ask(client, &[], limit).await?;
    if let Some(flavor) = by_root(&root) {
        return Ok(flavor);
    }
    if root.status != StatusCode::FORBIDDEN {
        return Err(format!("neither Elasticsearch nor OpenSearch: {}", root.describe()));
    }
    let account = ask(client, &["_plugins", "_security", "authinfo"], limit).await?;
    if account.status.is_success() && account.body()["user_name"].is_string() {
        return Ok(Flavor::OpenSearch);
    }
    let account = ask(client, &["_security", "_authenticate"], limit).await?;
    if account.status.is_success() && account.body()["username"].is_string() {
        return Ok(Flavor::Elasticsearch);
    }
    Err(format!("the account may see neither the root nor itself: {}", root.describe()))
}

async fn ask(client: &ClusterClient, path: &[&str], limit: Duration) -> Result<Answer, String> {
    client.send(&Call::get(path), limit).await.map_err(|error| error.why)
}

/// Elasticsearch names itself in a header of every 2xx, from 7.14 on. OpenSearch does so in its version, or where that is
/// overridden for old clients, in its tagline.
fn by_root(answer: &Answer) -> Option<Flavor> {
    if !answer.status.is_success() {
        return None;
    }
    if answer.names_elasticsearch() {
        return Some(Flavor::Elasticsearch);
    }
    let body = answer.body();
    let tagline = body["tagline"].as_str().unwrap_or_default();
    if body["version"]["distribution"] == "opensearch" || tagline.starts_with("The OpenSearch Project") {
        return Some(Flavor::OpenSearch);
    }
    (tagline == "You Know, for Search").then_some(Flavor::Elasticsearch)
}

#[cfg(test)]
mod tests;
