//! What the demo prints: addresses and people, then the story in lines to paste, each under what to expect.
//!
//! Every line carries all that it needs; what it gives may hang on those above it. The story ends where it began, so that
//! it can be pasted again. No comment has a character that means something to a shell: zsh takes them for commands.

use std::fmt::Write;

use super::login::{Claims, Login};
use super::{Addresses, TTL};
use crate::cli::token::key::SigningKey;
use crate::cli::token::mint::Session;
use crate::clock;

pub(super) fn story(addresses: &Addresses, key: &SigningKey, login: &Login) -> Result<String, String> {
    let Addresses { gate, clerk, login: login_address, api, admin, audit } = addresses;
    let mut story = Story::new(
        addresses,
        format!(
            "crossgate demo\n\n\
         gate       http://{gate}\n\
         the api    http://{api}   (echoes what reaches it)\n\
         login      http://{login_address}   (the api's own, a stand-in: /mint?sub=41&org=acme&role=admin)\n\
         clerk      http://{clerk}   (stand-in: /.well-known/jwks.json, /mint?sub=user_ada&org=org_acme&role=org:admin)\n\
         admin      curl --unix-socket {admin} http://localhost/readyz   (/metrics, /v1/snapshot, /v1/rollouts)\n\n\
         ada        has both logins: 41, user_ada\n\
         bob        has the api's own only: 42\n\
         cleo, dan  have clerk only: user_cleo, user_dan\n\
         sue        has both, and is sealed: her old login proves nothing any more: 43, user_sue\n\
         eve        is a stranger with a clerk account\n\n\
         paste these, from top to bottom; ctrl-c ends the demo\n",
            admin = admin.display(),
        ),
    );
    let issuer = format!("http://{clerk}");
    let people = People::new(key, login, &issuer)?;
    who_may_what(&mut story, &people);
    two_logins(&mut story, &people);
    unchanged_api(&mut story, &people);
    runners(&mut story, &people);
    moving(&mut story, &people);
    outage(&mut story, &people, &issuer);

    story.heading("the trail: what was done, refused and moved");
    let audit = audit.display();
    story.crossgate("exit 0: every entry of it", &format!("audit show {audit}"));
    story.crossgate("exit 0: and the proof that nothing is missing", &format!("audit verify {audit}"));
    story.text.push('\n');
    Ok(story.text)
}

/// What everybody carries: `curl` arguments that end with a space.
#[derive(Debug)]
struct People {
    ada: String,
    ada_with_clerk: String,
    /// Her session as a browser brings it along.
    ada_cookie: String,
    /// Bare, for the form of an exchange.
    ada_session: String,
    ada_expired: String,
    bob: String,
    bob_tampered: String,
    cleo: String,
    cleo_expired: String,
    dan: String,
    dan_tampered: String,
    sue: String,
    eve: String,
    eve_as_acme: String,
}

impl People {
    fn new(key: &SigningKey, login: &Login, issuer: &str) -> Result<Self, String> {
        let session = |user: &str, org: &str, role: &str, ttl: i64| {
            let mut session = Session::new(issuer, user);
            session.org = Some(org.to_owned());
            session.role = Some(role.to_owned());
            session.azp = Some(super::PARTY.to_owned());
            session.ttl = ttl;
            session
        };
        let sign = |session: Session| key.sign(&session.claims(clock::now()));
        let clerk = |user: &str, org: &str, role: &str, ttl: i64| sign(session(user, org, role, ttl));
        let legacy = |user| login.sign(&Claims { user, org: Some("acme"), role: Some("admin"), ttl: TTL });
        let bearer = |token: &str| format!("-H 'authorization: Bearer {token}' ");
        let ada = clerk("user_ada", "org_acme", "org:admin", TTL)?;
        let dan = clerk("user_dan", "org_acme", "org:member", TTL)?;
        let mut impostor = session("user_eve", "org_eve", "org:admin", TTL);
        impostor.slug = Some("acme".to_owned());
        Ok(Self {
            ada: bearer(&legacy("41")),
            ada_cookie: format!("-H 'cookie: __session={ada}; __client_uat=1' "),
            ada_with_clerk: bearer(&ada),
            ada_session: ada.clone(),

            ada_expired: bearer(&clerk("user_ada", "org_acme", "org:admin", -TTL)?),
            bob: bearer(&legacy("42")),
            bob_tampered: bearer(&tampered(&legacy("42"))),
            cleo: bearer(&clerk("user_cleo", "org_acme", "org:admin", TTL)?),
            cleo_expired: bearer(&clerk("user_cleo", "org_acme", "org:admin", -TTL)?),
            dan_tampered: bearer(&tampered(&dan)),
            dan: bearer(&dan),
            sue: bearer(&legacy("43")),
            eve: bearer(&clerk("user_eve", "org_other", "org:admin", TTL)?),
            eve_as_acme: bearer(&sign(impostor)?),
        })
    }
}

