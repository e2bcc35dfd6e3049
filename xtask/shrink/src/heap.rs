//! The heap that a module starts with.

use anyhow::Result;
use wasmparser::{DataKind, Operator, Parser, Payload};

/// Size of a module's initial heap in bytes: the memory that follows its stack and static data.
pub(crate) fn size(module: &[u8]) -> Result<u64> {
    const PAGE: u64 = 64 << 10;
    let (mut memory, mut data) = (0, 0);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::MemorySection(section) => {
                for first in section {
                    memory = first?.initial * PAGE;
                }
            }
            Payload::DataSection(section) => {
                for part in section {
                    let part = part?;
                    if let DataKind::Active { offset_expr, .. } = part.kind
                        && let Operator::I32Const { value } = offset_expr.get_operators_reader().read()?
                    {
                        data = data.max(u64::from(value.cast_unsigned()) + part.data.len() as u64);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(memory.saturating_sub(data))
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{ConstExpr, DataSection, MemorySection, MemoryType, Module};

    use super::*;

    #[test]
    fn heap_is_the_initial_memory_after_stack_and_data() {
        let heap_of = |pages, at, data: &[u8]| {
            let mut memory = MemorySection::new();
            memory.memory(MemoryType {
                minimum: pages,
                maximum: None,
                memory64: false,
                shared: false,
                page_size_log2: None,
            });
            let mut parts = DataSection::new();
            parts.active(0, &ConstExpr::i32_const(at), data.iter().copied());
            parts.active(0, &ConstExpr::i32_const(8), *b"stack");
            let mut module = Module::new();
            size(module.section(&memory).section(&parts).as_slice()).ok()
        };
        assert_eq!(heap_of(2, 65_536, &[0; 1_000]), Some(64_536));
        assert_eq!(heap_of(1, 65_536, &[]), Some(0));
        assert_eq!(size(b"no module").ok(), None);
    }
}
