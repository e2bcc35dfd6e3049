//! `allowed_outbound_hosts`: the destinations that a component may send requests to.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result, bail, ensure};
use url::{Host, Url};

use crate::spin::variables::Variables;

/// The allow-list for the instances of a component.
#[derive(Clone)]
pub(crate) enum AllowList {
    /// Parsed at the start.
    Parsed(Arc<AllowedHosts>),
    /// Parsed by each instance, with the values that all variables have then
    /// ([`Costs::variables`](crate::spin::costs::Costs::variables)).
    Lazy { entries: Arc<[String]>, variables: Arc<Variables>, parsed: Arc<OnceLock<AllowedHosts>> },
}

impl AllowList {
    /// The allow-list for another instance.
    pub(crate) fn of_instance(&self) -> AllowList {
        let mut list = self.clone();
        if let AllowList::Lazy { parsed, .. } = &mut list {
            *parsed = Arc::default();
        }
        list
    }

    /// The list. If the variables or an entry are invalid, it is empty.
    pub(crate) fn get(&self) -> &AllowedHosts {
        match self {
            AllowList::Parsed(hosts) => hosts,
            AllowList::Lazy { entries, variables, parsed } => parsed.get_or_init(|| {
                let variables = variables.resolve_all().ok();
                let parsed = variables.and_then(|variables| AllowedHosts::new(entries, &variables).ok());
                parsed.map(|(hosts, _)| hosts).unwrap_or_default()
            }),
        }
    }
}

/// A component's parsed allow-list.
#[derive(Debug, Default)]
pub(crate) struct AllowedHosts(Vec<AllowedHost>);

impl AllowedHosts {
    /// Parses the entries of a component, and returns the list with a warning if it has an invalid entry.
    ///
    /// An invalid literal, or a template that is invalid with the variables' defaults, is an error. As in Spin, an
    /// entry that is invalid only with the variables' current values doesn't prevent the start: the list then allows
    /// nothing, and the warning names the entry. An empty entry is invalid, as up to Spin 4.0; 4.1 leaves it out.
    pub(crate) fn new(list: &[String], variables: &Variables) -> Result<(AllowedHosts, Option<String>)> {
        let mut hosts = Vec::new();
        let mut warning = None;
        for text in list {
            let in_list = || format!("in allowed_outbound_hosts, {text:?}");
            let template = variables.template(text).with_context(in_list)?;
            if template.is_literal() {
                hosts.push(AllowedHost::parse(text).with_context(in_list)?);
                continue;
            }
            if let Some(default) = variables.resolve_defaults(&template) {
                AllowedHost::parse(&default).with_context(in_list)?;
            }
            match AllowedHost::parse(&variables.resolve(&template)?) {
                Ok(host) => hosts.push(host),
                // The parser's message may contain the value, which may be a secret.
                Err(_) => {
                    warning = Some(format!(
                        "allowed_outbound_hosts: the value given for {text:?} is not a host; all outbound requests are \
                         denied"
                    ));
                }
            }
        }
        if warning.is_some() {
            hosts.clear();
        }
        Ok((AllowedHosts(hosts), warning))
    }

    /// Whether a request may go to this URL.
    pub(crate) fn allows(&self, url: &http::Uri) -> bool {
        let Ok(url) = Url::parse(&url.to_string()) else {
            return false;
        };
        url.host_str().is_some_and(|host| self.allows_server(url.scheme(), host, url.port()))
    }

    /// Whether a connection may go to this host. Without a port, it is the scheme's default port.
    pub(crate) fn allows_server(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        let port = port.or_else(|| default_port(scheme));
        Host::parse(host).is_ok_and(|host| self.0.iter().any(|allowed| allowed.allows(scheme, &host, port)))
    }
}

/// An entry `scheme://host[:port]`; each part may be `*`.
#[derive(Debug)]
struct AllowedHost {
    /// `None` allows any scheme.
    scheme: Option<String>,
    host: HostPattern,
    /// `None` allows any port.
    ports: Option<Range<u32>>,
}

#[derive(Debug)]
enum HostPattern {
    Any,
    /// The domain with a leading dot.
    SubdomainOf(String),
    Exactly(Host),
}

impl AllowedHost {
    fn parse(text: &str) -> Result<AllowedHost> {
        let (scheme, rest) =
            text.trim().split_once("://").context("expected scheme://host[:port], where each part may be *")?;
        ensure!(
            scheme == "*" || scheme.chars().all(char::is_alphabetic),
            "the scheme must consist of letters, or be *"
        );
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        ensure!(!rest.contains('/'), "paths and address ranges aren't supported");
        // The last colon may be part of an IPv6 address.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !rest.ends_with(']') => (host, port),
            _ => (rest, ""),
        };
        Ok(AllowedHost {
            scheme: (scheme != "*").then(|| scheme.to_owned()),
            host: HostPattern::parse(host)?,
            ports: parse_ports(port, scheme)?,
        })
    }

    fn allows(&self, scheme: &str, host: &Host, port: Option<u16>) -> bool {
        self.scheme.as_deref().is_none_or(|allowed| allowed == scheme)
            && self.host.allows(host)
            && self.ports.as_ref().is_none_or(|ports| port.is_some_and(|port| ports.contains(&port.into())))
    }
}

