//! A percentage, exact: parts per million, read from decimal text, never through a floating-point number.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// 0 to 100 % in steps of 0.0001 %, that is of one part per million.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

/// What a text is instead of a percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAPercent {
    /// Not digits with at most one point between them.
    Malformed,
    TooManyDecimals,
    /// Above 100.
    TooLarge,
}

impl Percent {
    pub const ZERO: Self = Self(0);
    pub const ALL: Self = Self(1_000_000);

    /// Parts per million, 0 to 1,000,000; `None` beyond.
    pub const fn from_ppm(ppm: u32) -> Option<Self> {
        if ppm <= Self::ALL.0 { Some(Self(ppm)) } else { None }
    }

    /// 0 to 1,000,000.
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// Whether one of 2^32 equally likely numbers falls into this share.
    pub fn takes(self, draw: u32) -> bool {
        (u64::from(draw) * u64::from(Self::ALL.0)) >> 32 < u64::from(self.0)
    }

    /// Rounded up, and at most [`Percent::ALL`]: for thresholds that are computed.
    pub(super) fn saturating(ppm: u64) -> Self {
        u32::try_from(ppm).ok().and_then(Self::from_ppm).unwrap_or(Self::ALL)
    }
}

impl fmt::Display for NotAPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "a percentage is a plain decimal number such as 12.5",
            Self::TooManyDecimals => "a percentage has at most four decimals",
            Self::TooLarge => "a percentage is at most 100",
        })
    }
}

impl std::error::Error for NotAPercent {}

/// `12.5`: digits, and after a point one to four more. No sign, no exponent, no blank: what is written is what is meant.
impl FromStr for Percent {
    type Err = NotAPercent;

    fn from_str(text: &str) -> Result<Self, NotAPercent> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(decimals) {
            return Err(NotAPercent::Malformed);
        }
        if decimals.len() > 4 {
            return Err(NotAPercent::TooManyDecimals);
        }
        // Only digits are left, so that the one way to fail is a number that is too large for the type.
        let whole = whole.parse::<u32>().map_err(|_| NotAPercent::TooLarge)?;
        let decimals = format!("{decimals:0<4}").parse::<u32>().map_err(|_| NotAPercent::Malformed)?;
        let ppm = whole.checked_mul(10_000).and_then(|ppm| ppm.checked_add(decimals)).ok_or(NotAPercent::TooLarge)?;
        Self::from_ppm(ppm).ok_or(NotAPercent::TooLarge)
    }
}

/// The shortest text that reads back as the same percentage: `25`, `12.5`, `0.0001`.
impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 10_000, self.0 % 10_000);
        if decimals == 0 {
            return f.pad(&whole.to_string());
        }
        f.pad(format!("{whole}.{decimals:04}").trim_end_matches('0'))
    }
}

/// A number, or text as Argo's arguments always are.
impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Percent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentage between 0 and 100 with at most four decimals")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Percent, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Percent, E> {
                self.visit_str(&number.to_string())
            }

            /// The reader has made a float of the text. Its shortest form is that text again (a float keeps 15 digits,
            /// a percentage has at most 7), so that nothing is rounded and a fifth decimal is still seen.
            fn visit_f64<E: Error>(self, number: f64) -> Result<Percent, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Percent, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Written)
    }
}

/// A number as a person would write it: no `.0` on whole ones.
impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(10_000) {
            return serializer.serialize_u32(self.0 / 10_000);
        }
        serializer.serialize_f64(f64::from(self.0) / 10_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{NotAPercent, Percent};

    #[test]
    fn draws_fall_into_a_share_as_often_as_it_says() {
        let mut state = 42_u64;
        let mut draw = || {
            // SplitMix64: seeded, so that this never fails by chance.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed >> 32) as u32
        };
        for percent in ["0", "0.5", "10", "33.3333", "50", "99.5", "100"] {
            let percent: Percent = percent.parse().unwrap();
            let taken = (0..200_000).filter(|_| percent.takes(draw())).count() as f64 / 200_000.0;
            let share = f64::from(percent.ppm()) / 1_000_000.0;
            assert!((taken - share).abs() < 0.005, "{percent}: {taken}");
        }
        for draw in [0, 1, u32::MAX / 2, u32::MAX] {
            assert!(!Percent::ZERO.takes(draw) && Percent::ALL.takes(draw), "{draw}: nobody and everybody, exactly");
        }
        let least = Percent::from_ppm(1).unwrap();
        assert!(least.takes(4294) && !least.takes(4295), "one in a million");
    }

    #[test]
    fn text_is_read_exactly_or_refused() {
        use NotAPercent::{Malformed, TooLarge, TooManyDecimals};
        let table: &[(&str, Result<u32, NotAPercent>)] = &[
            ("0", Ok(0)),
            ("0.0001", Ok(1)),
            ("0.1", Ok(1_000)),
            ("12.5", Ok(125_000)),
            ("33.3333", Ok(333_333)),
            ("25.0", Ok(250_000)),
            ("007", Ok(70_000)),
            ("99.9999", Ok(999_999)),
            ("100", Ok(1_000_000)),
            ("100.0000", Ok(1_000_000)),
            ("100.0001", Err(TooLarge)),
            ("101", Err(TooLarge)),
            ("429497", Err(TooLarge)),
            ("99999999999999999999", Err(TooLarge)),
            ("0.00001", Err(TooManyDecimals)),
            ("1.00000", Err(TooManyDecimals)),
            ("", Err(Malformed)),
            (".", Err(Malformed)),
            (".5", Err(Malformed)),
            ("5.", Err(Malformed)),
            ("1.2.3", Err(Malformed)),
            ("-1", Err(Malformed)),
            ("+1", Err(Malformed)),
            ("-0", Err(Malformed)),
            ("1e2", Err(Malformed)),
            ("1,5", Err(Malformed)),
            ("25%", Err(Malformed)),
            (" 25", Err(Malformed)),
            ("٢٥", Err(Malformed)),
            ("NaN", Err(Malformed)),
            ("inf", Err(Malformed)),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Percent>().map(Percent::ppm), *expected, "{text:?}");
        }
    }

    #[test]
    fn every_percentage_survives_text_json_and_yaml() {
        for ppm in 0..=1_000_000 {
            let percent = Percent::from_ppm(ppm).unwrap();
            let text = percent.to_string();
            assert_eq!(text.parse(), Ok(percent), "{text}");
            let json = serde_json::to_string(&percent).unwrap();
            assert_eq!(json, text);
            assert_eq!(serde_json::from_str::<Percent>(&json).unwrap(), percent, "{json}");
            // YAML reads a number as JSON does; one in a hundred shows it.
            if ppm % 97 == 0 {
                assert_eq!(serde_yaml::from_str::<Percent>(&text).unwrap(), percent, "{text}");
            }
        }
        assert_eq!(Percent::from_ppm(1_000_001), None);
    }

    #[test]
    fn numbers_and_text_are_both_taken_and_other_shapes_refused() {
        for (json, ppm) in [("25", 250_000), ("25.0", 250_000), ("\"25\"", 250_000), ("0.0001", 1), ("1e1", 100_000)] {
            assert_eq!(serde_json::from_str::<Percent>(json).unwrap().ppm(), ppm, "{json}");
        }
        for json in
            ["-1", "100.5", "1e300", "0.00001", "1e-9", "33.33333", "null", "true", "[25]", "{}", "\"\"", "\"x\""]
        {
            assert!(serde_json::from_str::<Percent>(json).is_err(), "{json}");
        }
    }
}
