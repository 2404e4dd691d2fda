//! Which settings a running process cannot take up: they are read once, at start.

use crate::snapshot::{Admin, AuditSettings, Settings};

/// The keys whose values differ, as the config names them.
pub(super) fn changed(running: &Settings, new: &Settings) -> Vec<&'static str> {
    // Taken apart, so that a new setting cannot be forgotten.
    let Settings {
        listeners,
        admin: Admin { socket },
        threads,
        drain,
        ready,
        keepalive,
        first_byte,
        header_read,
        access_log,
        log,
        state_dir,
        audit: AuditSettings { file, rotate_size, rotate_keep, copy_to_stdout, required: _ },
    } = running;
    let rows = [
        ("listeners", *listeners != new.listeners),
        ("admin.address", *socket != new.admin.socket),
        ("server.threads", *threads != new.threads),
        ("server.drain", *drain != new.drain),
        ("server.ready", *ready != new.ready),
        ("limits.keepalive", *keepalive != new.keepalive),
        ("limits.first_byte", *first_byte != new.first_byte),
        ("limits.header_read", *header_read != new.header_read),
        ("telemetry.access_log", *access_log != new.access_log),
        ("telemetry.log", *log != new.log),
        ("state_dir", *state_dir != new.state_dir),
        ("audit.file", *file != new.audit.file),
        ("audit.rotate", (*rotate_size, *rotate_keep) != (new.audit.rotate_size, new.audit.rotate_keep)),
        ("audit.copy_to", *copy_to_stdout != new.audit.copy_to_stdout),
    ];
    rows.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}
