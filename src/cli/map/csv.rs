//! The map as a table, for those who have a spreadsheet or a database.
//!
//! One record a line: no id holds a line break, so that a quote left open costs one line and not the rest of the file. The
//! header names the columns, in any order; an empty cell is an absent key.

use std::borrow::Cow;
use std::io::{self, Write};

use csv_core::{ReadRecordResult, Reader};

use crate::identity::map::{Entry, Fields, Line, MAX_LINE, Org};

/// All columns, in the order in which they are written.
const COLUMNS: [&str; 9] = ["kind", "legacy", "clerk", "state", "user", "org", "role", "workspaces", "merge"];
/// Between the workspaces of a cell.
const SEPARATOR: char = ';';

/// A table whose header is known.
pub(super) struct Table {
    columns: Vec<&'static str>,
    record: Record,
}

impl Table {
    /// # Errors
    /// What is wrong with the header.
    pub(super) fn new(header: &[u8]) -> Result<Self, String> {
        let mut record = Record::new();
        record.read(header)?;
        let expected = format!("expected some of {}", COLUMNS.join(","));
        let mut columns = Vec::new();
        for cell in record.cells() {
            let known = COLUMNS.into_iter().find(|column| column.as_bytes() == cell);
            let column = known.ok_or_else(|| format!("the header has an unknown column: {expected}"))?;
            if columns.contains(&column) {
                return Err(format!("the header has `{column}` twice"));
            }
            columns.push(column);
        }
        if !columns.contains(&"kind") {
            return Err(format!("the header has no column `kind`: {expected}"));
        }
        Ok(Self { columns, record })
    }

    /// # Errors
    /// What is wrong with the record.
    pub(super) fn line(&mut self, bytes: &[u8]) -> Result<Line<'_>, String> {
        self.record.read(bytes)?;
        let count = self.record.count;
        if count != self.columns.len() {
            return Err(format!("{count} cells where the header has {}", self.columns.len()));
        }
        let mut fields = Fields::default();
        for (column, cell) in self.columns.iter().zip(self.record.cells()) {
            let text = std::str::from_utf8(cell).map_err(|_| format!("`{column}` is not UTF-8"))?;
            if text.is_empty() {
                continue;
            }
            let value = Some(Cow::Borrowed(text));
            match *column {
                "kind" => fields.kind = value,
                "legacy" => fields.legacy = value,
                "clerk" => fields.clerk = value,
                "state" => fields.state = value,
                "user" => fields.user = value,
                "org" => fields.org = value,
                "role" => fields.role = value,
                "workspaces" => fields.workspaces = Some(text.split(SEPARATOR).map(Cow::Borrowed).collect()),
                _ => {
                    fields.merge = Some(match text {
                        "true" => true,
                        "false" => false,
                        _ => return Err("`merge` must be true or false".to_owned()),
                    });
                }
            }
        }
        fields.into_line()
    }
}

/// The cells of the line that was read last.
struct Record {
    reader: Reader,
    cells: Vec<u8>,
    ends: Vec<usize>,
    count: usize,
}

impl Record {
    fn new() -> Self {
        // As many cells as there are columns, and one more to see that there are too many.
        let ends = vec![0; COLUMNS.len() + 1];
        Self { reader: Reader::new(), cells: vec![0; MAX_LINE + 2], ends, count: 0 }
    }

    fn read(&mut self, line: &[u8]) -> Result<(), String> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.reader.reset();
        self.count = 0;
        let (result, read, written, ends) = self.reader.read_record(line, &mut self.cells, &mut self.ends);
        if result == ReadRecordResult::OutputEndsFull {
            return Err(format!("more than {} cells", COLUMNS.len()));
        }
        if result != ReadRecordResult::InputEmpty || read != line.len() {
            return Err("the record cannot be read".to_owned());
        }
        // The line's end, which was taken away; inside quotes it ends nothing.
        let rest = self.cells.get_mut(written..).unwrap_or_default();
        let (result, _, _, more) = self.reader.read_record(b"\n", rest, self.ends.get_mut(ends..).unwrap_or_default());
        match result {
            ReadRecordResult::Record => {
                self.count = ends + more;
                Ok(())
            }
            ReadRecordResult::OutputEndsFull => Err(format!("more than {} cells", COLUMNS.len())),
            ReadRecordResult::InputEmpty | ReadRecordResult::OutputFull | ReadRecordResult::End => {
                Err("a quote is not closed on its line".to_owned())
            }
        }
    }

    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.ends.iter().take(self.count);
        let starts = std::iter::once(&0).chain(ends.clone());
        starts.zip(ends).map(|(from, to)| self.cells.get(*from..*to).unwrap_or_default())
    }
}

