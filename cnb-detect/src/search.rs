//! Finds the first combination of alternatives that works without trying all of them.
//!
//! A trial works exactly when the largest set of elements without an unmet requirement and an unused provide holds every
//! element that may not be dropped. Both conditions only get harder to meet as elements go, so an alternative that fails
//! although all alternatives of all other elements are still allowed fails in every trial: it is ruled out at once. What is
//! left falls into parts that share no name, and the first solution of the whole is made of the first solutions of the parts.

use std::collections::{HashMap, HashSet};

use crate::plan::Choices;

/// What became of one alternative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It may be chosen, and then takes part.
    Alive,
    /// It may be chosen, and then the element is dropped.
    Dropped,
    /// Every trial with it fails.
    Out,
}

/// The names that an alternative provides, and those it requires.
pub(crate) type Names<'a> = (Vec<&'a str>, Vec<&'a str>);

/// An alternative with its names as numbers.
struct Alternative {
    provides: Vec<usize>,
    requires: Vec<usize>,
}

struct Element {
    /// The place of its first alternative, and the place behind its last one.
    alternatives: std::ops::Range<usize>,
    /// Whether it may be dropped with its last alternative.
    optional: bool,
}

impl Element {
    fn may_drop(&self, at: usize) -> bool {
        self.optional && at + 1 == self.alternatives.end
    }
}

/// Why an alternative cannot take part in any trial: nobody earlier can provide `name`, or nobody later can require it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ruling<'a> {
    pub element: usize,
    /// Position among the alternatives of the element.
    pub alternative: usize,
    /// Whether the name is required; else it is provided.
    pub required: bool,
    pub name: &'a str,
}

/// The search gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GaveUp;

pub(crate) struct Search<'a> {
    elements: Vec<Element>,
    alternatives: Vec<Alternative>,
    names: Vec<&'a str>,
    /// How many more looks at an alternative are allowed.
    effort: u64,
    /// Parts that have no solution.
    hopeless: HashSet<Vec<usize>>,
    rulings: Vec<Ruling<'a>>,
    /// Whether to go on when an element has nothing left, as if its last alternative were possible.
    exhaustive: bool,
}

impl<'a> Search<'a> {
    /// Takes for each element whether it is optional and its alternatives, as names provided and required.
    pub(crate) fn new(elements: impl IntoIterator<Item = (bool, Vec<Names<'a>>)>, effort: u64) -> Self {
        let mut numbers: HashMap<&'a str, usize> = HashMap::new();
        let mut search = Self {
            elements: Vec::new(),
            alternatives: Vec::new(),
            names: Vec::new(),
            effort,
            hopeless: HashSet::new(),
            rulings: Vec::new(),
            exhaustive: false,
        };
        for (optional, alternatives) in elements {
            let first = search.alternatives.len();
            for (provides, requires) in alternatives {
                let mut number = |names: Vec<&'a str>| {
                    let mut found: Vec<usize> = names
                        .into_iter()
                        .map(|name| {
                            let next = numbers.len();
                            *numbers.entry(name).or_insert(next)
                        })
                        .collect();
                    found.sort_unstable();
                    found.dedup();
                    found
                };
                search.alternatives.push(Alternative {
                    provides: number(provides),
                    requires: number(requires),
                });
            }
            search.elements.push(Element {
                alternatives: first..search.alternatives.len(),
                optional,
            });
        }
        search.names = vec![""; numbers.len()];
        for (name, number) in numbers {
            search.names[number] = name;
        }
        search
    }

    /// Returns the first combination that works, counting with the last element fastest; `None` if there is none.
    pub(crate) fn first(mut self) -> Result<Option<Choices>, GaveUp> {
        let all: Vec<usize> = (0..self.elements.len()).collect();
        let mut states = vec![State::Alive; self.alternatives.len()];
        if !self.solve(&all, &mut states)? {
            return Ok(None);
        }
        let chosen = |element: &Element| {
            let mut open = element.alternatives.clone().filter(|&at| states[at] != State::Out);
            open.next().unwrap_or_default() - element.alternatives.start
        };
        Ok(Some(self.elements.iter().map(chosen).collect()))
    }

