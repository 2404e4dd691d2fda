//! Listening sockets: made here, or passed by the service manager.
//!
//! All are open before anything else starts: an address that cannot be listened on is one line and exit code 1, not a
//! process that lives and serves nobody. Never accepts.

use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Type};

use crate::snapshot::{Address, Socket};

/// Connections that may wait to be accepted; the system's own maximum is lower as a rule (`net.core.somaxconn`).
const BACKLOG: i32 = 65_535;

/// An open listening socket.
#[derive(Debug)]
pub(super) enum Open {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// A listening socket and what is known of it.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) socket: Open,
    /// What people read: the address, with the port that was given for port 0.
    pub(super) name: String,
    /// The socket stays open when this process lets go of it, and connections wait in it.
    pub(super) passed: bool,
    /// The file of a socket made here, to be taken away at the end.
    pub(super) file: Option<PathBuf>,
}

/// The sockets that the service manager passed, each to be taken once.
pub(super) struct Passed {
    sockets: ListenFd,
    names: Vec<String>,
    taken: Vec<bool>,
}

impl Passed {
    /// Reads `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` as sd_listen_fds(3) describes them.
    pub(super) fn from_environment() -> Self {
        // Before the other two: the library takes them out of the environment.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').map(str::to_owned).collect();
        let sockets = ListenFd::from_env();
        let taken = vec![false; sockets.len()];
        Self { sockets, names, taken }
    }

    /// All sockets of this name that nobody has taken; without a name, all that are left.
    fn take(&mut self, name: Option<&str>) -> Result<Vec<Listening>, String> {
        let wanted: Vec<usize> = (0..self.sockets.len())
            .filter(|index| self.taken.get(*index) == Some(&false))
            .filter(|index| name.is_none_or(|name| self.names.get(*index).is_some_and(|given| given == name)))
            .collect();
        let mut found = Vec::with_capacity(wanted.len());
        for index in wanted {
            if let Some(taken) = self.taken.get_mut(index) {
                *taken = true;
            }
            let tcp = self.sockets.take_tcp_listener(index).ok().flatten().map(Open::Tcp);
            let socket = match tcp {
                Some(socket) => Some(socket),
                None => self.sockets.take_unix_listener(index).ok().flatten().map(Open::Unix),
            };
            let Some(socket) = socket else {
                return Err(format!("the passed socket {index} is no stream socket (ListenStream=)"));
            };
            let name = match &socket {
                Open::Tcp(socket) => socket.local_addr().map(|address| address.to_string()),
                Open::Unix(socket) => socket.local_addr().map(|address| format!("{address:?}")),
            };
            found.push(Listening { socket, name: name.unwrap_or_default(), passed: true, file: None });
        }
        Ok(found)
    }
}

/// Opens what a listener asks for; more than one socket only where several were passed. `mode` is that of a unix
/// socket's file.
///
/// # Errors
/// A sentence for the operator.
pub(super) fn open(socket: &Socket, mode: u32, passed: &mut Passed) -> Result<Vec<Listening>, String> {
    let name = match socket {
        Socket::Bind(address) => {
            return bind(address, mode)
                .map(|listening| vec![listening])
                .map_err(|problem| format!("cannot listen on {address}: {problem}"));
        }
        Socket::Passed(name) => name.as_deref(),
    };
    let found = passed.take(name).map_err(|problem| format!("cannot listen on {socket}: {problem}"))?;
    if found.is_empty() {
        let what = if name.is_some() { "no socket of this name was passed" } else { "no socket was passed" };
        return Err(format!(
            "cannot listen on {socket}: {what} (LISTEN_FDS); start it by its socket unit, see docs/operations.md"
        ));
    }
    Ok(found)
}

fn bind(address: &Address, mode: u32) -> Result<Listening, String> {
    let (socket, name, file) = match address {
        Address::Tcp(tcp) => {
            let socket = bind_tcp(*tcp).map_err(|problem| cause(&problem))?;
            let bound = socket.local_addr().unwrap_or(*tcp);
            (Open::Tcp(socket), bound.to_string(), None)
        }
        Address::Unix(path) => (Open::Unix(bind_path(path, mode)?), address.to_string(), Some(path.clone())),
    };
    Ok(Listening { socket, name, passed: false, file })
}

fn bind_tcp(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // After a restart the old connections still linger in the kernel.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket file outlives its process. Whether somebody listens is told by connecting, never by the file.
fn bind_path(path: &Path, mode: u32) -> Result<std::os::unix::net::UnixListener, String> {
    if UnixStream::connect(path).is_ok() {
        return Err("another process listens there".to_owned());
    }
    match std::fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => {
            std::fs::remove_file(path).map_err(|problem| cause(&problem))?;
        }
        Ok(_) => return Err("there is a file of another kind".to_owned()),
        Err(_) => {}
    }
    let address = socket2::SockAddr::unix(path).map_err(|problem| cause(&problem))?;
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).map_err(|problem| cause(&problem))?;
    socket.bind(&address).map_err(|problem| cause(&problem))?;
    // Before anybody can connect, since nothing listens yet.
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).map_err(|problem| cause(&problem))?;
    socket.listen(BACKLOG).map_err(|problem| cause(&problem))?;
    Ok(socket.into())
}

fn cause(problem: &std::io::Error) -> String {
    match problem.kind() {
        std::io::ErrorKind::AddrInUse => "the address is in use".to_owned(),
        std::io::ErrorKind::PermissionDenied => "no permission".to_owned(),
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => problem.to_string().to_lowercase(),
    }
}
