//! The laws of `fuzz/`, on stable: with each seed, and with so many byte strings made of the seeds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[path = "../../fuzz/laws/mod.rs"]
mod all;

/// How many byte strings each law is tried with.
const CASES: u32 = 2_000;
/// `cargo xtask fuzz` has the same.
const MAX_LEN: usize = 512;

macro_rules! laws {
    ($($law:ident)*) => {
        const LAWS: &[&str] = &[$(stringify!($law)),*];

        $(#[test]
        fn $law() {
            holds(stringify!($law), all::$law::law);
        })*
    };
}

laws! {
    batch binary callback_query challenge descriptor form links signature_ed25519 signature_list signature_pairs signature_single
    stored structured
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn holds(name: &str, law: fn(&[u8])) {
    let seeds: Vec<Vec<u8>> =
        files(&fuzz().join("seeds").join(name)).iter().map(|file| fs::read(file).unwrap()).collect();
    for seed in &seeds {
        assert!(seed.len() <= MAX_LEN, "the fuzzer would cut it: {}", String::from_utf8_lossy(seed));
        law(seed);
    }
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) };
    let made = (prop::sample::select(seeds.clone()), prop::collection::vec(change(seeds), 1..6))
        .prop_map(|(seed, changes)| Made(changes.into_iter().fold(seed, changed)));
    TestRunner::new(config)
        .run(&made, |Made(data)| {
            law(&data);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Shown as a byte string literal.
struct Made(Vec<u8>);

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// What a fuzzer does to a seed, at some place.
#[derive(Clone, Debug)]
enum Change {
    Flip(u8),
    Put { over: usize, bytes: Vec<u8> },
    Repeat(usize),
    GoOnAs(Vec<u8>),
}

fn change(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = (prop::sample::Index, Change)> {
    // Where there is a grammar, its own characters do more than any others.
    let byte = prop_oneof![prop::sample::select(b"\n\t \"\\%&+,.:;=$/{}[]0a\xc3\xff\x00".to_vec()), any::<u8>()];
    let bytes = prop::collection::vec(byte, 0..5);
    let change = prop_oneof![
        (0..8_u8).prop_map(Change::Flip),
        (0..3_usize, bytes).prop_map(|(over, bytes)| Change::Put { over, bytes }),
        (1..20_usize).prop_map(|over| Change::Put { over, bytes: Vec::new() }),
        (1..20_usize).prop_map(Change::Repeat),
        prop::sample::select(seeds).prop_map(Change::GoOnAs),
    ];
    (any::<prop::sample::Index>(), change)
}

fn changed(mut data: Vec<u8>, (at, change): (prop::sample::Index, Change)) -> Vec<u8> {
    let at = at.index(data.len() + 1);
    let to = |length: usize| at..(at + length).min(data.len());
    match change {
        Change::Flip(bit) => data.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit),
        Change::Put { over, bytes } => drop(data.splice(to(over), bytes)),
        Change::Repeat(length) => {
            let again = data[to(length)].to_vec();
            data.splice(at..at, again);
        }
        Change::GoOnAs(other) => drop(data.splice(at.., other.into_iter().skip(at))),
    }
    data.truncate(MAX_LEN);
    data
}

#[test]
fn each_property_has_a_target_and_seeds() {
    let laws: BTreeSet<String> = LAWS.iter().map(|law| (*law).to_owned()).collect();
    let stems = |folder: &str, is: fn(&Path) -> bool| -> BTreeSet<String> {
        let files = files(&fuzz().join(folder)).into_iter().filter(|file| is(file));
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let mut files = stems("laws", Path::is_file);
    assert!(files.remove("mod"));
    assert_eq!(files, laws);
    assert_eq!(stems("targets", Path::is_file), laws);
    assert_eq!(stems("seeds", Path::is_dir), laws);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let targets = manifest.lines().filter_map(|line| line.strip_prefix("path = \"targets/")?.strip_suffix(".rs\""));
    assert_eq!(targets.map(str::to_owned).collect::<BTreeSet<_>>(), laws);
}
