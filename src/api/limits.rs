//! Limits on the URI and the headers of a request, checked before anything else. These limits are the same everywhere,
//! while the hosts' own limits differ between platforms.

use http::{HeaderMap, Uri};

use super::problem::{Kind, Problem};

/// Maximum bytes of path and query. RFC 9110, section 4.1, recommends supporting at least 8,000.
const MAX_URI: usize = 16 * 1024;
/// Maximum number of header fields, including about ten that the host adds.
const MAX_HEADERS: usize = 128;
/// Maximum bytes of all header names and values. The attributes of a binary CloudEvent are headers too.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Rejects a request whose URI or headers are too large.
pub(super) fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    if uri.path_and_query().is_some_and(|path| path.as_str().len() > MAX_URI) {
        let detail = format!("the path and query have more than {MAX_URI} bytes: move long values to the body");
        return Err(Problem::new(Kind::UriTooLong, detail).field("query"));
    }
    let sizes = headers.iter().map(|(name, value)| name.as_str().len().saturating_add(value.len()));
    let (count, bytes) =
        sizes.fold((0_usize, 0_usize), |(count, bytes), size| (count.saturating_add(1), bytes.saturating_add(size)));
    if count > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        let detail = format!(
            "the request has {count} headers of {bytes} bytes in total: send at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes"
        );
        return Err(Problem::new(Kind::HeadersTooLarge, detail).field("headers"));
    }
    Ok(())
}
