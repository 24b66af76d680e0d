//! Chooses between Elasticsearch and OpenSearch: by `elasticsearch.flavor`, or by the first answer of the server.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::cluster_client::{ClusterClient, ClusterId};
use crate::config::Settings;
use crate::credentials::{
    BackendStatus, Cluster, Existing, InspectError, Login, OtherWriter, Password, Provisioner, RequestContext,
    SealedCopy, Throughput, UserSpec, WriteError,
};
use crate::elastic::{self, Elastic};
use crate::flavor::{self, Flavor};
use crate::identity::{Owner, Username};
use crate::metrics::Metrics;
use crate::opensearch::{self, OpenSearch};
use crate::outbound::Error;
use crate::users::{Account, Directory, DirectoryError, Stamp};

/// Between two attempts of background work to find out which of the two the server is.
const RETRY: Duration = Duration::from_secs(5);

/// The provisioner for the system that was detected.
enum Detected {
    Elasticsearch(Box<Elastic>),
    OpenSearch(Box<OpenSearch>),
}

/// The provisioner of the process. Which system it is for may be detected at first use, and holds for the life of the process.
pub(super) struct Backend {
    detected: OnceCell<Detected>,
    client: ClusterClient,
    /// What is known of the cluster before it is asked.
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
        let client = ClusterClient::new(elastic.connection.clone())?;
        let unasked = ClusterId::new(&elastic.connection.hosts).known();
        let backend = Self { detected: OnceCell::new(), client, unasked, elastic, opensearch, metrics };
        match settings.flavor {
            Some(flavor) => Ok(Self { detected: OnceCell::new_with(Some(backend.build(flavor)?)), ..backend }),
            None => Ok(backend),
        }
    }

    fn build(&self, flavor: Flavor) -> Result<Detected, Error> {
        Ok(match flavor {
            Flavor::Elasticsearch => Detected::Elasticsearch(Box::new(Elastic::new(self.elastic.clone())?)),
            Flavor::OpenSearch => Detected::OpenSearch(Box::new(OpenSearch::new(self.opensearch.clone())?)),
        })
    }

    /// One caller at a time asks, the others wait for its answer; after a failure the next one asks again.
    async fn detected(&self) -> Result<&Detected, String> {
        let find = || async {
            let flavor = flavor::find(&self.client, self.elastic.timeout).await?;
            tracing::info!(?flavor, "Found out what the back end is");
            self.build(flavor).map_err(|error| error.to_string())
        };
        self.detected.get_or_try_init(find).await
    }

    /// The same for background work, which goes on asking until there is an answer.
    async fn detected_in_time(&self) -> &Detected {
        loop {
            match self.detected().await {
                Ok(detected) => break detected,
                Err(_unknown) => tokio::time::sleep(RETRY).await,
            }
        }
    }
}

impl Backend {
    async fn put(&self, user: &UserSpec, password: Option<&Password>) -> Result<(), WriteError> {
        match self.detected().await.map_err(WriteError::Unavailable)? {
            Detected::Elasticsearch(elastic) => elastic.write(user, password).await,
            Detected::OpenSearch(opensearch) => opensearch.write(user, password).await,
        }
    }

    /// The path and the body of a write of this user, without the password.
    pub(super) async fn preview(&self, user: &UserSpec) -> Result<(String, Value), String> {
        Ok(match self.detected().await? {
            Detected::Elasticsearch(elastic) => elastic.preview(user),
            Detected::OpenSearch(opensearch) => opensearch.preview(user),
        })
    }

    /// Where users are listed and changed, for `elastauth users`.
    pub(super) async fn directory(&self) -> Result<&impl Directory, DirectoryError> {
        self.detected().await.map_err(DirectoryError)
    }
}

impl Directory for Detected {
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

    async fn renew(
        &self,
        name: &Username,
        password: &Password,
        copy: Option<&SealedCopy>,
    ) -> Result<(), DirectoryError> {
        match self {
            Self::Elasticsearch(elastic) => elastic.renew(name, password, copy).await,
            Self::OpenSearch(opensearch) => opensearch.renew(name, password, copy).await,
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
        match self.detected().await.map_err(InspectError::Unavailable)? {
            Detected::Elasticsearch(elastic) => elastic.inspect(username, owner, context).await,
            Detected::OpenSearch(opensearch) => opensearch.inspect(username, owner, context).await,
        }
    }

    async fn log_in(&self, username: &Username, password: &Password) -> Result<Login, InspectError> {
        match self.detected().await.map_err(InspectError::Unavailable)? {
            Detected::Elasticsearch(elastic) => elastic.log_in(username, password).await,
            Detected::OpenSearch(opensearch) => opensearch.log_in(username, password).await,
        }
    }

    async fn other_writer(&self, username: &Username) -> Result<Option<OtherWriter>, InspectError> {
        match self.detected().await.map_err(InspectError::Unavailable)? {
            Detected::Elasticsearch(elastic) => elastic.other_writer(username).await,
            Detected::OpenSearch(opensearch) => opensearch.other_writer(username).await,
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
        match self.detected.get() {
            Some(Detected::Elasticsearch(elastic)) => elastic.throughput(),
            // its own queue refuses users that it cannot write in time
            Some(Detected::OpenSearch(_)) => Throughput::UNLIMITED,
            None => self.elastic.writes.usual_throughput(),
        }
    }

    fn cluster(&self) -> Cluster {
        match self.detected.get() {
            Some(Detected::Elasticsearch(elastic)) => elastic.cluster(),
            Some(Detected::OpenSearch(opensearch)) => opensearch.cluster(),
            None => self.unasked.clone(),
        }
    }

    async fn ask_cluster(&self) -> Cluster {
        match self.detected().await {
            Ok(Detected::Elasticsearch(elastic)) => elastic.ask_cluster().await,
            Ok(Detected::OpenSearch(opensearch)) => opensearch.ask_cluster().await,
            Err(_unknown) => self.unasked.clone(),
        }
    }

    async fn rebuilt(&self) {
        match self.detected_in_time().await {
            Detected::Elasticsearch(elastic) => elastic.rebuilt().await,
            Detected::OpenSearch(opensearch) => opensearch.rebuilt().await,
        }
    }

    async fn watch(&self) {
        match self.detected_in_time().await {
            Detected::Elasticsearch(elastic) => elastic.watch().await,
            Detected::OpenSearch(opensearch) => opensearch.watch().await,
        }
    }

    async fn examine(&self) -> Result<Vec<String>, String> {
        match self.detected().await? {
            Detected::Elasticsearch(elastic) => elastic.examine().await,
            Detected::OpenSearch(opensearch) => opensearch.examine().await,
        }
    }

    fn condition(&self) -> Result<(), String> {
        match self.detected.get() {
            Some(Detected::Elasticsearch(elastic)) => elastic.condition(),
            Some(Detected::OpenSearch(opensearch)) => opensearch.condition(),
            None => Err("it is not known yet whether the back end is Elasticsearch or OpenSearch".into()),
        }
    }
}
