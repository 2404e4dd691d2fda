//! The shortest description of those who are concerned: a table of outcomes over a few traits becomes a few lines, each
//! saying only the traits that matter.
//!
//! Exact: a line covers people with one and the same change, all of them, and no others. Knows nothing of people.

/// Which options of each trait a line covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cube {
    pub(super) options: Vec<Vec<bool>>,
}

/// Starting points that are tried for the next line; the best one is taken.
const MAX_STARTS: usize = 24;

/// Lines that cover every point of a class, at most `max`; and how many points are left over. `sizes`: options of each
/// trait; `classes`: the class of each point, the last trait counting fastest.
pub(super) fn cover(sizes: &[usize], classes: &[usize], class: usize, max: usize) -> (Vec<Cube>, usize) {
    let mut left: Vec<usize> =
        classes.iter().enumerate().filter(|(_, other)| **other == class).map(|(point, _)| point).collect();
    let mut cubes = Vec::new();
    while !left.is_empty() && cubes.len() < max {
        let step = left.len().div_ceil(MAX_STARTS);
        let grown = left.iter().step_by(step).map(|start| grow(sizes, classes, class, *start));
        let covers = |cube: &Cube| left.iter().filter(|point| cube.holds(sizes, **point)).count();
        let Some(best) = grown.max_by_key(|cube| (covers(cube), usize::MAX - cube.restrictions())) else { break };
        left.retain(|point| !best.holds(sizes, *point));
        cubes.push(best);
    }
    (cubes, left.len())
}

/// The point and all around it that can be said more shortly.
fn grow(sizes: &[usize], classes: &[usize], class: usize, start: usize) -> Cube {
    let place = coordinates(sizes, start);
    let options = sizes.iter().zip(&place).map(|(size, at)| (0..*size).map(|option| option == *at).collect());
    let mut cube = Cube { options: options.collect() };
    // What is covered is pure already: only what a further option adds is looked at. Points are visited one by one, so that
    // the first of another class ends it.
    let is_pure = |cube: &Cube, at: usize, option: usize| {
        cube.every(sizes, at, option, &mut |point| classes.get(point) == Some(&class))
    };
    // A trait that can be left unsaid comes before one of which more options can be said.
    for (at, size) in sizes.iter().enumerate() {
        if (0..*size).all(|option| is_pure(&cube, at, option)) {
            cube.add(at, 0..*size);
        }
    }
    for (at, size) in sizes.iter().enumerate() {
        for option in 0..*size {
            if is_pure(&cube, at, option) {
                cube.add(at, option..option + 1);
            }
        }
    }
    cube
}

impl Cube {
    /// Traits that it says something of.
    pub(super) fn restrictions(&self) -> usize {
        self.options.iter().filter(|options| options.iter().any(|covered| !covered)).count()
    }

    fn holds(&self, sizes: &[usize], point: usize) -> bool {
        let place = coordinates(sizes, point);
        self.options.iter().zip(place).all(|(options, at)| options.get(at).copied().unwrap_or(false))
    }

    fn add(&mut self, at: usize, options: std::ops::Range<usize>) {
        let added = self.options.get_mut(at).and_then(|all| all.get_mut(options));
        added.into_iter().for_each(|added| added.fill(true));
    }

    /// Whether something is true of every point of this cube with one trait put to one option.
    fn every(&self, sizes: &[usize], at: usize, option: usize, holds: &mut impl FnMut(usize) -> bool) -> bool {
        fn from(
            dimensions: &[(&[bool], usize)],
            (at, option): (usize, usize),
            number: usize,
            point: usize,
            holds: &mut impl FnMut(usize) -> bool,
        ) -> bool {
            let Some((options, size)) = dimensions.get(number) else { return holds(point) };
            let mut next = |chosen: usize| from(dimensions, (at, option), number + 1, point * size + chosen, holds);
            if number == at {
                return next(option);
            }
            (0..*size).filter(|chosen| options.get(*chosen) == Some(&true)).all(&mut next)
        }
        let dimensions: Vec<(&[bool], usize)> =
            self.options.iter().map(Vec::as_slice).zip(sizes.iter().copied()).collect();
        from(&dimensions, (at, option), 0, 0, holds)
    }
}

/// Which option of each trait a point has.
pub(super) fn coordinates(sizes: &[usize], point: usize) -> Vec<usize> {
    let mut rest = point;
    let mut place: Vec<usize> = sizes
        .iter()
        .rev()
        .map(|size| {
            let at = rest % size.max(&1);
            rest /= size.max(&1);
            at
        })
        .collect();
    place.reverse();
    place
}

#[cfg(test)]
mod tests {
    use super::{coordinates, cover};

    #[test]
    fn lines_are_short_and_cover_exactly() {
        // Two traits of three options; the class is 1 where the first is 2, or both are 0.
        let sizes = [3, 3];
        let classes: Vec<usize> = (0..9)
            .map(|point| {
                let place = coordinates(&sizes, point);
                usize::from(place[0] == 2 || place == [0, 0])
            })
            .collect();
        let (cubes, left) = cover(&sizes, &classes, 1, 9);
        assert_eq!((cubes.len(), left), (2, 0));
        assert_eq!(cubes[0].options, [vec![false, false, true], vec![true; 3]], "the second trait goes unsaid");
        assert_eq!(cubes[1].options, [vec![true, false, true], vec![true, false, false]]);
        let (cubes, left) = cover(&sizes, &classes, 1, 1);
        assert_eq!((cubes.len(), left), (1, 1));
    }

    #[test]
    fn what_holds_for_all_is_said_of_all() {
        let (cubes, _) = cover(&[2, 3, 2], &[1; 12], 1, 4);
        assert_eq!((cubes.len(), cubes[0].restrictions()), (1, 0));
        assert_eq!(cover(&[], &[1], 1, 4).0[0].options.len(), 0, "no traits at all");
    }
}