fn who_may_what(story: &mut Story, people: &People) {
    let People { cleo, dan, .. } = people;
    story.heading("who may what");
    story.get("200 ok: anybody may read what is public", "", "/public/hello");
    story.read("401 no_credential: no token", "");
    story.read("200 ok: dan, a member of the org, reads", dan);
    story.write("200 ok: cleo, an admin of the org, writes", cleo);
    story.write("403 forbidden: wrong role", dan);
    story.read("403 forbidden: eve, an admin of another org", &people.eve);
    let forged = "-H 'x-crossgate-subject: user_evil' -H 'X_Crossgate_Subject: user_evil' ";
    let expected = "200 ok: a forged identity never reaches the api, which sees x-crossgate-subject: user_dan";
    story.read(expected, &format!("{forged}{dan}"));
    story.read("401 clerk_expired: the time of the token is over", &people.cleo_expired);
    story.read("401 clerk_invalid: the token was changed on its way", &people.dan_tampered);
    let climbing = "/public/%2e%2e/api/orgs/acme/invoices";
    story.get("400 bad_path: the api could read this path as another one", "--path-as-is ", climbing);
    story.act("200 ok: a privileged action, on disk before the api hears of it", cleo);
    story.act("403 forbidden: the same without the role, written down before this answer", dan);
    story.get("403 no_route: what no policy names is not served", "", "/internal");
}

fn two_logins(story: &mut Story, people: &People) {
    let People { ada, ada_with_clerk, ada_cookie, bob, .. } = people;
    story.heading("two logins, one person");
    story.read("200 ok: bob by the old login, as for years: x-crossgate-subject: 42", bob);
    story.read("200 ok: ada by the same: x-crossgate-subject: 41", ada);
    story.read("200 ok: ada by clerk is the same person: x-crossgate-subject: 41", ada_with_clerk);
    story.read("200 ok: with both at once the arm decides: x-crossgate-method: legacy", &format!("{ada}{ada_cookie}"));
    story.read("400 identity_conflict: the login of bob beside the session of ada", &format!("{bob}{ada_cookie}"));
    story.read("401 legacy_invalid: a login that was changed on its way", &people.bob_tampered);
    story.read("401 legacy_sealed: the old login of sue proves nothing any more", &people.sue);
    story.read("403 unmapped_principal: eve named a clerk org of her own acme", &people.eve_as_acme);
}

fn unchanged_api(story: &mut Story, people: &People) {
    story.heading("the api stays as it is");
    story.read("200 ok: it reads the token of bob, as ever: token-sub: 42", &people.bob);
    story.read("200 ok: ada came with clerk, and it finds a token of its own: token-sub: 41", &people.ada_with_clerk);
    story.read("200 ok: so it does for cleo, who never had a login there: token-sub: user_cleo", &people.cleo);
    let keys = "200 ok: x-crossgate-assertion says the same to what is new, and these keys verify it";
    story.get(keys, "", "/.crossgate/.well-known/jwks.json");
    story.status("200 ok: and its frontend learns where it stands, here as nobody: action: sign_in", "");
    story.status("200 ok: ada is signed in by the old login and has nothing to do: action: none", &people.ada);
}

