//! What the trail says about itself: seals, retired segments, and what a start found.
//!
//! Owns how far its word goes: a seal is held against its segment, and what the service itself called broken stays a finding.

use super::Walk;
use super::here::Here;
use super::report::Broken;
use crate::audit::chain::Line;
use crate::audit::read::{About, Span};

impl Walk<'_> {
    pub(super) fn about(&mut self, here: &mut Here, line: &Line<'_>, about: About) {
        match about.action.as_str() {
            "trail.open" if about.reason == "broken" => self.declare(here, line.seq, about.reason),
            "trail.open" if about.reason == "recovered" => {
                let file = &here.name;
                self.report.note(format!("{file}: begun at entry {} because the disk failed before it", line.seq));
            }
            "trail.broken" => {
                let (file, number, reason) = (&here.name, here.line, &about.reason);
                let kept = Some(&about.resource).filter(|kept| !kept.is_empty());
                let kept = kept.map_or_else(String::new, |kept| format!("; the evidence is {kept}"));
                self.report.note(format!("{file}:{number}: the service found that {reason}{kept}"));
                self.declare(here, line.seq, about.reason);
            }
            // Only what stands before it can have been taken away.
            "trail.retire" => {
                self.retired.extend(about.seal.filter(|span| span.first <= span.last && span.last < line.seq))
            }
            "trail.torn" => self.report.note(format!(
                "{}:{}: {} bytes that were never acknowledged were cut at the start of entry {}; they are in {:?}",
                here.name,
                here.line,
                about.count.unwrap_or_default(),
                line.seq,
                about.resource,
            )),
            "trail.stop" => self.stopped = true,
            "trail.seal" => self.seal(here, line.seq, &about),
            _ => {}
        }
    }

    pub(super) fn declare(&mut self, here: &mut Here, seq: u64, reason: String) {
        // The opening and the entry that explains it are one finding.
        if !std::mem::replace(&mut here.declared, true) {
            self.report.broken(&here.name, here.line, seq, Broken::Declared { reason });
        }
    }

    pub(super) fn seal(&mut self, here: &mut Here, seq: u64, about: &About) {
        here.seal = Some(here.line);
        // In a segment with a break the figures differ because of it.
        if here.broken {
            return;
        }
        let said = about.seal.unwrap_or(Span { first: 0, last: 0 });
        let facts = [
            ("count", about.count.unwrap_or_default(), here.line - 1),
            ("first", said.first, here.first),
            ("last", said.last, seq - 1),
        ];
        for (field, said, found) in facts.into_iter().filter(|(_, said, found)| said != found) {
            self.report.broken(&here.name, here.line, seq, Broken::Seal { field, said, found });
        }
    }
}
