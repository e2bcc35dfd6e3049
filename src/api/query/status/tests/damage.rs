//! Ways in which a link is damaged between its author and Sluice, and every combination of two of them.

/// A link that rejects: the query of a callback, with its `status` in parts.
#[derive(Clone, Debug)]
pub(super) struct RejectLink {
    before: String,
    separator: String,
    name: String,
    equals: String,
    value: String,
    after: String,
}

impl RejectLink {
    /// Finds the parts in a query that contains `status=`.
    pub(super) fn of(query: &str) -> Self {
        let at = query.find("status=").unwrap();
        let (before, rest) = query.split_at(at);
        let separated = before.strip_suffix(['&', ',']).unwrap_or(before);
        let value = rest.strip_prefix("status=").unwrap();
        let (value, after) = value.split_at(value.find(['&', ',']).unwrap_or(value.len()));
        Self {
            before: separated.to_owned(),
            separator: before.strip_prefix(separated).unwrap().to_owned(),
            name: "status".to_owned(),
            equals: "=".to_owned(),
            value: value.to_owned(),
            after: after.to_owned(),
        }
    }

    /// The query as a server gets it: a fragment is not sent.
    pub(super) fn query(&self) -> String {
        let Self { before, separator, name, equals, value, after } = self;
        let query = format!("{before}{separator}{name}{equals}{value}{after}");
        query.split('#').next().unwrap().to_owned()
    }
}