fn runners(story: &mut Story, people: &People) {
    story.heading("a runner on a laptop");
    let expected =
        "200 ok: the session of ada becomes a token of its own for ten minutes, narrowed to scope: executions:write";
    story.exchange(expected, &people.ada_session);
    let expected = "200 ok: it starts an execution in her name: x-crossgate-method: runner, x-crossgate-subject: 41";
    story.act_as_runner(expected, &people.ada_session, "acme");
    story.act_as_runner("403 forbidden: not in another org", &people.ada_session, "other");
    story.exchange_wider("400 invalid_scope: nor is it given what runners never get", &people.ada_session);
}

fn moving(story: &mut Story, people: &People) {
    let People { ada, ada_with_clerk, ada_cookie, bob, .. } = people;
    story.heading("moving people from 0 to 100 %");
    story.rollout("exit 0: nobody was moved yet", "status");
    story.act("200 ok: to ada the old login is enough for everything: x-crossgate-arm: legacy", ada);
    story.begin_login("200 ok: a stranger begins to sign in, as nobody, with the old login: x-crossgate-arm: legacy");
    story.rollout("exit 0: half of those who have both", "set 50 --reason 'week 1'");
    story.rollout("exit 0: nothing rises now, nobody swings", "freeze");
    story.rollout("exit 1 frozen: so this is refused", "set 100");
    story.rollout("exit 0: on from where it stood", "resume");
    story.rollout("exit 0: everybody who has both", "set 100");
    let expected =
        "200 ok: ada is served as before, her app is told x-crossgate-upgrade: clerk, the api x-crossgate-arm: clerk";
    story.read(expected, ada);
    story.act("401 step_up_clerk: but what is privileged takes clerk now", ada);
    story.status("200 ok: which her app could ask before: action: step_up", ada);
    let expected = "200 ok: who begins to sign in now begins with clerk, and a signed cookie keeps them there: x-crossgate-arm: clerk";
    story.begin_login(expected);
    story.act("200 ok: so she comes with clerk: x-crossgate-method: clerk", ada_with_clerk);
    story.read(
        "200 ok: with both at once clerk is what counts now: x-crossgate-method: clerk",
        &format!("{ada}{ada_cookie}"),
    );
    story.shadow("200 ok: wherever both came along, what each alone would have meant was compared and counted");
    story.act("200 ok: bob has no other login, and notices nothing: x-crossgate-arm: legacy", bob);
}

fn outage(story: &mut Story, people: &People, clerk: &str) {
    let People { ada, ada_with_clerk, ada_expired, bob, .. } = people;
    story.heading("clerk is down");
    let begin =
        "200 ok: its keys, tokens and pages are gone, which crossgate notices within some seconds: wait for the answer";
    story.curl(begin, &format!("-X POST {clerk}/outage/begin"));
    story.read("200 ok: ada is served by her old login", ada);
    story.begin_login("200 ok: who signs in now is sent to the old login: x-crossgate-arm: legacy");
    story.read("200 ok: and by her clerk session, as long as it lasts", ada_with_clerk);
    story.read("503 clerk_outage: nobody can renew one that ran out, and 401 would sign her out", ada_expired);
    story.status("200 ok: so her app shows a banner, not a login: degraded: true", ada_expired);
    story.act("503 clerk_outage: nor step up: come back later", ada);
    story.act("503 jwks_stale_privileged: keys this old do for nothing privileged", ada_with_clerk);
    story.act("200 ok: bob notices nothing", bob);

    story.heading("rolling back");
    story.rollout("exit 0: everybody to the old side, at once", "rollback --reason 'clerk is down'");
    story.read("200 ok: nobody was signed out: x-crossgate-arm: legacy", ada);
    story.act("503 clerk_outage: a rollback alone lowers no bar", ada);
    story.rollout("exit 0: an operator does", "confirm");
    story.act("200 ok: the old login is enough again", ada);
    let end = "200 ok: clerk is back";
    story.curl(end, &format!("-X POST {clerk}/outage/end"));
    story.rollout("exit 0: begins again with the first step", "resume");
    story.rollout("exit 0: lowering is never limited, and this is where it began", "set 0");
    story.act("200 ok: and ada is where she was: x-crossgate-arm: legacy", ada);
}

