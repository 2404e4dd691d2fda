//! sanitize (main author)
use std::collections::HashSet;
use super::client::TrustedProxies;
/// `limits`, as far as one request is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the header block, names and values with their separators. 431 above.
    pub headers: usize,
    /// Number of header lines. 431 above.
    pub header_count: usize,
    /// Bytes of the request target. 414 above.
    pub uri: usize,
    /// Bytes of a request body; `None` is no limit. 413 above.
    pub body: Option<u64>,
    /// Longest time without progress while a body is read.
    pub body_read: std::time::Duration,
}

/// What sanitizing needs to know of the config.
#[derive(Debug, Clone)]
pub struct Rules {
    pub limits: Limits,
    pub reserved: super::fold::Reserved,
    pub trusted: TrustedProxies,
    /// Methods beyond the usual ones that some route names (`PROPFIND` …).
    pub extra_methods: HashSet<http::Method>,
    /// Names that a decision may read: they must not be repeated, nor nominated in `Connection`.
    pub read_headers: HashSet<http::HeaderName>,
}
