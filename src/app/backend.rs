//! The provisioner that `elasticsearch.flavor` names, or that the back end's first answer does.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::cluster_client::{ClusterClient, ClusterId};
use crate::config::Settings;
use crate::credentials::{
    BackendStatus, Cluster, Existing, InspectError, Login, OtherWriter, Password, Provisioner, RequestContext,
    Throughput, UserSpec, WriteError,
};
use crate::elastic::{self, Elastic};
use crate::flavor::{self, Flavor};
use crate::identity::{Owner, Username};
use crate::metrics::Metrics;
use crate::opensearch::{self, OpenSearch};
use crate::outbound::Error;
use crate::users::{Account, Directory, DirectoryError, Stamp};

/// Between two attempts to find out, while nobody asks.
const RETRY: Duration = Duration::from_secs(5);

/// One of the two.
enum Known {
    Elasticsearch(Box<Elastic>),
    OpenSearch(Box<OpenSearch>),
}

/// Whichever it is, which may turn out at first use; known then for the life of the process.
pub(super) struct Backend {
    known: OnceCell<Known>,
    nodes: ClusterClient,
    /// What is known before the cluster was asked.
    unasked: Cluster,
    elastic: elastic::Settings,
    opensearch: opensearch::Settings,
    metrics: Option<Arc<Metrics>>,
}

impl Backend {
    /// A back end for a command. Connects on first use.
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        Self::counting(settings, None)
    }

    /// A back end that counts its writes in `metrics`. Connects on first use.
    pub(super) fn counting(settings: &Settings, metrics: Option<Arc<Metrics>>) -> Result<Self, Error> {
        let (elastic, opensearch) = (settings.elasticsearch.clone(), settings.opensearch.clone());
        let nodes = ClusterClient::new(elastic.nodes.clone())?;
        let unasked = ClusterId::new(&elastic.nodes.hosts).known();
        let backend = Self { known: OnceCell::new(), nodes, unasked, elastic, opensearch, metrics };
        match settings.flavor {
            Some(flavor) => Ok(Self { known: OnceCell::new_with(Some(backend.build(flavor)?)), ..backend }),
            None => Ok(backend),
        }
    }

    fn build(&self, flavor: Flavor) -> Result<Known, Error> {
        Ok(match flavor {
            Flavor::Elasticsearch => Known::Elasticsearch(Box::new(Elastic::new(self.elastic.clone())?)),
            Flavor::OpenSearch => Known::OpenSearch(Box::new(OpenSearch::new(self.opensearch.clone())?)),
        })
    }

    /// One caller at a time asks, the others wait for its answer; after a failure the next one asks again.
    async fn known(&self) -> Result<&Known, String> {
        let find = || async {
            let flavor = flavor::find(&self.nodes, self.elastic.timeout).await?;
            tracing::info!(?flavor, "Found out what the back end is");
            self.build(flavor).map_err(|error| error.to_string())
        };
        self.known.get_or_try_init(find).await
    }

    /// The same, for background work: it goes on asking until there is an answer.
    async fn found(&self) -> &Known {
        loop {
            match self.known().await {
                Ok(known) => break known,
                Err(_unknown) => tokio::time::sleep(RETRY).await,
            }
        }
    }
}

impl Backend {
    async fn put(&self, user: &UserSpec, password: Option<&Password>) -> Result<(), WriteError> {
        match self.known().await.map_err(WriteError::Unavailable)? {
            Known::Elasticsearch(elastic) => elastic.write(user, password).await,
            Known::OpenSearch(opensearch) => opensearch.write(user, password).await,
        }
    }

    /// What a write of this user says, but for the password: the path, and the body.
    pub(super) async fn preview(&self, user: &UserSpec) -> Result<(String, Value), String> {
        Ok(match self.known().await? {
            Known::Elasticsearch(elastic) => elastic.preview(user),
            Known::OpenSearch(opensearch) => opensearch.preview(user),
        })
    }

    /// Where the users are, for `elastauth users`.
    pub(super) async fn directory(&self) -> Result<&impl Directory, DirectoryError> {
        self.known().await.map_err(DirectoryError)
    }
}

impl Directory for Known {
    async fn list(&self) -> Result<Vec<Account>, DirectoryError> {
        match self {
            Self::Elasticsearch(elastic) => elastic.list().await,
            Self::OpenSearch(opensearch) => opensearch.list().await,
        }
    }

