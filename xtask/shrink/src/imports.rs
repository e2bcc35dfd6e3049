//! The description of a module's imports and exports, from which the host makes a component.

use std::collections::HashSet;

use anyhow::{Result, bail};
use wasmparser::{Parser, Payload};
use wit_component::StringEncoding;
use wit_component::metadata::{Bindgen, decode, encode};
use wit_parser::{InterfaceId, Resolve, WorldItem};

/// Replaces a module's descriptions of its imports and exports with a single one. Each library adds a description with
/// every import that it could use; the single one has only those that the module uses.
pub(crate) fn describe(module: &[u8]) -> Result<Vec<u8>> {
    let used = imports(module)?;
    let (bare, Bindgen { mut resolve, world, producers, .. }) = decode(module)?;
    let Some(mut bare) = bare else { bail!("the module has no description of its imports") };

    let mut kept = HashSet::new();
    for (key, item) in &resolve.worlds[world].imports {
        if let WorldItem::Interface { id, .. } = item
            && used.iter().any(|(module, _)| *module == resolve.name_world_key(key))
        {
            retain(&resolve, *id, &mut kept);
        }
    }
    for (_, item) in &resolve.worlds[world].exports {
        if let WorldItem::Interface { id, .. } = item {
            resolve.interface_direct_deps(*id).for_each(|id| retain(&resolve, id, &mut kept));
        }
    }
    let is_kept = |item: &WorldItem| matches!(item, WorldItem::Interface { id, .. } if kept.contains(id));
    resolve.worlds[world].imports.retain(|_, item| is_kept(item));
    let exported: Vec<_> = resolve.worlds[world].exports.values().cloned().collect();
    let is_exported = |id| exported.iter().any(|item| matches!(item, WorldItem::Interface { id: it, .. } if *it == id));
    let functions: HashSet<_> = used.iter().map(|(_, function)| function.as_str()).collect();
    for (id, interface) in resolve.interfaces.iter_mut() {
        if !is_exported(id) {
            interface.functions.retain(|name, _| functions.contains(name.as_str()));
        }
    }

    // Decoded packages are all named `root:root`, and tools refuse to merge two different packages of one name.
    if let Some(package) = resolve.worlds[world].package {
        resolve.packages[package].name.namespace = "sluice".to_owned();
    }

    let section = encode(&resolve, world, StringEncoding::UTF8, producers.as_ref())?;
    wasm_encoder::Section::append_to(
        &wasm_encoder::CustomSection { name: "component-type:sluice".into(), data: section.into() },
        &mut bare,
    );
    Ok(bare)
}

/// Adds an interface to `kept`, with the interfaces whose types it uses.
fn retain(resolve: &Resolve, id: InterfaceId, kept: &mut HashSet<InterfaceId>) {
    if kept.insert(id) {
        resolve.interface_direct_deps(id).for_each(|id| retain(resolve, id, kept));
    }
}

/// The module's imports, each as interface and function.
fn imports(module: &[u8]) -> Result<Vec<(String, String)>> {
    let mut imports = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                let import = import?;
                imports.push((import.module.to_owned(), import.name.to_owned()));
            }
        }
    }
    Ok(imports)
}
