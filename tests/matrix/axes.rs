//! The flag axes, and the selection of combinations that covers every pair of their values.
use crate::program::Cover;

/// Optimisation.
pub(crate) const OPT: &[&str] = &["-O0", "-O2", V3];
/// The optimisation that needs a CPU with AVX2, BMI2 and FMA.
pub(crate) const V3: &str = "-O3 -march=x86-64-v3";
/// Position independence and code model; the first is what the compiler does by itself.
pub(crate) const MODEL: &[&str] = &[
    "",
    "-fPIC",
    "-fno-pic -no-pie",
    "-mcmodel=medium",
    "-mcmodel=large",
    "-fno-plt",
];
/// What else changes the shape of an object.
pub(crate) const EXTRA: &[&str] = &[
    "",
    "-g",
    "-ffunction-sections -fdata-sections",
    "-fcf-protection=full",
    TLSDESC,
];
/// The value of `EXTRA` that only matters to thread-local data.
pub(crate) const TLSDESC: &str = "-mtls-dialect=gnu2";

/// All combinations of one value of each axis, given the axes' lengths, in a fixed order.
pub(crate) fn product(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new()];
    for &length in lengths {
        rows = rows
            .iter()
            .flat_map(|row| (0..length).map(move |value| row.iter().copied().chain([value]).collect()))
            .collect();
    }
    rows
}

/// A small part of `product(lengths)` in which each pair (or each value) occurs. The choice depends on nothing but the
/// arguments; another `seed` gives another selection, so that many programs together see many combinations.
pub(crate) fn covering(lengths: &[usize], cover: Cover, seed: usize) -> Vec<Vec<usize>> {
    let mut candidates = product(lengths);
    let shift = seed.wrapping_mul(37) % candidates.len().max(1);
    candidates.rotate_left(shift);
    let goals = |row: &[usize]| -> Vec<[usize; 4]> {
        let value = |axis: usize| (axis, row[axis]);
        let axes = 0..row.len();
        match cover {
            Cover::Values => axes.map(value).map(|(a, v)| [a, v, a, v]).collect(),
            Cover::Pairs => axes
                .flat_map(|a| (a + 1..row.len()).map(move |b| (a, b)))
                .map(|(a, b)| [a, row[a], b, row[b]])
                .collect(),
        }
    };
    let mut open: std::collections::BTreeSet<[usize; 4]> = candidates.iter().flat_map(|row| goals(row)).collect();
    let mut chosen = Vec::new();
    while !open.is_empty() {
        let gain = |row: &Vec<usize>| goals(row).iter().filter(|goal| open.contains(*goal)).count();
        let mut best: Option<(usize, &Vec<usize>)> = None;
        for row in &candidates {
            let gained = gain(row);
            if best.is_none_or(|(most, _)| gained > most) {
                best = Some((gained, row));
            }
        }
        let Some((_, row)) = best else { break };
        for goal in goals(row) {
            open.remove(&goal);
        }
        chosen.push(row.clone());
    }
    chosen.sort();
    chosen
}
