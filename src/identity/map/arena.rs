//! Text that is written once and never moved: ids, roles and workspaces of a whole map in pieces of 1 MiB.
//!
//! Used by the map's tables, which remember a place of four bytes instead of a `String` of 24. Pieces instead of one
//! growing buffer: a buffer that doubles holds half of itself twice while it moves. Never gives anything back before the
//! whole map goes.

/// Bytes of one piece. No text is cut in two, so that each is borrowed as it is.
const PIECE: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Arena {
    pieces: Vec<String>,
}

impl Arena {
    /// Writes the parts one after the other. `None` when the arena is full (4 GiB) or the text longer than a piece.
    pub(super) fn push(&mut self, parts: &[&str]) -> Option<u32> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > PIECE {
            return None;
        }
        if self.pieces.last().is_none_or(|piece| PIECE - piece.len() < length) {
            self.pieces.push(String::with_capacity(PIECE));
        }
        let index = self.pieces.len().checked_sub(1)?;
        let piece = self.pieces.last_mut()?;
        let place = u32::try_from(index * PIECE + piece.len()).ok()?;
        for part in parts {
            piece.push_str(part);
        }
        Some(place)
    }

    /// The text that was written at a place; empty for a place that nobody was given.
    pub(super) fn text(&self, place: u32, length: usize) -> &str {
        let (index, from) = (place as usize / PIECE, place as usize % PIECE);
        self.pieces.get(index).and_then(|piece| piece.get(from..from + length)).unwrap_or_default()
    }

    /// A small map does not keep a whole piece.
    pub(super) fn settle(&mut self) {
        if let Some(piece) = self.pieces.last_mut() {
            piece.shrink_to_fit();
        }
        self.pieces.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, PIECE};

    #[test]
    fn nothing_is_cut_at_the_edge_of_a_piece() {
        let mut arena = Arena::default();
        let long = "x".repeat(PIECE - 3);
        let first = arena.push(&[&long]).unwrap();
        let second = arena.push(&["ab", "cd"]).unwrap();
        assert_eq!(arena.text(first, long.len()), long);
        assert_eq!(arena.text(second, 4), "abcd");
        assert_eq!(second as usize, PIECE);
        assert_eq!(arena.push(&["x".repeat(PIECE + 1).as_str()]), None);
        assert_eq!(arena.text(u32::MAX, 4), "");
    }
}