/// A damage. All but [`Damage::Text`] change a part of the `status`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Damage {
    /// Another separator before the name.
    Separator(&'static str),
    /// Another name.
    Name(fn(&str) -> String),
    /// Another `=`.
    Equals(&'static str),
    /// Another value.
    Value(fn(&str) -> String),
    /// A change of the whole text.
    Text(fn(&str) -> String),
    /// A text within the name, at this position.
    Within(usize, &'static str),
    /// A text within the value, at this position.
    WithinValue(usize, &'static str),
}

impl Damage {
    /// Returns the damaged link.
    pub(super) fn apply(self, link: &RejectLink) -> RejectLink {
        let mut link = link.clone();
        match self {
            Self::Separator(separator) => separator.clone_into(&mut link.separator),
            Self::Name(change) => link.name = change(&link.name),
            Self::Equals(equals) => equals.clone_into(&mut link.equals),
            Self::Value(change) => link.value = change(&link.value),
            Self::Within(at, text) if link.name.is_char_boundary(at) => link.name.insert_str(at, text),
            Self::WithinValue(at, text) if link.value.is_char_boundary(at) => link.value.insert_str(at, text),
            Self::Within(..) | Self::WithinValue(..) => {}
            Self::Text(change) => {
                let RejectLink { before, separator, name, equals, value, after } = &mut link;
                for part in [before, separator, name, equals, value, after] {
                    *part = change(part);
                }
            }
        }
        link
    }
}

/// What mail programs put into a text where they break a line or mark a quotation, percent-encoded by the client.
const BREAKS: [&str; 10] =
    ["%0A", "%0D%0A", "=%0D%0A", "=%0A", "%0D%0A%3E+", "%0A%3E%20", "+", "%20", "%C2%AD", "%E2%80%8B"];

/// All damages.
pub(super) fn all() -> Vec<Damage> {
    let separators = [
        "&amp;",
        "&amp%3B",
        "&AMP;",
        "&amp;amp;",
        "&amp%3Bamp%3B",
        "&amp",
        "&#38;",
        "&%2338;",
        "&%2338%3B",
        "&%23x26%3B",
        "?",
        "%3F",
        "&?",
        "&%3F",
        ";",
        "%3B",
        ",",
        "%2C",
        "+",
        "%20",
        "&+",
        "&%20",
        "%26",
        "%2526",
        "%252526",
        "&%26",
        "&&",
        "&%3E",
        "&%0A",
        "&%0D%0A%3E+",
        "&%C2%AD",
        "&%E2%80%8B",
        "&%EF%BB%BF",
        "%EF%BC%86",
        "&%5C",
        "%5C&",
        "%5Cu0026",
        "%u0026",
        "|",
        "%7C",
        "=26",
        "-26",
        "%0A",
        "",
        "&=",
        "&3D",
        "&amp;3D",
        "&%22",
        "&'",
        "&(",
        "&$",
        "&x_",
    ];
    let names: [fn(&str) -> String; 28] = [
        |name| name.to_uppercase(),
        |name| leading(name, 1).to_uppercase() + name.get(1..).unwrap_or_default(),
        |name| without_end(name, 1),
        |name| name.chars().skip(1).collect(),
        |name| name.replacen('a', "", 1),
        |name| format!("{name}s"),
        |name| format!("{name}%5B%5D"),
        |name| format!("{name}[]"),
        |name| format!("{name}%20"),
        |name| format!("{name}+"),
        |name| format!("{name}%00"),
        |name| format!("%20{name}"),
        |name| format!("amp;{name}"),
        |name| format!("amp%3B{name}"),
        |name| format!("%26{name}"),
        |name| format!("%3F{name}"),
        |name| format!("?{name}"),
        |name| format!("%22{name}%22"),
        |name| format!("%7B{name}%7D"),
        |name| format!("task_{name}"),
        |name| name.replace("status", "state"),
        |name| name.replace("status", "State"),
        |name| name.replace("status", "sattus"),
        |name| name.replace("status", "5tatus"),
        |name| name.replace('s', "%D1%95"),
        |name| name.replace('s', "%C5%BF"),
        |name| wide(name),
        |name| name.replace('t', "%74").replace('a', "%2561"),
    ];
    let equals = [
        "%3D",
        "%253D",
        "=3D",
        "%3D3D",
        ":",
        "%3A",
        "==",
        "=+",
        "+=+",
        "%20=%20",
        "=%22",
        "=%27",
        "",
        "%EF%BC%9D",
        "-3D",
        "-",
        "&equals;",
        "&#61;",
        "&%2361;",
        "=%0A",
    ];
    let values: [fn(&str) -> String; 22] = [
        |value| format!("{value}."),
        |value| format!("{value})"),
        |value| format!("{value}%3E"),
        |value| format!("{value}%22"),
        |value| format!("{value}&quot;"),
        |value| format!("{value}&gt;"),
        |value| format!("{value}%20"),
        |value| format!("{value}%0A"),
        |value| format!("{value}="),
        |value| format!("{value};"),
        |value| format!("3D{value}"),
        |value| format!("%22{value}%22"),
        |value| format!("{value}?utm_source=x"),
        |value| without_end(value, 1),
        |value| without_end(value, 2),
        |value| leading(value, 1),
        |_| String::new(),
        |_| "Rejected".to_owned(),
        |_| "no".to_owned(),
        |value| value.to_uppercase(),
        |value| wide(value),
        |value| format!("{value}&utm_source=x"),
    ];
    let texts: [fn(&str) -> String; 9] = [
        |text| text.replace('&', "&amp;"),
        |text| text.replace('&', "%26").replace('=', "%3D"),
        |text| text.replace('%', "%25").replace('&', "%26").replace('=', "%3D"),
        |text| text.replace('&', "%26"),
        |text| text.replace('=', "=3D"),
        |text| text.replace('=', "%3D"),
        |text| text.to_uppercase(),
        |text| text.replace('&', ";"),
        |text| text.replace('&', "%0A&"),
    ];
    let mut all: Vec<_> = separators.into_iter().map(Damage::Separator).collect();
    all.extend(names.map(Damage::Name));
    all.extend(equals.map(Damage::Equals));
    all.extend(values.map(Damage::Value));
    all.extend(texts.map(Damage::Text));
    all.extend((0..=6).flat_map(|at| BREAKS.map(|text| Damage::Within(at, text))));
    all.extend([0, 3, 6].into_iter().flat_map(|at| BREAKS.map(|text| Damage::WithinValue(at, text))));
    all
}

/// The first characters of a text.
fn leading(text: &str, count: usize) -> String {
    text.chars().take(count).collect()
}

/// A text without its last characters.
fn without_end(text: &str, count: usize) -> String {
    leading(text, text.chars().count().saturating_sub(count))
}

/// Full-width letters, percent-encoded.
fn wide(text: &str) -> String {
    let wide = text.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() => char::from_u32(u32::from(c).wrapping_add(0xfee0)).unwrap(),
        c => c,
    });
    form_urlencoded::byte_serialize(wide.collect::<String>().as_bytes()).collect()
}
