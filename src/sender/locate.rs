//! Values in a request, by their location.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::descriptor::ValueLocation;
use super::header::SignatureHeader;
use super::verify::{SignedRequest, VerifyError};
use super::{form, header, payload};

/// A request, with the parts of its signature that contain values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values<'a> {
    pub(super) request: SignedRequest<'a>,
    /// The header with the signature, for its pairs.
    pub(super) signature: Option<SignatureHeader<'a>>,
    /// The claims of the JSON Web Token, which is verified.
    pub(super) claims: Option<&'a RawValue>,
}

impl<'a> Values<'a> {
    /// The values of a request alone.
    pub(super) fn of(request: SignedRequest<'a>) -> Self {
        Self { request, signature: None, claims: None }
    }

    /// The text at a location, which may be empty. `None` if there is none. An error for a header that occurs twice or
    /// is not visible ASCII: which of the values the sender meant is unknown. For the same reason, a field or a
    /// parameter that occurs twice counts as none.
    pub(super) fn find(&self, location: &ValueLocation) -> Result<Option<Cow<'a, str>>, VerifyError> {
        let SignedRequest { headers, url, body, .. } = self.request;
        Ok(match location {
            ValueLocation::Header(name) => header::single(headers, name)?.map(Cow::Borrowed),
            ValueLocation::Pointer(pointer) => payload::any_text_at(body, pointer).map(Cow::Owned),
            ValueLocation::Form(name) if self.may_be_form() => {
                only(form::fields(body).unwrap_or_default().into_iter(), name).map(Cow::Owned)
            }
            ValueLocation::Form(_) => None,
            ValueLocation::Query(name) => {
                only(form_urlencoded::parse(query(url).as_bytes()).into_owned(), name).map(Cow::Owned)
            }
            ValueLocation::Field(name) => match self.signature {
                Some(signature) => signature.pair(name)?.map(Cow::Borrowed),
                None => None,
            },
            ValueLocation::Claim(name) => self.claims.and_then(|claims| payload::claim(claims, name)).map(Cow::Owned),
        })
    }

    /// Returns whether the body may be a form: a text in JSON such as `"&a=b&"` is no field.
    fn may_be_form(&self) -> bool {
        match header::single(self.request.headers, "content-type") {
            Ok(content_type) => content_type.is_none_or(form::is_form),
            Err(_) => false,
        }
    }

    /// The text at a location. `None` if there is none, if it is empty, or if it is ambiguous.
    pub(super) fn text(&self, location: Option<&ValueLocation>) -> Option<String> {
        self.find(location?).ok()?.map(Cow::into_owned).filter(|text| !text.is_empty())
    }
}

/// The query of a URL, without `?` and fragment.
pub(super) fn query(url: &str) -> &str {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split('#').next().unwrap_or_default()
}

/// The value of the only pair with this name.
fn only(pairs: impl Iterator<Item = (String, String)>, name: &str) -> Option<String> {
    let mut values = pairs.filter(|(own, _)| own == name).map(|(_, value)| value);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn value_is_found_at_each_kind_of_location() {
        let headers: HeaderMap = [("x-a", "1"), ("x-b", "2"), ("x-b", "3")].into_iter().fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value.parse().unwrap());
                headers
            },
        );
        let request = |body: &'static str| SignedRequest {
            method: "POST",
            headers: &headers,
            url: "https://h/p?a=x%20y&b=1&b=2&e=#a=z",
            body: body.as_bytes(),
        };
        let find = |body, location: ValueLocation| {
            Values::of(request(body)).find(&location).map(|found| found.map(Cow::into_owned))
        };
        let some = |text: &str| Ok(Some(text.to_owned()));
        let name = str::to_owned;
        assert_eq!(find("", ValueLocation::Header(name("x-a"))), some("1"));
        let malformed = VerifyError::MalformedHeader { header: name("x-b") };
        assert_eq!(find("", ValueLocation::Header(name("x-b"))), Err(malformed));
        assert_eq!(find(r#"{"a":{"b":""}}"#, ValueLocation::Pointer(name("/a/b"))), some(""));
        assert_eq!(find("a=%41&b=2", ValueLocation::Form(name("a"))), some("A"));
        assert_eq!(find("a=1&a=1", ValueLocation::Form(name("a"))), Ok(None));
        assert_eq!(find("", ValueLocation::Query(name("a"))), some("x y"));
        assert_eq!(find("", ValueLocation::Query(name("e"))), some(""));
        for location in
            [ValueLocation::Query(name("b")), ValueLocation::Field(name("t")), ValueLocation::Claim(name("c"))]
        {
            assert_eq!(find("", location), Ok(None));
        }
    }
}
