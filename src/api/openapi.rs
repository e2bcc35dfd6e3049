//! `GET /openapi.json`: the OpenAPI document, which `build.rs` converts from `docs/openapi.yaml` and compresses.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, Response, StatusCode};
use lz4_flex::decompress_size_prepended;
use sha2::{Digest, Sha256};

static COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.lz4"));

/// Returns the document, or a 304 if the client already has it.
pub(super) fn document(headers: &HeaderMap) -> Response<Vec<u8>> {
    let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(COMPRESSED)));
    // RFC 9110, section 13.1.2: the value is `*` or a list of tags, which are compared weakly.
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = lists
        .flat_map(|list| list.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == "*" || known == tag);
    let mut response = Response::default();
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = decompress_size_prepended(COMPRESSED).unwrap_or_default();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (ETAG, tag)));
    // A different version of Sluice has a different document, so clients have to revalidate.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Viewers of OpenAPI documents run in a browser, on pages of other origins.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
