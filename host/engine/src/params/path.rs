//! The part of JSONPath that references use: names and indexes. Wildcards, slices and filters find nothing here.

use super::Json;

/// The value at a path below an object or array, unless it is missing or `null`.
pub(super) fn reduce(value: &Json, path: &str) -> Option<Json> {
    let mut found = value;
    for segment in path.split('.') {
        let (name, indexes) = segment.find('[').map_or((segment, ""), |at| segment.split_at(at));
        if !name.is_empty() {
            found = found.get(name)?;
        } else if indexes.is_empty() {
            return None;
        }
        for index in indexes.split('[').skip(1) {
            found = step(found, index.strip_suffix(']')?)?;
        }
    }
    Some(found.clone()).filter(|found| !found.is_null())
}

/// `0`, `-1` or `'name'`.
fn step<'a>(value: &'a Json, index: &str) -> Option<&'a Json> {
    if let Some(name) = index.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')) {
        return value.get(name);
    }
    let elements = value.as_array()?;
    let index: i64 = index.parse().ok()?;
    let index = if index < 0 { index.checked_add(i64::try_from(elements.len()).ok()?)? } else { index };
    elements.get(usize::try_from(index).ok()?)
}
