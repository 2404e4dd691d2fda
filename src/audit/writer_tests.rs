//! What the writer does by the clock and by the disk: checkpoints when they are due, and a word before there is no room.

use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::testing::{Bed, Desk};

/// Entries that the checkpoints beside the first segment cover.
fn covered(bed: &Bed) -> Vec<u64> {
    let text = fs::read(bed.folder().join("audit-00000000000000000001.checkpoints")).unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| super::checkpoint::Checkpoint::parse(line).unwrap().seq).collect()
}

#[test]
fn a_minute_after_the_last_checkpoint_the_next_one_is_made_if_there_is_something_new() {
    let bed = Bed::new();
    let mut desk = Desk::open(Arc::new(bed.disk()), bed.options(64 << 20, 3)).unwrap();
    // Before the first entry, and of the start.
    assert_eq!(covered(&bed), [0, 2]);
    desk.commit(1);
    desk.wait(Duration::from_secs(59));
    desk.turn();
    let last = bed.chain().last;
    assert_eq!(covered(&bed), [0, 2], "not due yet");
    desk.wait(Duration::from_secs(2));
    desk.turn();
    assert_eq!(covered(&bed), [0, 2, last]);
    for _ in 0..3 {
        desk.wait(Duration::from_secs(61));
        desk.turn();
    }
    assert_eq!(covered(&bed), [0, 2, last], "nothing new");
    desk.commit(1);
    assert_eq!(covered(&bed).len(), 3, "the minute begins with the last turn");
    desk.wait(Duration::from_secs(61));
    desk.turn();
    assert_eq!(covered(&bed).last(), Some(&bed.chain().last));
}

#[test]
fn after_ten_thousand_entries_a_checkpoint_does_not_wait_for_its_minute() {
    let bed = Bed::new();
    let mut desk = Desk::open(Arc::new(bed.disk()), bed.options(64 << 20, 3)).unwrap();
    let mut before = 2;
    while covered(&bed).len() == 2 {
        before = bed.chain().last;
        desk.commit(500);
        assert!(bed.chain().last < 12_000, "none was made");
    }
    let last = bed.chain().last;
    assert_eq!(covered(&bed), [0, 2, last]);
    // 10,000 after the start's, and not one batch before.
    assert!(before - 2 < 10_000 && last - 2 >= 10_000, "{before} {last}");
}

/// What was logged while `act` ran.
fn logged(act: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);
    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let page = Page::default();
    let writer = page.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(log, act);
    let bytes = page.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn low_space_is_told_once_for_each_mark_before_it_is_too_late() {
    let bed = Bed::new();
    let disk = bed.disk();
    disk.leave(1 << 30, 600);
    let mut desk = Desk::open(Arc::new(disk.clone()), bed.options(1 << 20, 3)).unwrap();
    let mut look = |permille: u16| {
        disk.leave(1 << 30, permille);
        desk.wait(Duration::from_secs(5));
        let told = logged(|| desk.turn());
        let warned = told.contains("WARN") && told.contains(&format!("{} % of the disk is left", permille / 10));
        assert_eq!(warned, !told.is_empty(), "{told}");
        assert_eq!(desk.free(), Some(permille));
        warned
    };
    for (permille, warned) in [
        (600, false),
        (200, false),
        (199, true),
        (120, false),
        (49, true),
        (10, false),
        // Freed, and filled again.
        (300, false),
        (20, true),
    ] {
        assert_eq!(look(permille), warned, "{permille}");
    }
}

#[test]
fn a_segment_is_not_begun_where_it_would_fill_up_at_once() {
    let bed = Bed::new();
    let disk = bed.disk();
    let mut desk = Desk::open(Arc::new(disk.clone()), bed.options(8 << 10, 1000)).unwrap();
    disk.leave(60_000, 1);
    for _ in 0..50 {
        desk.commit(1);
    }
    assert!(!desk.is_open(), "its first rotation found no room");
    disk.leave(1 << 30, 500);
    desk.wait(Duration::from_secs(1));
    desk.turn();
    assert!(desk.is_open());
    assert_eq!(desk.commit(1).len(), 1);
    bed.chain();
}