/// The text so far.
#[derive(Debug)]
struct Story {
    text: String,
    gate: String,
    /// As it was called: the demo's binary is not on anybody's path.
    command: String,
    admin: String,
}

impl Story {
    fn new(addresses: &Addresses, opening: String) -> Self {
        Self {
            text: opening,
            gate: format!("http://{}", addresses.gate),
            command: std::env::args().next().unwrap_or_else(|| "crossgate".to_owned()),
            admin: addresses.admin.display().to_string(),
        }
    }

    fn heading(&mut self, text: &str) {
        // A String takes every write.
        let _ = write!(self.text, "\n## {text}\n");
    }

    fn line(&mut self, expected: &str, command: &str) {
        let _ = write!(self.text, "\n# {expected}\n{command}\n");
    }

    fn curl(&mut self, expected: &str, arguments: &str) {
        self.line(expected, &format!("curl -sS -i {arguments}"));
    }

    fn get(&mut self, expected: &str, carried: &str, path: &str) {
        self.curl(expected, &format!("{carried}{}{path}", self.gate));
    }

    /// Reads invoices: protected, for members.
    fn read(&mut self, expected: &str, carried: &str) {
        self.get(expected, carried, "/api/orgs/acme/invoices");
    }

    /// Asks who somebody is.
    fn status(&mut self, expected: &str, carried: &str) {
        self.get(expected, carried, "/auth/status");
    }

    /// Exchanges a credential for a runner token.
    fn exchange(&mut self, expected: &str, subject: &str) {
        self.curl(expected, &self.form(subject, "executions:write"));
    }

    fn exchange_wider(&mut self, expected: &str, subject: &str) {
        self.curl(expected, &self.form(subject, "members:write"));
    }

    fn form(&self, subject: &str, scope: &str) -> String {
        let gate = &self.gate;
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("subject_token", subject),
            ("scope", scope),
        ];
        let fields: String = fields.iter().map(|(name, value)| format!("-d {name}={value} ")).collect();
        format!("{fields}{gate}/.crossgate/token")
    }

    /// The same in one line: a token from the exchange, and an execution with it.
    fn act_as_runner(&mut self, expected: &str, subject: &str, org: &str) {
        let exchange = format!("curl -sS {}", self.form(subject, "executions:write"));
        let token = format!("$({exchange} | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')");
        let carried = format!("-X POST -d '{{}}' -H \"authorization: Bearer {token}\" ");
        self.get(expected, &carried, &format!("/api/orgs/{org}/workspaces/w1/executions"));
    }

    /// Where both logins spoke.
    fn shadow(&mut self, expected: &str) {
        let admin = self.admin.clone();
        let metrics = "http://localhost/metrics | grep -e HTTP/ -e '^crossgate_shadow.* [1-9]'";
        self.curl(expected, &format!("--unix-socket {admin} {metrics}"));
    }

    /// The first request of a login.
    fn begin_login(&mut self, expected: &str) {
        self.get(expected, "-X POST -d '{}' ", "/api/auth/handoff/init");
    }

    /// Writes one: protected, for admins.
    fn write(&mut self, expected: &str, carried: &str) {
        self.get(expected, &format!("-X POST -d '{{}}' {carried}"), "/api/orgs/acme/invoices");
    }

    /// Starts an execution: privileged.
    fn act(&mut self, expected: &str, carried: &str) {
        self.get(expected, &format!("-X POST -d '{{}}' {carried}"), "/api/orgs/acme/workspaces/w1/executions");
    }

    fn crossgate(&mut self, expected: &str, arguments: &str) {
        self.line(expected, &format!("{} {arguments}", self.command));
    }

    fn rollout(&mut self, expected: &str, arguments: &str) {
        self.crossgate(expected, &format!("rollout {arguments} --admin unix:{}", self.admin));
    }
}

/// The same token with another letter in the middle of its signature.
fn tampered(token: &str) -> String {
    let (rest, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let changed: String = signature
        .chars()
        .enumerate()
        .map(|(at, letter)| match (at, letter) {
            (40, 'A') => 'B',
            (40, _) => 'A',
            (_, letter) => letter,
        })
        .collect();
    format!("{rest}.{changed}")
}
