//! A Pingora pass-through with nothing in it: the same crates, threads and pool, no guard, no policy, no headers.

use std::net::SocketAddr;

use async_trait::async_trait;
use pingora::Result;
use pingora::modules::http::HttpModules;
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Bare(HttpPeer);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    /// As in crossgate: the default adds a compression module to every request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn upstream_peer(&self, _session: &mut Session, _context: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(self.0.clone()))
    }
}

/// Pingora's configuration on both sides of a ratio.
pub(crate) fn configuration() -> ServerConf {
    let mut conf = ServerConf::new().unwrap();
    conf.threads = 2;
    conf.grace_period_seconds = Some(0);
    conf.graceful_shutdown_timeout_seconds = Some(0);
    conf
}

#[expect(clippy::disallowed_methods, reason = "given a SocketAddr: nothing to resolve")]
pub(crate) fn serve(listen: &str, upstream: SocketAddr) {
    let mut server = Server::new_with_opt_and_conf(None, configuration());
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Bare(HttpPeer::new(upstream, false, String::new())));
    proxy.add_tcp(listen);
    server.add_service(proxy);
    server.run(pingora::server::RunArgs::default());
}
