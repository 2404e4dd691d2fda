//! Whether an address can be listened on, before and after it is.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::net::{TcpStream, UnixStream as AsyncUnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::admin::health::Readiness;
use crate::snapshot::Address;

/// How long a listener may take to answer once it is allowed to open.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Binds and lets go again; of a unix path, makes sure that nobody listens there and clears a dead socket away.
pub(super) fn claim(address: &Address) -> Result<(), String> {
    match address {
        Address::Tcp(tcp) => std::net::TcpListener::bind(tcp)
            .map(drop)
            .map_err(|problem| format!("cannot listen on {address}: {}", cause(&problem))),
        Address::Unix(path) => claim_path(path).map_err(|problem| format!("cannot listen on {address}: {problem}")),
    }
}

/// A socket file outlives its process. Whether somebody listens is told by connecting, never by the file.
fn claim_path(path: &Path) -> Result<(), String> {
    if UnixStream::connect(path).is_ok() {
        return Err("another process listens there".to_owned());
    }
    match std::fs::symlink_metadata(path) {
        Ok(file) if std::os::unix::fs::FileTypeExt::is_socket(&file.file_type()) => {
            std::fs::remove_file(path).map_err(|problem| cause(&problem))?;
        }
        Ok(_) => return Err("there is a file of another kind".to_owned()),
        Err(_) => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path).map_err(|problem| cause(&problem))?;
    drop(listener);
    std::fs::remove_file(path).map_err(|problem| cause(&problem))
}

/// Takes a socket file away at the end.
pub(super) fn release(address: &Address) {
    if let Address::Unix(path) = address {
        // Gone already is as good.
        let _ = std::fs::remove_file(path);
    }
}

fn cause(problem: &std::io::Error) -> String {
    match problem.kind() {
        std::io::ErrorKind::AddrInUse => "the address is in use".to_owned(),
        std::io::ErrorKind::PermissionDenied => "no permission".to_owned(),
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => problem.to_string().to_lowercase(),
    }
}

/// Connects to each listener until all answer; a process that serves nobody ends rather than lives on.
#[derive(Debug)]
pub(super) struct ListenWatch {
    pub(super) addresses: Vec<Address>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) fatal: Arc<Notify>,
    pub(super) patience: Duration,
    pub(super) failed: Arc<AtomicBool>,
}

#[async_trait]
impl BackgroundService for ListenWatch {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let deadline = Instant::now() + self.patience;
        for address in &self.addresses {
            while !answers(address).await {
                if Instant::now() > deadline {
                    tracing::error!(%address, "the listener does not answer");
                    self.failed.store(true, Ordering::Relaxed);
                    self.fatal.notify_one();
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
            tracing::info!(%address, "listening");
        }
        self.readiness.set_listening();
    }
}

async fn answers(address: &Address) -> bool {
    match address {
        Address::Tcp(address) => {
            // An unspecified address (0.0.0.0) is reached on loopback.
            let mut reachable = *address;
            if address.ip().is_unspecified() {
                reachable.set_ip(if address.is_ipv4() {
                    std::net::Ipv4Addr::LOCALHOST.into()
                } else {
                    std::net::Ipv6Addr::LOCALHOST.into()
                });
            }
            TcpStream::connect(reachable).await.is_ok()
        }
        Address::Unix(path) => AsyncUnixStream::connect(path).await.is_ok(),
    }
}
