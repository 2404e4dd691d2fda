//! Characters that do something to a line and are not seen in it: they end it, hide in it or turn it round (Trojan source).
//!
//! Asked wherever text of others comes to a screen. Changes nothing itself.

/// Controls, separators, marks of direction, joiners, what has no width and what only tags.
pub(crate) const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::is_hidden;

    #[test]
    fn what_a_token_may_not_say_is_hidden_here_too() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            assert!(!crate::identity::clerk::is_hidden(c) || is_hidden(c), "{c:?}");
        }
        assert!("a b-ç名€“”…→".chars().all(|c| !is_hidden(c)));
    }
}
