//! [`Rollout`]: who goes first.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::present::name_of;
use super::{Cost, PlannedImage};
use crate::change::Priority;

/// Who goes first, and how many at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Images with this label set to `true` are canaries: the first wave.
    pub canary_label: String,
    /// When no image has the label, this many are chosen: the cheapest, of different namespaces as far as possible.
    pub canaries: usize,
    /// How large the second wave is; each further one is `growth` times as large.
    pub first_wave: usize,
    /// At least 1.
    pub growth: usize,
}

impl Default for Rollout {
    /// One canary, then waves of 10, 40, 160, …
    fn default() -> Self {
        Self {
            canary_label: "image.kpack.io/canary".to_owned(),
            canaries: 1,
            first_wave: 10,
            growth: 4,
        }
    }
}

/// Images that are worked on at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Wave {
    /// Images that are rebuilt.
    pub rebuilds: usize,
    /// Images that are rebased.
    pub rebases: usize,
    /// What they cost.
    #[serde(flatten)]
    pub cost: Cost,
}

impl Rollout {
    /// Sorts the images by the order in which they are worked on, and notes their waves.
    ///
    /// What users wait for is in wave 0 beside the canaries: no wave holds it up. The rest is dealt out namespace by
    /// namespace, so that none has all of its images in the last wave.
    pub(super) fn arrange(&self, images: &mut [PlannedImage<'_>]) -> Vec<Wave> {
        images.sort_by_cached_key(|planned| name_of(&planned.image.metadata));
        self.choose_canaries(images);
        // How many of the namespace come before: images are dealt out in rounds.
        let mut rounds: HashMap<&str, u32> = HashMap::new();
        let keys: Vec<(bool, Reverse<Priority>, bool, u32)> = images
            .iter()
            .map(|planned| {
                let round = rounds.entry(planned.image.metadata.namespace.as_str()).or_default();
                let is_background = planned.is_work() && planned.action.priority() == Priority::Low;
                let key = (
                    !planned.is_work(),
                    Reverse(planned.action.priority()),
                    planned.wave != 0,
                    if is_background { *round } else { 0 },
                );
                *round += u32::from(is_background);
                key
            })
            .collect();
        let mut order: Vec<usize> = (0..images.len()).collect();
        order.sort_by_key(|&at| (keys[at], at));
        permute(images, &order);
        self.number(images)
    }

    /// Leaves wave 0 to those who go first and puts the others into wave 1.
    fn choose_canaries(&self, images: &mut [PlannedImage<'_>]) {
        let is_labelled = |planned: &PlannedImage<'_>| {
            planned
                .image
                .metadata
                .labels
                .get(&self.canary_label)
                .is_some_and(|value| value == "true")
        };
        let is_background =
            |planned: &PlannedImage<'_>| planned.is_work() && planned.action.priority() == Priority::Low;
        let mut chosen: Vec<usize> = (0..images.len())
            .filter(|&at| is_background(&images[at]) && is_labelled(&images[at]))
            .collect();
        if chosen.is_empty() {
            let mut candidates: Vec<usize> = (0..images.len()).filter(|&at| is_background(&images[at])).collect();
            candidates.sort_by_key(|&at| (images[at].cost.seconds, at));
            let mut seen = std::collections::HashSet::new();
            let (first, more): (Vec<usize>, Vec<usize>) = candidates
                .into_iter()
                .partition(|&at| seen.insert(images[at].image.metadata.namespace.as_str()));
            chosen = first.into_iter().chain(more).take(self.canaries).collect();
        }
        for planned in &mut *images {
            planned.wave = u32::from(is_background(planned));
        }
        for at in chosen {
            images[at].wave = 0;
        }
    }

    fn number(&self, images: &mut [PlannedImage<'_>]) -> Vec<Wave> {
        let mut waves: Vec<Wave> = Vec::new();
        let (mut wave, mut size, mut left) = (0, self.first_wave.max(1), self.first_wave.max(1));
        for planned in images.iter_mut().filter(|planned| planned.is_work()) {
            if planned.wave != 0 {
                if wave == 0 {
                    wave = 1;
                } else if left == 0 {
                    wave += 1;
                    size = size.saturating_mul(self.growth.max(1));
                    left = size;
                }
                left -= 1;
                planned.wave = wave;
            }
            let at = planned.wave as usize;
            if waves.len() <= at {
                waves.resize(at + 1, Wave::default());
            }
            match planned.action.name() {
                "rebase" => waves[at].rebases += 1,
                _ => waves[at].rebuilds += 1,
            }
            waves[at].cost = waves[at].cost + planned.cost;
        }
        waves
    }
}

/// Puts at each place what `order` says stands there: each place once.
fn permute<T>(items: &mut [T], order: &[usize]) {
    // Where what belongs to a place has gone by the exchanges before.
    for (place, &from) in order.iter().enumerate() {
        let mut from = from;
        while from < place {
            from = order[from];
        }
        items.swap(place, from);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::permute;

    proptest! {
        #[test]
        fn a_permutation_puts_everything_where_it_belongs(order in Just((0..30_usize).collect::<Vec<_>>()).prop_shuffle()) {
            let mut items: Vec<usize> = (0..30).collect();
            permute(&mut items, &order);
            prop_assert_eq!(items, order);
        }
    }
}
