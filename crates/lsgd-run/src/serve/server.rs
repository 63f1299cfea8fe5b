//! HTTP: one thread, few visitors, short patience.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HOST, HeaderValue, IF_NONE_MATCH,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::error::ServeError;
use super::guard::Guard;
use super::pages::{Pages, Shown};
use crate::report::FIGURES_TYPE;

/// Visitors at a time; others wait.
const VISITORS: usize = 32;

/// Longest time that a visitor may take for one request, from its connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest time until all of a request has come.
const HASTE: Duration = Duration::from_secs(5);

/// Longest request, in bytes: the least that the library allows.
const REQUEST: usize = 8192;

/// Rest after a connection that could not be accepted, such as for want of open files.
const REST: Duration = Duration::from_millis(200);

/// A page about runs, served until this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves a page about the runs that `root` holds or will hold, at `address`; port 0 stands for one that
    /// is free. With a token, only visitors that have it in their address get anything; anywhere but on a
    /// loopback address there has to be one.
    ///
    /// | path | what |
    /// |---|---|
    /// | `/` | the page |
    /// | `/charts.json` | what it asks for to show the present state |
    /// | `/metrics` | the latest figures in Prometheus' text format |
    ///
    /// # Errors
    ///
    /// [`ServeError`].
    pub fn start(
        address: SocketAddr,
        token: Option<&str>,
        root: PathBuf,
    ) -> Result<Self, ServeError> {
        let guard = Guard::new(address, token)?;
        let listen = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let bound = listener.local_addr().map_err(listen)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            // One reads the folders; all others would wait for it.
            .max_blocking_threads(1)
            .thread_name("page")
            .build()
            .map_err(ServeError::NoThread)?;
        let (stop, stopped) = oneshot::channel();
        let pages = Arc::new(Pages::new(root));
        let thread = Builder::new().name(String::from("page")).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, Arc::new(guard), pages) => {}
                    // Stopped, or the server is gone: both mean the same.
                    _ = stopped => {}
                }
            });
            // A reading that goes on is not waited for.
            runtime.shutdown_background();
        });
        Ok(Self {
            address: bound,
            stop: Some(stop),
            thread: Some(thread.map_err(ServeError::NoThread)?),
        })
    }

    /// Where the page is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Dropping the sender stops it too.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it has panicked, the page is gone, which is all that is left to be done.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, guard: Arc<Guard>, pages: Arc<Pages>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!("no page is served: {error}");
            return;
        }
    };
    let visitors = Arc::new(Semaphore::new(VISITORS));
    // It is never closed.
    while let Ok(visitor) = visitors.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(REST).await;
            continue;
        };
        let (guard, pages) = (guard.clone(), pages.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &guard, &pages));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HASTE)
                .max_buf_size(REQUEST)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A visitor that goes away, or is too slow, is none of the run's business.
            let _ = timeout(PATIENCE, connection).await;
            drop(visitor);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    guard: &Guard,
    pages: &Arc<Pages>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let host = request.headers().get(HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let Some(path) = guard.admit(host, request.uri().path()) else {
        return Ok(text(StatusCode::FORBIDDEN, "not for you\n"));
    };
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "ask with GET\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, allowed);
        return Ok(refused);
    }
    let Some(wanted) = Wanted::of(path) else {
        return Ok(text(StatusCode::NOT_FOUND, "no such page\n"));
    };
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    let pages = pages.clone();
    let made = tokio::task::spawn_blocking(move || wanted.from(&pages.get(), known.as_ref()));
    Ok(made.await.unwrap_or_else(|panic| {
        tracing::warn!("the page about the run could not be made: {panic}");
        text(StatusCode::INTERNAL_SERVER_ERROR, "it could not be made\n")
    }))
}

/// What a visitor wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Page,
    State,
    Figures,
}

impl Wanted {
    fn of(path: &str) -> Option<Self> {
        match path {
            "" | "/" => Some(Self::Page),
            "/charts.json" => Some(Self::State),
            "/metrics" => Some(Self::Figures),
            _ => None,
        }
    }

    /// The answer, from what is shown; `known` is the tag of what the visitor has.
    fn from(self, shown: &Shown, known: Option<&HeaderValue>) -> Response<Full<Bytes>> {
        let made = match self {
            Self::Page => shown
                .page()
                .map(|page| with_type("text/html; charset=utf-8", page.as_bytes())),
            Self::Figures => shown
                .figures()
                .map(|figures| with_type(FIGURES_TYPE, figures.as_bytes())),
            Self::State => shown
                .state()
                .map(|(state, tag)| state_of(state, tag, known)),
        };
        let mut response =
            made.unwrap_or_else(|why| text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")));
        let age = HeaderValue::from(shown.age().as_secs());
        response.headers_mut().insert(AGE, age);
        response
    }
}

/// The state of the charts with its tag, unless the visitor has it.
fn state_of(state: &str, tag: &str, known: Option<&HeaderValue>) -> Response<Full<Bytes>> {
    let is_known = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = match is_known {
        true => with_type("application/json", b""),
        false => with_type("application/json", state.as_bytes()),
    };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

fn text(status: StatusCode, body: impl AsRef<[u8]>) -> Response<Full<Bytes>> {
    let mut response = with_type("text/plain; charset=utf-8", body.as_ref());
    *response.status_mut() = status;
    response
}

fn with_type(kind: &'static str, body: &[u8]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(body)));
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
