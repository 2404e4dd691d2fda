//! A stand-in for the server that judges legacy credentials, by introspection (POST) or `forward_auth` (GET): honest, or
//! failing in every way. `good-ada` is ada's credential; every other one is nobody's.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::bed::Bed;
use super::origin::{Answer, Origin, Recorded};

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Honest,
    Hang,
    /// A head, and then nothing.
    HangInside,
    /// A body without end, as far as anybody reads.
    Flood,
    /// 200, and no answer in it.
    Garbage,
    /// 200 and `active` as a text, with everything else as it should be.
    Almost,
    Status(u16),
    /// To a place that would say yes.
    Redirect,
    Close,
}

/// Which of the two is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Introspection,
    ForwardAuth,
}

/// The server.
pub(crate) struct LegacyServer {
    origin: Origin,
    mode: Arc<Mutex<Mode>>,
}

impl LegacyServer {
    pub(crate) fn start() -> Self {
        let origin = Origin::start();
        let address = origin.address;
        let mode = Arc::new(Mutex::new(Mode::Honest));
        let now = Arc::clone(&mode);
        origin.answers(move |asked| answer(asked, *now.lock().unwrap(), address));
        Self { origin, mode }
    }

    pub(crate) fn does(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.origin.count()
    }

    /// A bed whose legacy side asks this server; good answers are kept for a second.
    pub(crate) fn bed(&self, kind: Kind) -> Bed {
        self.bed_with(kind, "{ header: authorization, scheme: Bearer }")
    }

    /// The same where credentials travel so.
    pub(crate) fn bed_with(&self, kind: Kind, credential: &str) -> Bed {
        let address = self.origin.address;
        let verify = match kind {
            Kind::Introspection => format!("introspection: {{ url: \"http://{address}/ask\", cache: 1s }}"),
            Kind::ForwardAuth => format!("forward_auth: {{ url: \"http://{address}/ask\", cache: 1s }}"),
        };
        Bed::new().section(&format!("legacy: {{ credential: {credential}, verify: {{ {verify} }} }}"))
    }
}

/// Who owns the credential in the question.
fn owner(asked: &Recorded) -> Option<String> {
    let body = String::from_utf8_lossy(&asked.body).into_owned();
    let sent = asked.values("authorization").first().cloned().unwrap_or_default();
    let token = body.strip_prefix("token=").or_else(|| sent.strip_prefix("Bearer "))?;
    token.strip_prefix("good-").map(str::to_owned)
}

fn answer(asked: &Recorded, mode: Mode, address: SocketAddr) -> Answer {
    let is_question = asked.request_line().starts_with("POST");
    let json = |status, body: &str| Answer::text(status, body).with("content-type", "application/json");
    match mode {
        Mode::Honest => match (is_question, owner(asked)) {
            (true, Some(user)) => json(200, &json!({ "active": true, "sub": user }).to_string()),
            (true, None) => json(200, r#"{"active":false}"#),
            (false, Some(user)) => Answer::text(204, "").with("x-user-id", &user),
            (false, None) => Answer::text(401, ""),
        },
        Mode::Hang => Answer::Hang,
        Mode::HangInside => Answer::Pieces(vec![(
            std::time::Duration::ZERO,
            b"HTTP/1.1 200 OK\r\nx-user-id: ada\r\ncontent-length: 30\r\n\r\n{\"active\":true".to_vec(),
        )]),
        Mode::Flood => {
            let mut bytes =
                b"HTTP/1.1 200 OK\r\nx-user-id: ada\r\n\r\n{\"active\":true,\"sub\":\"ada\",\"x\":\"".to_vec();
            bytes.resize(8 * 1024 * 1024, b'x');
            Answer::Raw(bytes)
        }
        Mode::Garbage => json(200, "active: true, sub: ada"),
        Mode::Almost => json(200, r#"{"active":"true","sub":"ada"}"#),
        Mode::Status(status) => json(status, r#"{"active":true,"sub":"ada"}"#).with("x-user-id", "ada"),
        Mode::Redirect if asked.target() == "/yes" => {
            json(200, r#"{"active":true,"sub":"ada"}"#).with("x-user-id", "ada")
        }
        Mode::Redirect => Answer::text(307, "").with("location", &format!("http://{address}/yes")),
        Mode::Close => Answer::Close,
    }
}
