//! The attribute of tests that run on each kind of store.

use proc_macro::TokenStream;

/// Makes a function two tests, `key_value` and `postgres`, in a module of its name.
///
/// In each, `World::new()` has that kind of store. It replaces `#[test]`.
#[proc_macro_attribute]
pub fn on_each_store(_: TokenStream, function: TokenStream) -> TokenStream {
    let name = function.clone().into_iter().skip_while(|token| token.to_string() != "fn").nth(1);
    let name = name.map(|name| name.to_string()).unwrap_or_default();
    let test = |test: &str, kind: &str| {
        format!("#[test] fn {test}() {{ crate::fake::StoreKind::{kind}.choose(); super::{name}(); }}")
    };
    let tests = [test("key_value", "KeyValue"), test("postgres", "Postgres")].concat();
    match format!("mod {name} {{ {tests} }}").parse::<TokenStream>() {
        Ok(tests) => function.into_iter().chain(tests).collect(),
        // Not a function: the compiler says so.
        Err(_) => function,
    }
}
