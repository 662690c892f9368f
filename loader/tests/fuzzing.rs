//! The oracles of `restub_loader::fuzzing`, on a few thousand seeds: `RESTUB_SEED` chooses others, `RESTUB_FUZZ_CASES` how
//! many. Fuzzing proper is in `fuzz/`.

use proptest::prelude::*;
use restub_loader::fuzzing::{self, Case, Choices, Peer, Scope, Tally};
use restub_loader::{ROWS, Values};

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let first = number("RESTUB_SEED", 0) << 32;
    first..first + number("RESTUB_FUZZ_CASES", default)
}

#[test]
fn generated_cases_link_as_the_psabi_says() {
    for seed in seeds(400) {
        fuzzing::check_link_seed(seed);
    }
}

#[test]
fn rows_compute_what_the_psabi_says() {
    for seed in seeds(200) {
        let entropy = fuzzing::entropy(seed);
        let mut choices = Choices::new(&entropy);
        for row in 0..ROWS.len() as u32 + 2 {
            let [s, a, p, g, got, l, z, tp, block, module] = std::array::from_fn(|_| choices.edge());
            let values = Values {
                s,
                a,
                p,
                g,
                got,
                l,
                z,
                tp,
                block,
                module,
            };
            fuzzing::check_row(row, &values);
            // Close to the edges of what a displacement holds.
            let p = s.wrapping_add(a).wrapping_sub(choices.edge());
            fuzzing::check_row(row, &Values { p, ..values });
        }
    }
}

#[test]
fn other_linkers_make_the_same_of_generated_cases() {
    const BATCH: u64 = 50;
    // Seeds of differences that were found, whose causes are in the table of `peers.rs` now.
    const FOUND: [u64; 1] = [43];
    let first = number("RESTUB_SEED", 0);
    let batches = first..first + 2 * number("RESTUB_FUZZ_BATCHES", 1);
    for peer in [Peer::Gnu, Peer::Lld] {
        let mut total = Tally::default();
        for seed in batches.clone().chain(FOUND) {
            for scope in [Scope::Program, Scope::Library] {
                let result = peer.check(scope, &fuzzing::batch(scope, seed, BATCH));
                let (tally, differences) = result.unwrap_or_else(|error| panic!("{error}"));
                let words: Vec<_> = differences
                    .iter()
                    .take(50)
                    .map(|difference| &difference.words)
                    .collect();
                assert!(
                    differences.is_empty(),
                    "{} differences, {scope:?}, seed {seed}: {words:#?}",
                    differences.len()
                );
                total.add(&tally);
            }
        }
        assert!(total.same > 5 * total.cases, "{total:?}");
        println!("{peer:?}: {total:?}");
    }
}

/// Inputs of the fuzz targets, among them those that once were found to fail.
#[test]
fn seeds_of_the_fuzz_targets_hold() {
    type Check = fn(&[u8]);
    let targets: [(&str, Check); 5] = [
        ("object_parse", fuzzing::check_object),
        ("archive_parse", fuzzing::check_archive),
        ("link_in_buffer", fuzzing::check_link_bytes),
        ("relocate_rows", fuzzing::check_row_bytes),
        ("link_vs_ld", fuzzing::check_peers_bytes),
    ];
    for (target, check) in targets {
        let folder = format!("{}/../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
        let seeds = std::fs::read_dir(&folder).unwrap();
        let count = seeds
            .map(|seed| check(&std::fs::read(seed.unwrap().path()).unwrap()))
            .count();
        assert!(count >= 6, "{count} seeds in {folder}");
    }
}

fn case() -> impl Strategy<Value = Case> {
    any::<Vec<u8>>().prop_map(|bytes| Case::generate(&mut Choices::new(&bytes), Scope::Anything, "", 0x1000_0000))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cases_of_few_bytes_link_as_well(case in case()) {
        fuzzing::check_case(&case);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
        fuzzing::check_object(&bytes);
        fuzzing::check_archive(&bytes);
        fuzzing::check_link_bytes(&bytes);
    }
}
