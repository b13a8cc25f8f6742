//! Object stores for tests: a bucket of its own for each test on the shared S3 and Azure servers, and a line to them
//! that can be cut.

use std::{collections::BTreeMap, net::SocketAddr};

use deckle::blob::{Address, Bucket, Options};
use object_store::{
    azure::{AzureAccessKey, AzureAuthorizer, AzureCredential},
    client::HttpRequestBody,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::servers;

/// The account of every Azurite, which its documentation publishes.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A new bucket: its address, and how to reach it.
#[derive(Debug, Clone)]
pub struct Store {
    pub url: String,
    pub options: BTreeMap<String, String>,
}

impl Store {
    pub fn options(&self) -> Options {
        self.options.clone().into_iter().collect()
    }

    pub fn address(&self, below: &str) -> Address {
        Address::parse(&format!("{}/{below}", self.url)).unwrap()
    }

    pub fn bucket(&self) -> Bucket {
        Bucket::open(&self.address(""), &self.options()).unwrap()
    }

    /// The options as a table of a configuration file.
    pub fn toml(&self, table: &str) -> String {
        let options: String = self.options.iter().map(|(name, value)| format!("{name} = \"{value}\"\n")).collect();
        format!("[{table}]\n{options}")
    }

    /// The same bucket, reached over another address.
    pub fn over(&self, line: &Line) -> Self {
        let mut store = self.clone();
        for (name, value) in &mut store.options {
            if name.ends_with("endpoint") {
                let path = value.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
                *value = format!("http://{}{path}", line.here);
            }
        }
        store
    }
}

fn options(options: &[(&str, &str)]) -> BTreeMap<String, String> {
    options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A bucket on the S3 server, which takes any credentials.
pub async fn s3() -> Store {
    let server = servers::shared_s3();
    let bucket = format!("test-{}", uuid::Uuid::now_v7());
    let made = reqwest::Client::new().put(format!("{server}/{bucket}")).send().await.unwrap();
    assert!(made.status().is_success(), "{made:?}");
    let options = options(&[
        ("aws_endpoint", &server),
        ("aws_region", "us-east-1"),
        ("aws_access_key_id", "test"),
        ("aws_secret_access_key", "test"),
        ("allow_http", "true"),
    ]);
    Store { url: format!("s3://{bucket}"), options }
}

/// A container on the Azure server, made as `object_store` would make one if it could.
pub async fn azure() -> Store {
    let server = servers::shared_azure();
    let container = format!("test-{}", uuid::Uuid::now_v7());
    let url = format!("{server}/{container}?restype=container");
    let request = axum::http::Request::put(&url).header("content-length", "0");
    let mut request = request.body(HttpRequestBody::empty()).unwrap();
    let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(ACCOUNT_KEY).unwrap());
    AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).unwrap();
    let made = reqwest::Client::new().put(&url).headers(request.headers().clone()).send().await.unwrap();
    assert!(made.status().is_success(), "{made:?}");
    let options = options(&[
        ("azure_storage_endpoint", &server),
        ("azure_storage_account_name", ACCOUNT),
        ("azure_storage_account_key", ACCOUNT_KEY),
        ("allow_http", "true"),
    ]);
    Store { url: format!("az://{container}"), options }
}

/// A way to a server that can be cut and mended.
pub struct Line {
    /// This end.
    pub here: SocketAddr,
    there: String,
    /// A connection ends when a request with this text is sent over it.
    breaks_at: Option<String>,
    open: Option<tokio::task::JoinHandle<()>>,
}

impl Line {
    /// A line to the server of a store.
    pub async fn to(store: &Store) -> Self {
        Self::open(store, None).await
    }

    /// A line over which all but requests with a text in them are answered.
    pub async fn breaking_at(store: &Store, text: &str) -> Self {
        Self::open(store, Some(text.to_owned())).await
    }

    async fn open(store: &Store, breaks_at: Option<String>) -> Self {
        let endpoint = store.options.iter().find(|(name, _)| name.ends_with("endpoint")).unwrap().1;
        let there = endpoint.split('/').nth(2).unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut line = Self { here: listener.local_addr().unwrap(), there, breaks_at, open: None };
        line.carry(listener);
        line
    }

    fn carry(&mut self, listener: TcpListener) {
        let (there, breaks_at) = (self.there.clone(), self.breaks_at.clone());
        self.open = Some(tokio::spawn(async move {
            // Dropped with this task, and every connection with them.
            let mut connections = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let (there, breaks_at) = (there.clone(), breaks_at.clone());
                connections.spawn(async move {
                    let Ok(mut far) = TcpStream::connect(there).await else { return };
                    match breaks_at {
                        None => drop(tokio::io::copy_bidirectional(&mut near, &mut far).await),
                        Some(text) => carry_until(&text, near, far).await,
                    }
                });
            }
        }));
    }

    /// Ends all connections and takes no more.
    pub async fn cut(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
            let _ = open.await;
        }
    }

    pub async fn mend(&mut self) {
        self.carry(TcpListener::bind(self.here).await.unwrap());
    }
}

/// Carries what two ends send to each other, until the near one sends a text.
async fn carry_until(text: &str, near: TcpStream, far: TcpStream) {
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
    let requests = async {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_near.read(&mut piece).await {
            let is_there = piece[..length].windows(text.len()).any(|window| window == text.as_bytes());
            if is_there || to_far.write_all(&piece[..length]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        _ = tokio::io::copy(&mut from_far, &mut to_near) => {}
    }
}