    async fn find(&self, name: &Username) -> Result<Option<Account>, DirectoryError> {
        match self {
            Self::Elasticsearch(elastic) => elastic.find(name).await,
            Self::OpenSearch(opensearch) => opensearch.find(name).await,
        }
    }

    async fn disable(&self, name: &Username) -> Result<(), DirectoryError> {
        match self {
            Self::Elasticsearch(elastic) => elastic.disable(name).await,
            Self::OpenSearch(opensearch) => opensearch.disable(name).await,
        }
    }

    async fn delete(&self, name: &Username) -> Result<(), DirectoryError> {
        match self {
            Self::Elasticsearch(elastic) => elastic.delete(name).await,
            Self::OpenSearch(opensearch) => opensearch.delete(name).await,
        }
    }

    async fn mark(&self, name: &Username, stamp: Option<&Stamp>) -> Result<(), DirectoryError> {
        match self {
            Self::Elasticsearch(elastic) => elastic.mark(name, stamp).await,
            Self::OpenSearch(opensearch) => opensearch.mark(name, stamp).await,
        }
    }
}

impl Provisioner for Backend {
    async fn inspect(
        &self,
        username: &Username,
        owner: &Owner,
        context: &RequestContext,
    ) -> Result<Existing, InspectError> {
        match self.known().await.map_err(InspectError::Unavailable)? {
            Known::Elasticsearch(elastic) => elastic.inspect(username, owner, context).await,
            Known::OpenSearch(opensearch) => opensearch.inspect(username, owner, context).await,
        }
    }

    async fn log_in(&self, username: &Username, password: &Password) -> Result<Login, InspectError> {
        match self.known().await.map_err(InspectError::Unavailable)? {
            Known::Elasticsearch(elastic) => elastic.log_in(username, password).await,
            Known::OpenSearch(opensearch) => opensearch.log_in(username, password).await,
        }
    }

    async fn other_writer(&self, username: &Username) -> Result<Option<OtherWriter>, InspectError> {
        match self.known().await.map_err(InspectError::Unavailable)? {
            Known::Elasticsearch(elastic) => elastic.other_writer(username).await,
            Known::OpenSearch(opensearch) => opensearch.other_writer(username).await,
        }
    }

    async fn write(&self, user: &UserSpec, password: Option<&Password>) -> Result<(), WriteError> {
        let began = Instant::now();
        let outcome = self.put(user, password).await;
        if let Some(metrics) = &self.metrics {
            metrics.wrote(outcome.as_ref().copied(), began.elapsed());
        }
        outcome
    }
}

impl BackendStatus for Backend {
    fn throughput(&self) -> Throughput {
        match self.known.get() {
            Some(Known::Elasticsearch(elastic)) => elastic.throughput(),
            // its queue sends away itself whom it cannot write in time
            Some(Known::OpenSearch(_)) => Throughput::UNLIMITED,
            None => self.elastic.writes.usual_pace(),
        }
    }

    fn cluster(&self) -> Cluster {
        match self.known.get() {
            Some(Known::Elasticsearch(elastic)) => elastic.cluster(),
            Some(Known::OpenSearch(opensearch)) => opensearch.cluster(),
            None => self.unasked.clone(),
        }
    }

    async fn ask_cluster(&self) -> Cluster {
        match self.known().await {
            Ok(Known::Elasticsearch(elastic)) => elastic.ask_cluster().await,
            Ok(Known::OpenSearch(opensearch)) => opensearch.ask_cluster().await,
            Err(_unknown) => self.unasked.clone(),
        }
    }

    async fn rebuilt(&self) {
        match self.found().await {
            Known::Elasticsearch(elastic) => elastic.rebuilt().await,
            Known::OpenSearch(opensearch) => opensearch.rebuilt().await,
        }
    }

    async fn watch(&self) {
        match self.found().await {
            Known::Elasticsearch(elastic) => elastic.watch().await,
            Known::OpenSearch(opensearch) => opensearch.watch().await,
        }
    }

    async fn examine(&self) -> Result<Vec<String>, String> {
        match self.known().await? {
            Known::Elasticsearch(elastic) => elastic.examine().await,
            Known::OpenSearch(opensearch) => opensearch.examine().await,
        }
    }

    fn condition(&self) -> Result<(), String> {
        match self.known.get() {
            Some(Known::Elasticsearch(elastic)) => elastic.condition(),
            Some(Known::OpenSearch(opensearch)) => opensearch.condition(),
            None => Err("not known yet whether it is Elasticsearch or OpenSearch".into()),
        }
    }
}
