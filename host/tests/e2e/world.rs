//! The built component imports and exports only what `wit/` declares.

use std::collections::BTreeSet;

use sluice_host::spin::component::componentize;
use wit_parser::{Resolve, WorldId, WorldItem};

use crate::setup::root;

/// The names of the interfaces that a world imports, and of those that it exports.
fn interfaces(resolve: &Resolve, world: WorldId) -> [BTreeSet<String>; 2] {
    let world = &resolve.worlds[world];
    [&world.imports, &world.exports].map(|items| {
        let names = items.iter().map(|(key, item)| {
            assert!(matches!(item, WorldItem::Interface { .. }), "{key:?} is a plain function or type");
            without_patch(&resolve.name_world_key(key))
        });
        names.collect()
    })
}

/// `wasi:io/poll@0.2.6` → `wasi:io/poll@0.2`. Componentizing merges compatible versions, and the metadata of the
/// SDK's bindings has a later patch version than `wit/`.
fn without_patch(name: &str) -> String {
    name.rsplit_once('.').map_or(name, |(minor, _)| minor).to_owned()
}

#[test]
fn component_imports_and_exports_only_its_world() {
    let built =
        std::fs::read(root().join("target/wasm32-wasip1/release/sluice.wasm")).expect("run `cargo xtask build`");
    let component = componentize(&built).unwrap();
    let wit_component::DecodedWasm::Component(resolve, world) = wit_component::decode(&component).unwrap() else {
        panic!("not a component");
    };
    let [imports, exports] = interfaces(&resolve, world);

    let mut declared = Resolve::default();
    let (package, _) = declared.push_dir(root().join("wit")).unwrap();
    let world = declared.select_world(&[package], Some("sluice")).unwrap();
    let [allowed_imports, required_exports] = interfaces(&declared, world);

    let undeclared: Vec<_> = imports.difference(&allowed_imports).collect();
    assert!(undeclared.is_empty(), "imports that wit/world.wit doesn't declare: {undeclared:?}");
    assert_eq!(exports, required_exports);
    assert!(imports.contains("fermyon:spin/key-value@2.0"), "the decoded imports are incomplete: {imports:?}");
    assert!(
        allowed_imports.iter().all(|name| !name.starts_with("wasi:keyvalue")),
        "Sluice must not need wasi:keyvalue, with its atomics and batch"
    );
}