/// The header.
pub(super) fn write_header(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", COLUMNS.join(","))
}

/// One record.
///
/// # Errors
/// Those of `out`, and a workspace that holds the separator: it cannot be written as a cell.
pub(super) fn write(entry: &Entry<'_>, out: &mut impl Write) -> io::Result<()> {
    let mut workspaces = String::new();
    let cells = match entry {
        Entry::Org(link) => {
            let id = |org: Option<Org<'_>>| org.map(Org::id).unwrap_or_default().to_owned();
            let merge = if link.merge { "true" } else { "" };
            let (legacy, clerk) = (id(link.legacy), id(link.clerk));
            return row(["org", &legacy, &clerk, "", "", "", "", "", merge], out);
        }
        Entry::User(user) => {
            let (legacy, clerk) = (user.legacy().unwrap_or_default(), user.clerk().unwrap_or_default());
            ["user", legacy, clerk, user.state().as_str(), "", "", "", "", ""]
        }
        Entry::Membership { user, org, grant } => {
            for workspace in grant.workspaces() {
                if workspace.contains(SEPARATOR) {
                    let message = format!("workspace `{workspace}` holds a `;` and fits no cell: export as jsonl");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                if !workspaces.is_empty() {
                    workspaces.push(SEPARATOR);
                }
                workspaces.push_str(workspace);
            }
            ["membership", "", "", "", *user, *org, grant.role().unwrap_or_default(), &*workspaces, ""]
        }
    };
    row(cells, out)
}

fn row(cells: [&str; COLUMNS.len()], out: &mut impl Write) -> io::Result<()> {
    for (at, cell) in cells.into_iter().enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        if cell.contains(['"', ',']) {
            write!(out, "\"{}\"", cell.replace('"', "\"\""))?;
        } else {
            out.write_all(cell.as_bytes())?;
        }
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::Table;
    use crate::identity::map::{Line, State};

    #[test]
    fn headers() {
        let table = [
            ("kind,legacy,clerk,state", Ok(())),
            ("clerk,\"kind\"", Ok(())),
            ("kind,email", Err("the header has an unknown column: expected some of")),
            ("Kind", Err("the header has an unknown column: expected some of")),
            ("kind,kind", Err("the header has `kind` twice")),
            ("legacy", Err("the header has no column `kind`")),
            ("kind,\"legacy", Err("a quote is not closed on its line")),
            ("kind,legacy,clerk,state,user,org,role,workspaces,merge,x", Err("the header has an unknown column")),
            ("kind,legacy,clerk,state,user,org,role,workspaces,merge,x,y", Err("more than 9 cells")),
        ];
        for (header, expected) in table {
            let outcome = Table::new(header.as_bytes()).map(|_| ());
            match (&outcome, expected) {
                (Ok(()), Ok(())) => {}
                (Err(message), Err(begin)) => assert!(message.starts_with(begin), "{header}: {message}"),
                _ => panic!("{header}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn records() {
        let table: &[(&[u8], Result<Line<'_>, &str>)] = &[
            (
                b"user,42,user_1,linked,,,,,",
                Ok(Line::User { legacy: Some("42".into()), clerk: Some("user_1".into()), state: State::Linked }),
            ),
            (
                b"org,\"a \"\"b\"\", c\",,,,,,,true\r",
                Ok(Line::Org { legacy: Some("a \"b\", c".into()), clerk: None, merge: true }),
            ),
            (
                b"membership,,,,42,acme,,w2;w1,",
                Ok(Line::Membership {
                    user: "42".into(),
                    org: "acme".into(),
                    role: None,
                    workspaces: vec!["w1".into(), "w2".into()],
                }),
            ),
            (b"membership,,,,42,acme,,w2;,", Err("`workspaces` is empty: leave it out or give an id")),
            (b"user,42", Err("2 cells where the header has 9")),
            (b"user,42,user_1,linked,,,,,,", Err("10 cells where the header has 9")),
            (b"user,42,user_1,linked,,,,,,,", Err("more than 9 cells")),
            (b"user,\"42,user_1,linked,,,,,", Err("a quote is not closed on its line")),
            (b"user,\xff,user_1,linked,,,,,", Err("`legacy` is not UTF-8")),
            (b"org,a,,,,,,,yes", Err("`merge` must be true or false")),
            (b"user,42,,linked,,,,,", Err("a linked user needs `clerk` too")),
        ];
        let mut header = Table::new(b"kind,legacy,clerk,state,user,org,role,workspaces,merge").unwrap();
        for (bytes, expected) in table {
            let outcome = header.line(bytes);
            assert_eq!(outcome.as_ref().map_err(String::as_str), expected.as_ref().map_err(|m| *m), "{bytes:?}");
        }
    }
}
