//! Values that people write in one word or in several ways: durations, sizes, one or a list.
//!
//! Each has its own small `Deserialize`, since serde's `untagged` would lose the path of an error. What is
//! written is never repeated in an error: it may have come out of the environment.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use crate::config::decode::HELP;

/// `250ms`, `5s`, `5m`, `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

/// A duration, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lasting(pub(crate) Option<Duration>);

/// `64KiB`, `10MiB`, `1GiB`, or plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// A size, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound(pub(crate) Option<u64>);

/// `auto`, or how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    Auto,
    Number(usize),
}

/// One text, or a list of texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OneOrMany(pub(crate) Vec<String>);

/// One thing, or a list of such things.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Several<T>(pub(crate) Vec<T>);

/// One scalar, or a list of scalars, with their types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalars(pub(crate) Vec<serde_json::Value>);

/// A text, or a mapping that says it in full.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TextOr<T> {
    Text(String),
    Full(T),
}

/// A mapping whose keys are names that people choose, in the order they wrote them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named<T>(pub(crate) Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Splits `64KiB` after its digits.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(at)?;
    Some((digits.parse().ok()?, unit))
}

pub(crate) fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    // A century is longer than any wait; beyond it, adding to a clock could overflow.
    number.checked_mul(milliseconds).filter(|ms| *ms <= 100 * 366 * 24 * 3_600_000).map(Duration::from_millis)
}

pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bytes = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn bad_time<E: Error>(text: &str) -> E {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return no_unit();
    }
    E::custom(format_args!("this is no duration{HELP}write a whole number and a unit: 250ms, 5s, 5m, 24h"))
}

fn no_unit<E: Error>() -> E {
    E::custom(format_args!("this duration has no unit{HELP}write 250ms, 5s, 5m or 24h"))
}

fn bad_size<E: Error>() -> E {
    E::custom(format_args!("this is no size{HELP}write a whole number and a unit: 64KiB, 10MiB, 1GiB, or bytes"))
}

/// A visitor of one scalar: what it expects, and what it makes of text and of whole numbers.
macro_rules! scalar {
    ($type:ident, $expecting:literal, |$text:ident| $from_text:expr, |$number:ident| $from_number:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Scalar;
                impl Visitor<'_> for Scalar {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: Error>(self, $text: &str) -> Result<$type, E> {
                        $from_text
                    }

                    fn visit_u64<E: Error>(self, $number: u64) -> Result<$type, E> {
                        $from_number
                    }
                }
                deserializer.deserialize_any(Scalar)
            }
        }
    };
}

scalar!(
    Time,
    "a duration like 250ms, 5s, 5m or 24h",
    |text| parse_time(text).map(Time).ok_or_else(|| bad_time(text)),
    |_number| Err(no_unit())
);
scalar!(
    Lasting,
    "a duration like 15m or 24h, or none",
    |text| if text == "none" {
        Ok(Lasting(None))
    } else {
        parse_time(text).map(|time| Lasting(Some(time))).ok_or_else(|| bad_time(text))
    },
    |_number| Err(no_unit())
);
scalar!(Size, "a size like 64KiB", |text| parse_size(text).map(Size).ok_or_else(bad_size), |number| Ok(Size(number)));
scalar!(
    Bound,
    "a size like 64KiB, or none",
    |text| if text == "none" {
        Ok(Bound(None))
    } else {
        parse_size(text).map(|bytes| Bound(Some(bytes))).ok_or_else(bad_size)
    },
    |number| Ok(Bound(Some(number)))
);
scalar!(
    Threads,
    "auto or a whole number",
    |text| if text == "auto" {
        Ok(Threads::Auto)
    } else {
        Err(E::custom("expected auto or a whole number, found text"))
    },
    |number| usize::try_from(number).map(Threads::Number).map_err(E::custom)
);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

/// One typed scalar; a list or a mapping cannot be compared with.
struct Typed(serde_json::Value);

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor).map(Typed)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = serde_json::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true or false")
    }

    fn visit_bool<E>(self, value: bool) -> Result<serde_json::Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<serde_json::Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<serde_json::Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<serde_json::Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<serde_json::Value, E> {
        Ok(value.into())
    }
}

impl<'de> Deserialize<'de> for Scalars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Scalars;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number, true or false, or a list of these")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Scalars, E> {
                Ok(Scalars(vec![value.into()]))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Scalars, E> {
                Ok(Scalars(vec![value.into()]))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Scalars, E> {
                Ok(Scalars(vec![value.into()]))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Scalars, E> {
                Ok(Scalars(vec![value.into()]))
            }

            fn visit_str<E>(self, value: &str) -> Result<Scalars, E> {
                Ok(Scalars(vec![value.into()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalars, A::Error> {
                let mut values = Vec::new();
                while let Some(Typed(value)) = list.next_element()? {
                    values.push(value);
                }
                Ok(Scalars(values))
            }
        }
        deserializer.deserialize_any(List)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = TextOr<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a mapping")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextOr<T>, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextOr<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Full)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Several<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a mapping, or a list of these")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Several<T>, E> {
                T::deserialize(text.into_deserializer()).map(|one| Several(vec![one]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Several<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| Several(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Several<T>, A::Error> {
                let mut several = Vec::new();
                while let Some(one) = list.next_element()? {
                    several.push(one);
                }
                Ok(Several(several))
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Named(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse_size, parse_time};

    #[test]
    fn durations() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let table = [
            ("250ms", ms(250)),
            ("5s", ms(5_000)),
            ("5m", ms(300_000)),
            ("24h", ms(86_400_000)),
            ("0s", ms(0)),
            ("5", None),
            ("s", None),
            ("", None),
            ("-5s", None),
            ("1.5s", None),
            ("5 s", None),
            ("5S", None),
            ("1h30m", None),
            ("5d", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
            ("5 parsecs", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_time(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        let table = [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("10B", Some(10)),
            ("64KiB", Some(65_536)),
            ("10MiB", Some(10_485_760)),
            ("1GiB", Some(1_073_741_824)),
            ("64KB", None),
            ("64k", None),
            ("KiB", None),
            ("1.5MiB", None),
            ("-1", None),
            ("17179869184TiB", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_size(text), expected, "{text:?}");
        }
    }
}
