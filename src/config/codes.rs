//! Every problem that `check` can name: one code, one line of meaning. The pages in `docs/reference/errors.md` follow
//! this table, so a code never changes its meaning and is never used again for another.
//!
//! Used by all of `config`; knows nothing of files or YAML.

/// A problem's name, `CG` and four digits, with what it means in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    pub id: &'static str,
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($name:ident = $id:literal, $meaning:literal;)*) => {
        $(pub(crate) const $name: Code = Code { id: $id, meaning: $meaning };)*
        /// All codes, in order.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    // Reading.
    UNREADABLE = "CG0001", "a file cannot be read";
    TOO_LARGE = "CG0002", "a file is larger than 8 MiB";
    NOT_UTF8 = "CG0003", "a file is not UTF-8";
    SYNTAX = "CG0004", "a file is not well-formed YAML";
    DOCUMENTS = "CG0005", "a file holds more than one YAML document";
    ANCHOR = "CG0006", "anchors and aliases are not allowed";
    TAG = "CG0007", "tags are not allowed";
    TOO_MUCH = "CG0008", "a file nests too deeply or holds too many values";
    DUPLICATE_KEY = "CG0009", "a key stands twice in one mapping";
    UNSET = "CG0010", "an environment variable without default is not set";
    BAD_SUBSTITUTION = "CG0011", "a `${…}` cannot be read";
    KEY_NOT_TEXT = "CG0012", "a key is not plain text";
    NO_FILE_MATCHES = "CG0013", "a pattern for policy files is malformed or matches no file";

    // Shape.
    MISSING = "CG0101", "a required key is missing or empty";
    BAD_VALUE = "CG0102", "a value has the wrong type or cannot be read";
    UNKNOWN_KEY = "CG0103", "a key is unknown";
    UNKNOWN_WORD = "CG0104", "a value is none of the words allowed here";
    AND_MORE = "CG0105", "more problems than are listed";
    EMPTY = "CG0106", "a key or an item of a list is written without a value";
    BAD_WAIVER = "CG0107", "a waiver cannot be used";

    // Listeners, upstreams, server.
    BAD_ADDRESS = "CG0201", "an address is neither host:port nor unix:/path";
    BAD_NETWORK = "CG0202", "a trusted proxy is no CIDR, or trusts everybody";
    OUT_OF_RANGE = "CG0203", "a number, size or duration is outside what makes sense";
    ADDRESS_TWICE = "CG0204", "two listeners have one address";
    // CG0205 was a host name as an endpoint, when names could not be resolved yet.
    BAD_ORIGIN = "CG0206", "an origin is not scheme://host or scheme://host:port";
    BAD_PREFIX = "CG0207", "a path prefix cannot be used";
    BAD_CERTIFICATE = "CG0208", "a certificate, private key or bundle of authorities cannot be used";
    EXPIRED = "CG0209", "a certificate has expired or is not valid yet";
    KEY_MISMATCH = "CG0210", "a private key belongs to another certificate";
    TLS_UPSTREAM = "CG0211", "what an upstream says about TLS does not go together";
    BAD_TLS = "CG0212", "what a listener says about TLS does not go together";
    ADMIN_TOKEN = "CG0213", "a token of the admin listener cannot be used";
    SECRET_OPEN = "CG0214", "a file with a secret can be read by others";
    STATUS_PATH = "CG0215", "the path of the status cannot be used";
    STATUS_BODY = "CG0216", "a body of the status cannot be made as written";

    // Clerk.
    BAD_PUBLISHABLE_KEY = "CG0301", "a publishable key cannot be read";
    NO_ISSUER = "CG0302", "an instance has neither publishable key nor issuer";
    BAD_ISSUER = "CG0303", "an issuer is no https URL";
    KEY_SOURCE = "CG0304", "not exactly one source of keys";
    KEY_URL = "CG0305", "the address of a key set or a probe is not allowed";
    BAD_KEYS = "CG0306", "a key file or PEM holds no usable keys";
    INSTANCE_TWICE = "CG0307", "two instances have one issuer or one name";
    NO_PARTIES = "CG0308", "an instance accepts tokens made for any page";
    NO_EFFECT = "CG0309", "a setting has no effect";

    // Identity.
    UNKNOWN_FACT = "CG0401", "no identity header carries such a fact";
    BAD_HEADER_NAME = "CG0402", "a header name is malformed or taken";
    HEADER_TWICE = "CG0403", "two facts would travel under one header name";
    BAD_CLAIM_PATH = "CG0404", "a claim path cannot be read";
    ORG_NAMESPACE = "CG0405", "a namespace for organisation names cannot be used";
    BAD_MAP = "CG0406", "the identity map cannot be read, or has an error";
    MAP_CLAIM = "CG0407", "a claim that people write themselves cannot say who they are";
    UNLINKED = "CG0408", "both logins are configured, and nothing says who is one person";
    SLUG_BESIDE_IDS = "CG0409", "an org is named by its slug where the identity map has legacy ids";
    ROLE_MAP = "CG0410", "a mapping of roles holds for nobody";
    MAP_LOSS = "CG0411", "a new identity map has lost people of the one before";

    // Routes.
    BAD_ROUTE_ID = "CG0501", "a route id cannot be used";
    ROUTE_TWICE = "CG0502", "two routes have one id";
    BAD_PATTERN = "CG0503", "a path pattern cannot be read";
    ROUTES_CLASH = "CG0504", "two routes cannot be told apart";
    NO_UPSTREAM = "CG0505", "a route's upstream is unknown or not chosen";
    BAD_MATCH = "CG0506", "a host, method, header or query of a route cannot be used";
    UNREACHABLE = "CG0507", "a route lies below crossgate's own paths, so that nothing reaches it";
    STATUS_ROUTE = "CG0508", "a route is at the path of the status";

    // Rules.
    PUBLIC_REQUIRES = "CG0601", "a public route cannot require anything";
    ROLE_WITHOUT_ORG = "CG0602", "a role or permission is asked for without an org";
    BAD_TEMPLATE = "CG0603", "a template cannot be read or names an unknown segment";
    NEVER_TRUE = "CG0604", "a rule can never hold";
    BAD_RULE = "CG0605", "a rule cannot be read";
    ANY_ORG = "CG0606", "a named org is asked for beside any org";
    LOGIN_REPORTS = "CG0607", "a login route has nothing to report";
    CONDITION = "CG0608", "a condition cannot be read";
    CONDITION_NAME = "CG0609", "a condition names what there is not, or what it must not read";
    CONDITION_COST = "CG0610", "a condition is larger than what its cost is bounded for";
    ALWAYS_TRUE = "CG0611", "a condition always holds";

    // Advice.
    TENANT_UNCHECKED = "CG0701", "a path names a tenant that no rule compares with the caller's";
    PUBLIC_CATCH_ALL = "CG0702", "a public route covers everything below its path";
    TRAILING_SLASH = "CG0703", "a pattern ends with a slash";
    PRIVILEGED_REPORT = "CG0704", "a privileged route lets through what it should refuse";
    NEAR_NAME = "CG0705", "a name is used once and reads like another";
    REPORT_MODE = "CG0706", "a route is in report mode";
    NEVER_FOUND = "CG0707", "a route never gets a request";
    IDLE_WAIVER = "CG0708", "a waiver waives nothing";

    // Audit.
    AUDIT_EVENTS = "CG0801", "a list of audit events is empty or names one twice";
    AUDIT_LABEL = "CG0802", "an action or resource of the audit trail is too long or no single line";
    AUDIT_FILE = "CG0803", "the file of the audit trail is taken";
    AUDIT_SECRET = "CG0804", "an action or resource of the audit trail would hold a secret";

    // Rollout.
    ROLLOUT_NAME = "CG0901", "a name or salt of the rollout cannot be used";
    ROLLOUT_LISTS = "CG0902", "an id on a list of the rollout cannot be used, or stands on both";
    ROLLOUT_RELOAD = "CG0903", "a reload cannot begin or end a rollout";
    ROLLOUT_UNKNOWN = "CG0904", "a list of the rollout names somebody whom the identity map does not know";
    ROLLOUT_ORGS = "CG0905", "people are dealt by orgs that the two logins do not name alike";

    // Legacy.
    LEGACY_VERIFIER = "CG1001", "not exactly one way to verify legacy credentials";
    LEGACY_KEYS = "CG1002", "what a legacy verifier is given does not go together";
    BAD_SECRET = "CG1003", "a file holds no secret, or a secret stands twice";
    WEAK_SECRET = "CG1004", "a secret is shorter than its hash";
    LEGACY_CREDENTIAL = "CG1005", "a legacy credential cannot travel there";
    LEGACY_URL = "CG1006", "an address of a legacy verifier cannot be used, or is asked in the clear";
    LEGACY_ISSUER = "CG1007", "the legacy side and an instance of Clerk have one issuer";
    LEGACY_KEYS_CLERKS = "CG1008", "the legacy side takes its keys from where an instance of Clerk does";

    // Tokens that crossgate makes.
    SIGNING_KEY = "CG1101", "a key to sign with cannot be used";
    CLAIM_TEMPLATE = "CG1102", "a claim of minted tokens cannot be made";
    ISSUED_CREDENTIAL = "CG1103", "an upstream is to get a token that nothing makes, or in a taken place";
    ASSERTION = "CG1104", "an assertion cannot be made as written";
    SHORT_OVERLAP = "CG1105", "keys come and go faster than verifiers look";

    // Runner tokens.
    RUNNER = "CG1301", "runner tokens cannot be made as written";
    SCOPE = "CG1302", "a scope that no token has, or where none may come";

    // Policy tests.
    TEST_REQUEST = "CG1401", "the request of a test cannot be sent";
    TEST_PERSON = "CG1402", "the person of a test cannot be";
    TEST_EXPECT = "CG1403", "what a test expects cannot come of any request";
    TEST_FILE = "CG1404", "a file of tests holds something else, or no policy file stands beside it";
}

/// What is told as a warning, always or at times; `CG0708` is left out, since it is about waivers.
const WARNINGS: &[Code] = &[
    EXPIRED,
    SECRET_OPEN,
    BAD_KEYS,
    NO_PARTIES,
    NO_EFFECT,
    UNLINKED,
    SLUG_BESIDE_IDS,
    STATUS_ROUTE,
    TENANT_UNCHECKED,
    PUBLIC_CATCH_ALL,
    TRAILING_SLASH,
    PRIVILEGED_REPORT,
    NEAR_NAME,
    REPORT_MODE,
    NEVER_FOUND,
    ROLLOUT_UNKNOWN,
    ROLLOUT_ORGS,
    BAD_SECRET,
    WEAK_SECRET,
    LEGACY_URL,
    LEGACY_KEYS_CLERKS,
    SIGNING_KEY,
    SHORT_OVERLAP,
    SCOPE,
];

/// The codes that a waiver may name.
pub fn waivable() -> impl Iterator<Item = &'static str> {
    WARNINGS.iter().map(|code| code.id)
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn codes_are_unique_and_ordered() {
        for pair in ALL.windows(2) {
            assert!(pair[0].id < pair[1].id, "{} before {}", pair[0].id, pair[1].id);
        }
    }
}
