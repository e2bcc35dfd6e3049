//! The built component imports and exports what `wit/` allows, and nothing else.

use std::collections::BTreeSet;

use sluice_host::spin::component::componentize;
use wit_parser::{Resolve, WorldId, WorldItem};

use crate::setup::root;

fn names(resolve: &Resolve, world: WorldId) -> [BTreeSet<String>; 2] {
    let world = &resolve.worlds[world];
    [&world.imports, &world.exports].map(|items| {
        let names = items.iter().map(|(key, item)| {
            assert!(matches!(item, WorldItem::Interface { .. }), "a plain function or type: {key:?}");
            minor(&resolve.name_world_key(key))
        });
        names.collect()
    })
}

/// `wasi:io/poll@0.2.6` → `wasi:io/poll@0.2`: componentizing unites compatible versions, and the SDK's bindings carry a
/// later one in their metadata.
fn minor(name: &str) -> String {
    name.rsplit_once('.').map_or(name, |(minor, _)| minor).to_owned()
}

#[test]
fn the_component_keeps_to_its_world() {
    let built =
        std::fs::read(root().join("target/wasm32-wasip1/release/sluice.wasm")).expect("run `cargo xtask build`");
    let component = componentize(&built).unwrap();
    let wit_component::DecodedWasm::Component(resolve, world) = wit_component::decode(&component).unwrap() else {
        panic!("not a component");
    };
    let [imports, exports] = names(&resolve, world);

    let mut declared = Resolve::default();
    let (package, _) = declared.push_dir(root().join("wit")).unwrap();
    let world = declared.select_world(&[package], Some("sluice")).unwrap();
    let [may_import, must_export] = names(&declared, world);

    let outside: Vec<_> = imports.difference(&may_import).collect();
    assert!(outside.is_empty(), "imports outside wit/world.wit: {outside:?}");
    assert_eq!(exports, must_export);
    assert!(imports.contains("fermyon:spin/key-value@2.0"), "decoded nothing: {imports:?}");
    assert!(may_import.iter().all(|name| !name.starts_with("wasi:keyvalue")), "no atomics, no batch");
}
