//! What is asked of a server about one credential, and what its answer means.
//!
//! The two ways of asking, behind one face for `lookup`. Pure: the network is `exchange`'s matter.

use super::exchange::{Incoming, Outgoing};
use super::forward::ForwardSpec;
use super::introspect::IntrospectionSpec;
use super::{Carriers, Reason};
use crate::clock::Now;
use crate::identity::times::Validity;
use crate::identity::{Carrier, Facts};

#[derive(Debug)]
pub(super) enum Asker {
    Introspection(IntrospectionSpec),
    ForwardAuth(ForwardSpec, Carriers),
}

/// What an answer says.
#[derive(Debug)]
pub(super) enum Said {
    Good(Box<Facts>, Validity),
    Bad(Reason),
}

/// Why an answer says nothing. Carries nothing of its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Useless {
    /// The credential cannot be sent: it is no text of the carrier.
    Unsendable,
    Status(u16),
    /// The server refuses crossgate itself.
    OwnCredentials(u16),
    /// Not the form of an answer: no strict JSON, no boolean `active`, a header twice.
    Form,
    /// Good, but it names nobody, or somebody in a form that means nothing.
    Nobody,
}

impl std::fmt::Display for Useless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsendable => write!(f, "the credential cannot be sent"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::OwnCredentials(status) => {
                write!(f, "status {status}: the server refuses crossgate's own client_id and client_secret_file")
            }
            Self::Form => write!(f, "the answer has not the form of one"),
            Self::Nobody => write!(f, "the answer is good and names nobody: look at `claims` or `headers`"),
        }
    }
}

impl Asker {
    pub(super) fn question(&self, token: &str, carrier: Carrier) -> Result<Outgoing, Useless> {
        match self {
            Self::Introspection(spec) => Ok(spec.question(token)),
            Self::ForwardAuth(spec, carriers) => spec.question(token, carrier, carriers),
        }
    }

    /// A question about a credential that nobody has.
    pub(super) fn probe(&self, token: &str) -> Result<Outgoing, Useless> {
        let carrier = match self {
            Self::ForwardAuth(_, carriers) if carriers.header.is_none() => Carrier::Cookie,
            Self::Introspection(_) | Self::ForwardAuth(..) => Carrier::Header,
        };
        self.question(token, carrier)
    }

    pub(super) fn read(&self, answer: &Incoming, now: Now) -> Result<Said, Useless> {
        match self {
            Self::Introspection(spec) => spec.read(answer, now),
            Self::ForwardAuth(spec, _) => spec.read(answer),
        }
    }

    /// For the log.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Introspection(_) => "introspection",
            Self::ForwardAuth(..) => "forward_auth",
        }
    }
}
