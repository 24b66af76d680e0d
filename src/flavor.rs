//! Which of the two is behind the addresses.

use std::time::Duration;

use reqwest::StatusCode;

use crate::cluster_client::{Answer, Call, ClusterClient};

/// What speaks there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// Elasticsearch, 7.10 or later.
    Elasticsearch,
    /// OpenSearch, 1 or later.
    OpenSearch,
}

/// Asks for the root, and where the account may not see it, who it is. Answers why nothing is known if so: guessing
/// wrong would take a 400 for an absent user.
pub async fn find(nodes: &ClusterClient, limit: Duration) -> Result<Flavor, String> {
    let root = ask(nodes, &[], limit).await?;
    if let Some(flavor) = of_the_root(&root) {
        return Ok(flavor);
    }
    if root.status != StatusCode::FORBIDDEN {
        return Err(format!("neither Elasticsearch nor OpenSearch: {}", root.describe()));
    }
    let who = ask(nodes, &["_plugins", "_security", "authinfo"], limit).await?;
    if who.status.is_success() && who.body()["user_name"].is_string() {
        return Ok(Flavor::OpenSearch);
    }
    let who = ask(nodes, &["_security", "_authenticate"], limit).await?;
    if who.status.is_success() && who.body()["username"].is_string() {
        return Ok(Flavor::Elasticsearch);
    }
    Err(format!("the account may not see what it is talking to: {}", root.describe()))
}

async fn ask(nodes: &ClusterClient, path: &[&str], limit: Duration) -> Result<Answer, String> {
    nodes.send(&Call::get(path), limit).await.map_err(|lost| lost.why)
}

/// Elasticsearch says its name from 7.14 on, in a header of every 2xx; OpenSearch in its version, or where that is
/// overridden for old clients, in its tagline.
fn of_the_root(answer: &Answer) -> Option<Flavor> {
    if !answer.status.is_success() {
        return None;
    }
    if answer.headers.get("x-elastic-product").is_some_and(|product| product == "Elasticsearch") {
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
