//! The server of metrics and health, for whom the pipeline must not suffer.
//!
//! The law: whoever connects, and whatever they send or do not read, they hold [`CONNECTIONS`] descriptors at most, and
//! none of them for longer than [`EXCHANGE`]. Connections beyond that wait in the kernel's backlog, where they are no
//! descriptors of this process.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// Connections at once. Those who should ask are a few probes and scrapers; and it is an eighth of the 1024 descriptors
/// that a process has where nobody allows it more.
const CONNECTIONS: usize = 128;
/// Time for the head of a request, which probes and scrapers send at once. Of connections that say nothing, so many
/// are over in this time as [`CONNECTIONS`] says; a probe waits until those before it are.
const HEAD: Duration = Duration::from_secs(2);
/// Time from the connection to the last byte of the answer: as long as Prometheus waits for it, by default.
const EXCHANGE: Duration = Duration::from_secs(10);
/// How long nothing is accepted when the system cannot: what it lacks, such as descriptors, others have to give back.
const PAUSE: Duration = Duration::from_secs(1);

/// What those who connect may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connections: usize,
    head: Duration,
    exchange: Duration,
}

/// Answers one request on each connection. Never ends.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    serve_within(Limits { connections: CONNECTIONS, head: HEAD, exchange: EXCHANGE }, listener, router).await;
}

async fn serve_within(limits: Limits, listener: TcpListener, router: Router) {
    let mut builder = http1::Builder::new();
    // A scraper that comes back connects again, which costs it little, and meanwhile holds nothing.
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head).keep_alive(false);
    let places = Arc::new(Semaphore::new(limits.connections));
    // The semaphore is never closed.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let stream = accept(&listener).await;
        let exchange = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            // Given back when the connection, which the timeout owns, is closed.
            let _place = place;
            match tokio::time::timeout(limits.exchange, exchange).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
                Err(_) => tracing::debug!("a connection took too long"),
            }
        });
    }
}

/// The next connection. One that ended in the backlog is passed over; anything else that fails is waited out.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "metrics and health cannot be asked now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Longer than anything here takes on a busy machine.
    const DEADLINE: Duration = Duration::from_secs(60);
    /// More than the buffers of two sockets hold.
    const LARGE: usize = 64 << 20;
    const ASK: &str = "GET / HTTP/1.1\r\nHost: here\r\n\r\n";
    const ONE_AT_A_TIME: Limits =
        Limits { connections: 1, head: Duration::from_millis(200), exchange: Duration::from_millis(400) };

    /// What is answered before the end of a connection, whatever ends it.
    async fn rest(mut stream: TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        bytes
    }

    async fn connect(address: std::net::SocketAddr, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_sends_nothing_or_half_or_reads_nothing_gives_the_place_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router =
            Router::new().route("/", get(|| async { "here\n" })).route("/large", get(|| async { vec![b'x'; LARGE] }));
        tokio::spawn(serve_within(ONE_AT_A_TIME, listener, router));
        for request in ["", "GET / HTTP/1.1\r\nHost: ", "GET /large HTTP/1.1\r\nHost: here\r\n\r\n"] {
            let holder = connect(address, request).await;
            // A busy machine may be too slow for these limits here, too: then it asks again.
            let answered = async {
                loop {
                    if rest(connect(address, ASK).await).await.ends_with(b"here\n") {
                        break;
                    }
                }
            };
            let answered = tokio::time::timeout(DEADLINE, answered).await;
            assert!(answered.is_ok(), "nobody can ask after {request:?}");
            let got = tokio::time::timeout(DEADLINE, rest(holder)).await.expect("its connection was closed");
            assert!(got.len() < LARGE, "{request:?} was answered in full");
        }
    }
}
