//! What is not worth to be looked at. The host has limits of its own, which differ; these are the same everywhere.

use http::{HeaderMap, Uri};

use super::problem::{Kind, Problem};

/// Most bytes of path and query. RFC 9110, section 4.1, asks for at least 8,000.
const MAX_URI: usize = 16 * 1024;
/// Most header lines; the host adds about ten of its own.
const MAX_HEADERS: usize = 128;
/// Most bytes of all names and values. A CloudEvent's attributes are headers too.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Refuses what is too long, before anything reads it.
pub(super) fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    if uri.path_and_query().is_some_and(|path| path.as_str().len() > MAX_URI) {
        let detail = format!("path and query have more than {MAX_URI} bytes: send what is long in the body");
        return Err(Problem::new(Kind::UriTooLong, detail).field("query"));
    }
    let sizes = headers.iter().map(|(name, value)| name.as_str().len().saturating_add(value.len()));
    let (count, bytes) =
        sizes.fold((0_usize, 0_usize), |(count, bytes), size| (count.saturating_add(1), bytes.saturating_add(size)));
    if count > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        let detail =
            format!("there are {count} headers of {bytes} bytes: send at most {MAX_HEADERS} of {MAX_HEADER_BYTES}");
        return Err(Problem::new(Kind::HeadersTooLarge, detail).field("headers"));
    }
    Ok(())
}