impl HostPattern {
    fn parse(host: &str) -> Result<HostPattern> {
        match host {
            "*" => return Ok(HostPattern::Any),
            "self" | "self.alt" => bail!("this host doesn't support requests to the application itself"),
            _ => {}
        }
        let (domain, is_wildcard) = match host.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (host, false),
        };
        ensure!(!domain.contains('*'), "a wildcard must be the whole host, or *. before a domain");
        let parsed = Host::parse(domain)?;
        if parsed.to_string().ends_with("spin.internal") {
            bail!("this host doesn't support calls between components");
        }
        Ok(match (parsed, is_wildcard) {
            (Host::Domain(domain), true) => HostPattern::SubdomainOf(format!(".{domain}")),
            (_, true) => bail!("a wildcard must be followed by a domain"),
            (host, false) => HostPattern::Exactly(host),
        })
    }

    fn allows(&self, host: &Host) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::SubdomainOf(suffix) => {
                matches!(host, Host::Domain(domain) if domain.ends_with(suffix))
            }
            HostPattern::Exactly(expected) => host == expected,
        }
    }
}

/// Parses the port part: empty (the scheme's default port), `*`, a port, or a range `from..to` that excludes `to`.
fn parse_ports(port: &str, scheme: &str) -> Result<Option<Range<u32>>> {
    let number = |text: &str| text.parse::<u16>().map(u32::from).context("a port must be a number");
    let (from, to) = match port {
        "*" => return Ok(None),
        "" => {
            let port = default_port(scheme).with_context(|| format!("a port is missing: {scheme} has no default"))?;
            (port.into(), u32::from(port) + 1)
        }
        _ => match port.split_once("..") {
            Some((from, to)) => (number(from)?, number(to)?),
            None => (number(port)?, number(port)? + 1),
        },
    };
    Ok(Some(from..to))
}

/// The default port of a scheme, for the schemes for which Spin has one.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "postgres" => Some(5432),
        "mysql" => Some(3306),
        "redis" => Some(6379),
        "mqtt" => Some(1883),
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn allows(entry: &str, url: &str) -> bool {
        AllowedHosts(vec![AllowedHost::parse(entry).unwrap()]).allows(&url.parse().unwrap())
    }

    #[test]
    fn entries_allow_matching_urls_only() {
        for (entry, url, allowed) in [
            ("http://a.test", "http://a.test/x", true),
            ("http://a.test", "http://a.test:80/x", true),
            ("http://a.test/", "http://a.test:81/", false),
            ("http://a.test", "https://a.test/", false),
            ("https://a.test", "https://a.test:443/", true),
            ("http://a.test:7701/", "http://a.test:7701/", true),
            ("http://a.test:7701..7703", "http://a.test:7702/", true),
            ("http://a.test:7701..7703", "http://a.test:7703/", false),
            ("http://a.test:65535", "http://a.test:65535/", true),
            ("http://*.a.test", "http://b.a.test/", true),
            ("http://*.a.test", "http://a.test/", false),
            ("http://*.a.test", "http://ba.test/", false),
            ("http://*:*", "http://anything:9/", true),
            ("*://a.test:*", "https://a.test:9/", true),
            ("*://*:*", "https://a.test/", true),
            ("http://127.0.0.1:1", "http://127.0.0.1:1/", true),
            ("http://[::1]:1", "http://[::1]:1/", true),
            ("http://[::1]", "http://[::1]/", true),
            ("http://a.test", "http://a.test@b.test/", false),
            ("postgres://127.0.0.1", "postgres://127.0.0.1:5432/db", true),
            ("postgres://a.test:1", "postgres://A.test:1", true),
            ("postgres://a.test:1", "postgres://a.test", false),
            ("postgres://a.test", "http://a.test:5432", false),
        ] {
            assert_eq!(allows(entry, url), allowed, "{entry} {url}");
        }
    }

    #[test]
    fn invalid_entries_are_errors() {
        for entry in [
            "",
            "*",
            "a.test",
            "http://a.test/path",
            "http://a.test:80/path",
            "http://a.*",
            "http://**.a",
            "ftp://a",
            "postgres://u:p@a:1",
            "postgres://a:1/db",
            "postgres://",
            "http://a:b",
            "ht-tp://a",
            "http://self",
            "http://x.spin.internal",
            "http://10.0.0.0/8",
        ] {
            assert!(AllowedHost::parse(entry).is_err(), "{entry}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn lazy_list_has_the_values_of_its_first_use() {
        let declared = toml::from_str("engine = { default = 'http://a:1' }").unwrap();
        let list = |given: &[(&str, &str)]| {
            let given: BTreeMap<_, _> = given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let mut variables = Variables::new(&declared, BTreeMap::new()).unwrap();
            variables.look_up_each_time(given);
            let entries = ["{{ engine }}".to_owned()].into();
            AllowList::Lazy { entries, variables: Arc::new(variables), parsed: Arc::default() }.of_instance()
        };
        let allows = |list: &AllowList, url: &str| list.get().allows(&url.parse().unwrap());
        let default = list(&[]);
        assert!(allows(&default, "http://a:1/") && !allows(&default, "http://b/"));
        let given = list(&[("engine", "http://b")]);
        assert!(allows(&given, "http://b/") && !allows(&given, "http://a:1/"));
        assert!(!allows(&list(&[("engine", "not a host")]), "http://a:1/"));
    }

    #[test]
    fn invalid_value_allows_nothing() {
        let declared = toml::from_str("engine = { default = 'http://a:1' }").unwrap();
        let list = ["{{ engine }}", "http://b"].map(str::to_owned);
        let read =
            |given: BTreeMap<_, _>| AllowedHosts::new(&list, &Variables::new(&declared, given).unwrap()).unwrap();
        let (hosts, warning) = read(BTreeMap::new());
        assert!(hosts.allows(&"http://a:1/".parse().unwrap()) && warning.is_none());
        for value in ["hush", ""] {
            let (hosts, warning) = read([("engine".to_owned(), value.to_owned())].into());
            assert!(!hosts.allows(&"http://b/".parse().unwrap()), "{value:?}");
            assert!(!warning.unwrap().contains("hush"));
        }
    }
}
