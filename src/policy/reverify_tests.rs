use super::{Level, Preset, ReverificationParams, Reverified, reverified_holds};
use crate::identity::Facts;
use crate::policy::{Cause, Tri};

fn facts(factor_ages: Option<[f64; 2]>) -> Facts {
    Facts { factor_ages, ..Facts::default() }
}

#[test]
fn presets_are_clerks() {
    let table = [
        ("strict_mfa", Level::Multi, 10.0),
        ("strict", Level::Second, 10.0),
        ("moderate", Level::Second, 60.0),
        ("lax", Level::Second, 1440.0),
    ];
    for (name, level, minutes) in table {
        let asked = Reverified::from(Preset::parse(name).unwrap());
        assert_eq!((asked.level(), asked.after_minutes()), (level, minutes), "{name}");
        assert_eq!(asked.params(), ReverificationParams::Preset(name));
    }
    assert_eq!(Preset::parse("Strict"), None);
}

#[test]
fn levels_and_ages() {
    let table = [
        (Level::First, [9.0, -1.0], true),
        (Level::First, [10.0, -1.0], false),
        (Level::First, [0.0, 99.0], true),
        (Level::First, [-1.0, 0.0], false),
        (Level::First, [-1.0, -1.0], false),
        (Level::Second, [99.0, 9.0], true),
        (Level::Second, [0.0, 10.0], false),
        (Level::Second, [9.0, -1.0], true),
        (Level::Second, [10.0, -1.0], false),
        (Level::Second, [-1.0, 9.0], true),
        (Level::Second, [-1.0, -1.0], false),
        (Level::Multi, [9.0, 9.0], true),
        (Level::Multi, [10.0, 9.0], false),
        (Level::Multi, [9.0, 10.0], false),
        (Level::Multi, [9.0, -1.0], true),
        (Level::Multi, [10.0, -1.0], false),
        (Level::Multi, [-1.0, 9.0], false),
        (Level::Multi, [-1.0, -1.0], false),
    ];
    for (level, ages, expected) in table {
        let asked = Reverified::new(level, 10.0).unwrap();
        assert_eq!(reverified_holds(&facts(Some(ages)), &asked), Tri::from(expected), "{level:?} {ages:?}");
    }
}

#[test]
fn ages_that_are_none_are_unknown() {
    let asked = Reverified::from(Preset::Lax);
    assert_eq!(reverified_holds(&facts(None), &asked), Tri::Unknown(Cause::MissingClaim));
    for ages in [[-2.0, 0.0], [0.0, -0.5], [f64::NAN, 0.0], [0.0, f64::INFINITY]] {
        assert_eq!(reverified_holds(&facts(Some(ages)), &asked), Tri::Unknown(Cause::UnreadableClaim), "{ages:?}");
    }
}

#[test]
fn only_a_finite_time_above_zero_can_be_asked_for() {
    for minutes in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(Reverified::new(Level::First, minutes), None, "{minutes}");
    }
    let custom = Reverified::new(Level::First, 1.0).unwrap();
    assert_eq!(custom.params(), ReverificationParams::Custom { level: "first_factor", after_minutes: 1.0 });
    assert_eq!(reverified_holds(&facts(Some([1.0, -1.0])), &custom), Tri::False);
    assert_eq!(reverified_holds(&facts(Some([0.0, -1.0])), &custom), Tri::True);
}
