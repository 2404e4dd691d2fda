//! The arm cookie on the way out: set where a login began, and nobody else's to set.
//!
//! The answer that carries one is no answer for a shared cache. Never reads a request: what a cookie says was decided before.

use http::HeaderValue;
use http::header::SET_COOKIE;
use pingora::Result;
use pingora::http::ResponseHeader;

use super::passage::Passage;
use crate::clock;
use crate::rollout::cookie::{LIFETIME, NAME};

/// Takes away what the API says under the cookie's name, and adds crossgate's own where the decision asks for one; whether
/// it did.
pub(super) fn keep(answer: &mut ResponseHeader, passage: &Passage) -> Result<bool> {
    strip(answer)?;
    let is_last = !answer.status.is_informational() || answer.status == http::StatusCode::SWITCHING_PROTOCOLS;
    let (Some(side), Some(rollout), true) = (passage.keeps, &passage.rollout, is_last) else { return Ok(false) };
    let Some(cookies) = &rollout.cookies else { return Ok(false) };
    let value = cookies.seal(&rollout.record, side, clock::now().unix_ms);
    answer.append_header(SET_COOKIE, line(&value))?;
    Ok(true)
}

/// `Lax`: a login ends with a redirect from Clerk's pages, which is another site's, as a top-level GET.
fn line(value: &str) -> String {
    format!("{NAME}={value}; Path=/; Max-Age={}; HttpOnly; Secure; SameSite=Lax", LIFETIME.as_secs())
}

fn strip(answer: &mut ResponseHeader) -> Result<()> {
    let is_ours = |line: &HeaderValue| names_it(line.as_bytes());
    if !answer.headers.get_all(SET_COOKIE).iter().any(is_ours) {
        return Ok(());
    }
    let kept: Vec<HeaderValue> =
        answer.headers.get_all(SET_COOKIE).iter().filter(|line| !is_ours(line)).cloned().collect();
    answer.remove_header(&SET_COOKIE);
    for line in kept {
        answer.append_header(SET_COOKIE, line)?;
    }
    Ok(())
}

/// Whether a browser could keep such a line under the cookie's name: some cut a name at odd places, and a cookie without a
/// name whose value begins with one comes back as a cookie of that name.
fn names_it(line: &[u8]) -> bool {
    let pair = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let name = NAME.as_bytes();
    pair.windows(name.len()).any(|found| found.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::{line, names_it};

    #[test]
    fn the_cookies_attributes() {
        assert_eq!(
            line("v1.auth.1.clerk.1.x"),
            "__Host-crossgate-arm=v1.auth.1.clerk.1.x; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax"
        );
    }

    #[test]
    fn what_a_browser_could_keep_under_the_name() {
        let table: [(&[u8], bool); 8] = [
            (b"__Host-crossgate-arm=x; Path=/", true),
            (b"__host-Crossgate-arm=x", true),
            (b" __Host-crossgate-arm =x", true),
            (b"=__Host-crossgate-arm=x", true),
            (b"\xa0__Host-crossgate-arm=\xa0", true),
            (b"__Host-crossgate-arm", true),
            (b"session=x; Comment=__Host-crossgate-arm", false),
            (b"__Host-other=x", false),
        ];
        for (line, expected) in table {
            assert_eq!(names_it(line), expected, "{}", String::from_utf8_lossy(line));
        }
    }
}