    /// Returns what is ruled out before anything is chosen, in the order of finding it out: reasons first.
    pub(crate) fn rulings(mut self) -> Vec<Ruling<'a>> {
        let all: Vec<usize> = (0..self.elements.len()).collect();
        let mut states = vec![State::Alive; self.alternatives.len()];
        self.exhaustive = true;
        // Something is always left in this way, and looking once at everything is never too much effort.
        let _ = self.rule_out(&all, &mut states);
        self.rulings
    }

    /// Narrows the states of the elements of one part down to its first solution; false, with the states in disorder, if
    /// there is none.
    fn solve(&mut self, part: &[usize], states: &mut Vec<State>) -> Result<bool, GaveUp> {
        let possible = self.rule_out(part, states)?;
        self.rulings.clear();
        if !possible {
            return Ok(false);
        }
        for part in self.parts(part, states) {
            let Some(&next) = part.iter().find(|&&element| self.open(element, states).count() > 1) else {
                continue;
            };
            let key = self.key(&part, states);
            if self.hopeless.contains(&key) {
                return Ok(false);
            }
            if !self.branch(next, &part, states)? {
                self.hopeless.insert(key);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tries the alternatives of one element of a part in turn.
    fn branch(&mut self, element: usize, part: &[usize], states: &mut Vec<State>) -> Result<bool, GaveUp> {
        let open: Vec<usize> = self.open(element, states).collect();
        for &chosen in &open {
            let mut attempt = states.clone();
            for &other in open.iter().filter(|&&other| other != chosen) {
                attempt[other] = State::Out;
            }
            if self.solve(part, &mut attempt)? {
                *states = attempt;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open<'s>(&self, element: usize, states: &'s [State]) -> impl Iterator<Item = usize> + use<'s> {
        self.elements[element]
            .alternatives
            .clone()
            .filter(|&at| states[at] != State::Out)
    }

    /// Rules out what cannot work whatever else is chosen, until nothing changes; false if an element has nothing left.
    fn rule_out(&mut self, part: &[usize], states: &mut [State]) -> Result<bool, GaveUp> {
        loop {
            let looks: usize = part.iter().map(|&at| self.elements[at].alternatives.len()).sum();
            self.effort = self.effort.checked_sub(looks as u64).ok_or(GaveUp)?;
            let (first_provider, last_requirer) = self.ends(part, states);
            let mut changed = false;
            for &element in part {
                for at in self.elements[element].alternatives.clone() {
                    let Alternative { provides, requires } = &self.alternatives[at];
                    let met = |name: &usize| {
                        first_provider[*name].is_some_and(|first| first < element) || provides.contains(name)
                    };
                    let used = |name: &usize| {
                        last_requirer[*name].is_some_and(|last| last > element) || requires.contains(name)
                    };
                    if states[at] != State::Alive {
                        continue;
                    }
                    let unmet = requires.iter().find(|name| !met(name));
                    let problem = unmet.or_else(|| provides.iter().find(|name| !used(name)));
                    if let Some(&name) = problem {
                        let ruling = Ruling {
                            element,
                            alternative: at - self.elements[element].alternatives.start,
                            required: unmet.is_some(),
                            name: self.names[name],
                        };
                        let may_drop = self.elements[element].may_drop(at);
                        if self.exhaustive && !may_drop && self.open(element, states).count() == 1 {
                            // The reason for the failure: what others say is judged as if it were not there.
                            if !self.rulings.contains(&ruling) {
                                self.rulings.push(ruling);
                            }
                            continue;
                        }
                        self.rulings.push(ruling);
                        states[at] = if may_drop { State::Dropped } else { State::Out };
                        changed = true;
                    }
                }
                if self.open(element, states).next().is_none() {
                    return Ok(false);
                }
            }
            if !changed {
                return Ok(true);
            }
        }
    }

    /// Returns for each name the first element that may provide it and the last that may require it.
    fn ends(&self, part: &[usize], states: &[State]) -> (Vec<Option<usize>>, Vec<Option<usize>>) {
        let (mut first, mut last) = (vec![None; self.names.len()], vec![None; self.names.len()]);
        for &element in part {
            for at in self.alive(element, states) {
                for &name in &self.alternatives[at].provides {
                    first[name].get_or_insert(element);
                }
                for &name in &self.alternatives[at].requires {
                    last[name] = Some(element);
                }
            }
        }
        (first, last)
    }

    fn alive<'s>(&self, element: usize, states: &'s [State]) -> impl Iterator<Item = usize> + use<'s> {
        self.elements[element]
            .alternatives
            .clone()
            .filter(|&at| states[at] == State::Alive)
    }

    fn names_of(&self, element: usize, states: &[State]) -> impl Iterator<Item = usize> {
        let alive: Vec<usize> = self.alive(element, states).collect();
        alive.into_iter().flat_map(|at| {
            let Alternative { provides, requires } = &self.alternatives[at];
            provides.iter().chain(requires).copied()
        })
    }

    /// Splits a part into those that share no name.
    fn parts(&self, part: &[usize], states: &[State]) -> Vec<Vec<usize>> {
        let mut owner: Vec<Option<usize>> = vec![None; self.names.len()];
        let mut parent: Vec<usize> = (0..part.len()).collect();
        for (place, &element) in part.iter().enumerate() {
            for name in self.names_of(element, states) {
                let other = *owner[name].get_or_insert(place);
                let (a, b) = (root(&mut parent, place), root(&mut parent, other));
                parent[a.max(b)] = a.min(b);
            }
        }
        let mut parts: Vec<Vec<usize>> = vec![Vec::new(); part.len()];
        for (place, &element) in part.iter().enumerate() {
            parts[root(&mut parent, place)].push(element);
        }
        parts.retain(|part| !part.is_empty());
        parts
    }

    /// Describes what is left to decide of a part: its open elements with what they may choose, and of the settled ones only
    /// what concerns names of the open ones. Parts with equal descriptions have a solution or not together.
    fn key(&self, part: &[usize], states: &[State]) -> Vec<usize> {
        let settled = |element: usize| {
            let mut open = self.open(element, states);
            matches!((open.next(), open.next()), (Some(at), None) if !self.elements[element].may_drop(at))
        };
        let mut concerned = vec![false; self.names.len()];
        for &element in part.iter().filter(|&&element| !settled(element)) {
            for name in self.names_of(element, states) {
                concerned[name] = true;
            }
        }
        let mut key = Vec::new();
        for &element in part {
            if settled(element) {
                let before = key.len();
                for at in self.alive(element, states) {
                    let Alternative { provides, requires } = &self.alternatives[at];
                    let mine = |name: &&usize| concerned[**name];
                    key.extend(provides.iter().filter(mine).map(|name| 4 * name));
                    key.extend(requires.iter().filter(mine).map(|name| 4 * name + 1));
                }
                if key.len() > before {
                    key.push(3);
                }
            } else {
                for at in self.open(element, states) {
                    key.push(4 * (2 * at + usize::from(states[at] == State::Alive)) + 2);
                }
            }
        }
        key
    }
}

/// Returns the root of a place in a forest of parents, and shortens the way there.
fn root(parent: &mut [usize], mut at: usize) -> usize {
    while parent[at] != at {
        parent[at] = parent[parent[at]];
        at = parent[at];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    type Texts = Vec<String>;

    /// Pigeons and holes: each module takes one place, and a witness for each place and pair of modules wants one of both to
    /// stay away. With fewer places than modules there is no way, and no short proof of that.
    fn pigeons(pigeons: usize, holes: usize) -> Vec<Vec<(Texts, Texts)>> {
        let name = |pigeon: usize, hole: usize| format!("p{pigeon}h{hole}");
        let mut modules: Vec<Vec<(Texts, Texts)>> = (0..pigeons)
            .map(|pigeon| {
                let elsewhere = |hole: usize| (0..holes).filter(move |other| *other != hole);
                (0..holes)
                    .map(|hole| (elsewhere(hole).map(|other| name(pigeon, other)).collect(), Vec::new()))
                    .collect()
            })
            .collect();
        for hole in 0..holes {
            for first in 0..pigeons {
                for second in first + 1..pigeons {
                    let away = |pigeon| (Vec::new(), vec![name(pigeon, hole)]);
                    modules.push(vec![away(first), away(second)]);
                }
            }
        }
        modules
    }

    fn search(modules: &[Vec<(Texts, Texts)>], effort: u64) -> Result<Option<Choices>, GaveUp> {
        fn texts(names: &Texts) -> Vec<&str> {
            names.iter().map(String::as_str).collect()
        }
        fn module(plans: &[(Texts, Texts)]) -> (bool, Vec<Names<'_>>) {
            (false, plans.iter().map(|(p, r)| (texts(p), texts(r))).collect())
        }
        Search::new(modules.iter().map(|plans| module(plans)), effort).first()
    }

    #[test]
    fn a_puzzle_that_is_hard_by_nature_is_given_up() {
        assert_eq!(search(&pigeons(9, 8), 1_000_000), Err(GaveUp));
        assert_eq!(search(&pigeons(4, 3), 1_000_000), Ok(None));
    }
}
