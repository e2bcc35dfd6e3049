//! The properties of `fuzz/` on stable Rust: each is checked with its seeds, and with inputs mutated from them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::fake::row;

#[path = "../../fuzz/properties/mod.rs"]
mod all;

/// The number of mutated inputs for each property.
const CASES: u32 = 2_000;
/// The longest input, in bytes; the same as in `cargo xtask fuzz`.
const MAX_LEN: usize = 512;

macro_rules! properties {
    ($($property:ident)*) => {
        const PROPERTIES: &[&str] = &[$(stringify!($property)),*];

        $(#[test]
        fn $property() {
            assert_holds(stringify!($property), all::$property::check);
        })*
    };
}

properties! {
    batch binary callback_query descriptor engine_answer expression form links question signature_ed25519 signature_list
    signature_pairs signature_single sources stored structured
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[track_caller]
fn assert_holds(name: &'static str, check: fn(&[u8])) {
    let seeds: Vec<Vec<u8>> =
        files(&fuzz().join("seeds").join(name)).iter().map(|file| fs::read(file).unwrap()).collect();
    for seed in &seeds {
        let input = Input(seed.clone());
        let _row = row(format!("{input:?}"));
        assert!(seed.len() <= MAX_LEN, "the fuzzer would truncate the seed");
        check(seed);
    }
    // The macro `proptest!` would set these, which name the file of the regressions.
    let config =
        ProptestConfig { source_file: Some(file!()), test_name: Some(name), ..ProptestConfig::with_cases(CASES) };
    let inputs = (prop::sample::select(seeds.clone()), prop::collection::vec(mutation(seeds), 1..6))
        .prop_map(|(seed, mutations)| Input(mutations.into_iter().fold(seed, mutate)));
    TestRunner::new(config)
        .run(&inputs, |Input(data)| {
            check(&data);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// An input, printed as a byte string literal.
struct Input(Vec<u8>);

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// A change of an input at some position, as a fuzzer makes it.
#[derive(Clone, Debug)]
enum Mutation {
    /// Flips one bit.
    Flip(u8),
    /// Replaces some bytes by others.
    Replace { length: usize, bytes: Vec<u8> },
    /// Repeats some bytes.
    Repeat(usize),
    /// Continues with the rest of another input.
    Splice(Vec<u8>),
}

fn mutation(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = (prop::sample::Index, Mutation)> {
    // The delimiters of the grammars reach more code than arbitrary bytes.
    let byte = prop_oneof![prop::sample::select(b"\n\t \"\\%&+,.:;=$/{}[]0a\xc3\xff\x00".to_vec()), any::<u8>()];
    let bytes = prop::collection::vec(byte, 0..5);
    let mutation = prop_oneof![
        (0..8_u8).prop_map(Mutation::Flip),
        (0..3_usize, bytes).prop_map(|(length, bytes)| Mutation::Replace { length, bytes }),
        (1..20_usize).prop_map(|length| Mutation::Replace { length, bytes: Vec::new() }),
        (1..20_usize).prop_map(Mutation::Repeat),
        prop::sample::select(seeds).prop_map(Mutation::Splice),
    ];
    (any::<prop::sample::Index>(), mutation)
}

fn mutate(mut data: Vec<u8>, (at, mutation): (prop::sample::Index, Mutation)) -> Vec<u8> {
    let at = at.index(data.len() + 1);
    let range = |length: usize| at..(at + length).min(data.len());
    match mutation {
        Mutation::Flip(bit) => data.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit),
        Mutation::Replace { length, bytes } => drop(data.splice(range(length), bytes)),
        Mutation::Repeat(length) => {
            let repeated = data[range(length)].to_vec();
            data.splice(at..at, repeated);
        }
        Mutation::Splice(other) => drop(data.splice(at.., other.into_iter().skip(at))),
    }
    data.truncate(MAX_LEN);
    data
}

#[test]
fn each_property_has_a_target_and_seeds() {
    let properties: BTreeSet<String> = PROPERTIES.iter().map(|name| (*name).to_owned()).collect();
    let stems = |folder: &str, is: fn(&Path) -> bool| -> BTreeSet<String> {
        let files = files(&fuzz().join(folder)).into_iter().filter(|file| is(file));
        files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let mut files = stems("properties", Path::is_file);
    assert!(files.remove("mod"));
    assert_eq!(files, properties, "fuzz/properties");
    assert_eq!(stems("targets", Path::is_file), properties, "fuzz/targets");
    assert_eq!(stems("seeds", Path::is_dir), properties, "fuzz/seeds");
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let targets = manifest.lines().filter_map(|line| line.strip_prefix("path = \"targets/")?.strip_suffix(".rs\""));
    assert_eq!(targets.map(str::to_owned).collect::<BTreeSet<_>>(), properties, "fuzz/Cargo.toml");
}
