//! The look-up of runs, and Spring's pages.

use std::cmp::Reverse;

use http::StatusCode;
use percent_encoding::percent_decode_str;

use super::show;
use crate::Model;
use crate::fault::Fault;
use crate::incoming::Incoming;
use crate::json::{Json, object};
use crate::run::{Phase, Record, Status};

/// The filters of a query, and the page that it asks for.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    labels: Vec<String>,
    status: Option<Vec<String>>,
    phase: Option<Vec<String>>,
    runs: Option<Vec<String>>,
    pub(crate) workflows: Option<Vec<String>>,
    triggers: Option<Vec<String>>,
    from: Option<i64>,
    to: Option<i64>,
    limit: Option<i64>,
    page: i64,
    descending: bool,
}

impl Query {
    pub(crate) fn read(request: &Incoming) -> Result<Query, Fault> {
        let descending = match request.parameter("sort").map(str::trim) {
            None | Some("" | "ASC") => false,
            Some("DESC") => true,
            Some(_) => return Err(request.unconvertible("sort")),
        };
        Ok(Query {
            labels: request.list("labels").unwrap_or_default(),
            status: request.list("status"),
            phase: request.list("phase"),
            runs: request.list("workflowruns"),
            workflows: request.list("workflows"),
            triggers: request.list("triggers"),
            from: request.time("fromDate")?,
            to: request.time("toDate")?,
            limit: request.number("limit")?,
            page: request.number("page")?.unwrap_or(0),
            descending,
        })
    }

    /// The query as Flow passes it on: a `+` in a label arrives as a space.
    pub(crate) fn behind_flow(mut self) -> Query {
        self.runs = None;
        for label in &mut self.labels {
            *label = label.replace('+', " ");
        }
        self
    }

    /// The labels as names and values, decoded again. A label without a value is an index out of bounds.
    fn labels(&self) -> Result<Vec<(String, String)>, Fault> {
        let label = |label: &String| {
            let decoded = percent_decode_str(&label.replace('+', " ")).decode_utf8_lossy().into_owned();
            let (name, rest) = decoded.split_once('=').ok_or(Fault::Crash)?;
            let value = rest.trim_start_matches('=').split('=').next().unwrap_or_default();
            if value.is_empty() || has_malformed_escape(label) {
                return Err(Fault::Crash);
            }
            Ok((name.replace('.', "#"), value.to_owned()))
        };
        self.labels.iter().map(label).collect()
    }

    fn matches(&self, record: &Record, labels: &[(String, String)]) -> bool {
        let run = &record.run;
        let is_in = |list: &Option<Vec<String>>, value: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|one| one == value))
        };
        let created = i64::try_from(run.creation_date).unwrap_or(i64::MAX);
        let has = |(name, value): &(String, String)| {
            run.labels.iter().any(|(known, label)| label.as_ref() == Some(value) && is_stored_as(known, name))
        };
        is_in(&self.status, run.status.name())
            && is_in(&self.phase, run.phase.name())
            && is_in(&self.runs, &run.id)
            && is_in(&self.workflows, &run.workflow_ref)
            && is_in(&self.triggers, &run.trigger)
            && self.from.is_none_or(|from| created >= from)
            && self.to.is_none_or(|to| created < to)
            && labels.iter().all(has)
    }

    fn check_names(&self) -> Result<(), Fault> {
        let is_status = |name: &String| Status::from_name(&name.to_lowercase()).is_some();
        let is_phase = |name: &String| Phase::ALL.iter().any(|phase| phase.name() == name.to_lowercase());
        if !self.status.iter().flatten().all(is_status) {
            return Err(Fault::invalid_filter("status"));
        }
        if !self.phase.iter().flatten().all(is_phase) {
            return Err(Fault::invalid_filter("phase"));
        }
        Ok(())
    }
}

/// Whether the database has a label under this name. It has no dots in names.
fn is_stored_as(label: &str, name: &str) -> bool {
    label.len() == name.len() && label.bytes().map(|byte| if byte == b'.' { b'#' } else { byte }).eq(name.bytes())
}

/// Java's decoder takes no `%` without two digits.
fn has_malformed_escape(text: &str) -> bool {
    let is_escape =
        |rest: &str| rest.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    text.split('%').skip(1).any(|rest| !is_escape(rest))
}

impl Model {
    /// The page of runs that a query finds, the oldest first.
    pub(crate) fn query(&self, query: &Query) -> Result<Json, Fault> {
        let (found, limit, number) = self.find(query)?;
        let content: Vec<_> = found.iter().map(|record| show::found(record, &self.catalogue, false)).collect();
        let here = content.len();
        let sort = sort(limit.is_some());
        let size = limit.unwrap_or(here);
        let pageable = limit.map_or_else(|| Json::from("INSTANCE"), |size| pageable(number, size, sort.clone()));
        // The engine counts the runs of this page, so it never knows of a page that follows.
        let total = if number > 0 && here > 0 { size.saturating_mul(number) + here } else { here };
        let pages = if size == 0 { 1 } else { total.div_ceil(size) };
        Ok(object! {
            "content": content,
            "pageable": pageable,
            "totalPages": pages,
            "totalElements": total,
            "last": number + 1 >= pages,
            "size": size,
            "number": number,
            "numberOfElements": here,
            "sort": sort,
            "first": number == 0,
            "empty": here == 0,
        })
    }

    /// The page as Flow rebuilds it, without its sort. Flow fails on an empty page without a limit.
    pub(crate) fn query_behind_flow(&self, query: &Query) -> Result<Json, Fault> {
        let mut page = self.query(query)?;
        let number = |page: &Json, name| match page.get(name) {
            Some(Json::Int(number)) => usize::try_from(*number).unwrap_or_default(),
            _ => 0,
        };
        let size = number(&page, "size");
        if size == 0 {
            return Err(Fault::problem(StatusCode::INTERNAL_SERVER_ERROR, ""));
        }
        let pageable = pageable(number(&page, "number"), size, sort(false));
        if let Json::Object(members) = &mut page {
            members.insert("pageable".to_owned(), pageable);
            members.insert("sort".to_owned(), sort(false));
        }
        Ok(page)
    }

    fn find(&self, query: &Query) -> Result<(Vec<&Record>, Option<usize>, usize), Fault> {
        let page = match query.limit {
            None => None,
            // A page of no size, or before the first, is an illegal argument.
            Some(limit) => {
                let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0).ok_or(Fault::Crash)?;
                Some((limit, usize::try_from(query.page).map_err(|_| Fault::Crash)?))
            }
        };
        let labels = query.labels()?;
        query.check_names()?;
        let mut found: Vec<_> = self.runs.values().filter(|record| query.matches(record, &labels)).collect();
        if query.descending {
            found.sort_by_key(|record| Reverse(record.run.creation_date));
        } else {
            found.sort_by_key(|record| record.run.creation_date);
        }
        Ok(match page {
            None => (found, None, 0),
            Some((limit, number)) => {
                let skipped = limit.saturating_mul(number);
                (found.into_iter().skip(skipped).take(limit).collect(), Some(limit), number)
            }
        })
    }
}

fn sort(is_sorted: bool) -> Json {
    object! { "empty": !is_sorted, "sorted": is_sorted, "unsorted": !is_sorted }
}

fn pageable(number: usize, size: usize, sort: Json) -> Json {
    object! {
        "pageNumber": number,
        "pageSize": size,
        "sort": sort,
        "offset": number.saturating_mul(size),
        "paged": true,
        "unpaged": false,
    }
}
