//! Checks a profile as a whole: what its form alone can't say. `/readyz` reports the first error.

use std::collections::BTreeSet;

use http::header::HeaderName;

use super::Profile;
use super::body::Node;
use super::form::{
    BodyForm, Condition, Confirm, Doubt, Lazy, Proof, ResumeForm, Rule, RuleVerdict, Setting, SettingForm, Template,
    Text, Texts,
};
use super::profile::{Document, ProfileError, proof};
use super::request::holes_of;
use super::response::ranges;
use crate::json::{self, JsonType, Part, Pointer};

/// Maximum length of a name, in bytes.
const MAX_NAME: usize = 64;
/// Maximum number of characters of a title.
const MAX_TITLE: usize = 200;
/// Maximum number of names in a reference.
const MAX_NAMES: usize = 4;

/// The texts that a start and its lookup have besides the names in the workflow's reference.
const OF_START: [&str; 7] = ["mark", "label", "scope", "trigger", "source", "replay_of", "start"];
/// The JSON that a start has.
const JSON_OF_START: [&str; 6] = ["params", "input", "data", "event", "attributes", "params_object"];
/// The texts that a callback has besides the names in the run's reference.
const OF_CALLBACK: [&str; 6] = ["topic", "status", "once", "scope", "mark", "label"];
/// The JSON that a callback has.
const JSON_OF_CALLBACK: [&str; 3] = ["results", "payload", "resolution"];

type Checked = Result<(), ProfileError>;

fn error(place: &str, rule: impl Into<String>) -> ProfileError {
    ProfileError::new(place, rule)
}

fn require(holds: bool, place: &str, rule: &str) -> Checked {
    if holds { Ok(()) } else { Err(error(place, rule)) }
}

impl Profile<'_> {
    /// Reads all members, and checks what they say together. Returns the first error.
    pub fn check(&self) -> Checked {
        Check::new(self.document())?.all()
    }
}

/// The checks of a profile, with what its members share.
struct Check<'d, 'p> {
    document: &'d Document<'p>,
    /// The constants.
    constants: BTreeSet<String>,
    /// The constants that always have a value.
    given: BTreeSet<String>,
    workflow: Vec<String>,
    run: Vec<String>,
}

/// The holes that a template may have: texts, and JSON for a body.
#[derive(Clone, Copy)]
struct Known<'k> {
    names: &'k [String],
    texts: &'k [&'static str],
    json: &'k [&'static str],
}

impl<'d, 'p> Check<'d, 'p> {
    fn new(document: &'d Document<'p>) -> Result<Self, ProfileError> {
        require(is_profile_name(&document.name), "/name", "must be lower-case words with hyphens between them")?;
        let title = &document.title;
        let is_title = (1..=MAX_TITLE).contains(&title.chars().count()) && !title.chars().any(char::is_control);
        require(is_title, "/title", "must be one line of at most 200 characters")?;
        let settings = document.settings()?;
        for (name, setting) in &settings {
            let place = format!("/settings/{}", Pointer::escape(name));
            require(is_name(name), &place, NAME_RULE)?;
            check_setting(&place, setting)?;
        }
        let required = document.required()?;
        for name in &required {
            let rule = "has a name that `settings` doesn't have";
            require(settings.contains_key(&**name), "/required", rule)?;
        }
        let defaults = settings.iter().filter(|(_, setting)| setting.default.is_some()).map(|(name, _)| name.clone());
        let given = defaults.chain(required.iter().map(ToString::to_string)).collect();
        let names = |names: Option<Vec<Text<'_>>>, only: &str| {
            names.map_or_else(|| vec![only.to_owned()], |names| names.iter().map(ToString::to_string).collect())
        };
        Ok(Self {
            document,
            workflow: names(document.workflow_names()?, "workflow"),
            run: names(document.run_names()?, "run"),
            constants: settings.into_keys().collect(),
            given,
        })
    }

    fn all(&self) -> Checked {
        let document = self.document;
        check_names("/workflow", &self.workflow)?;
        let last = self.workflow.last().is_some_and(|last| last == "workflow");
        require(last, "/workflow", "must end with `workflow`")?;
        check_names("/run_names", &self.run)?;
        if let Some(scope) = document.scope()? {
            for (place, name) in [("/scope/setting", &scope.setting), ("/scope/more", &scope.more)] {
                require(self.constants.contains(&**name), place, "is no name in `settings`")?;
            }
        }
        if let Some(prefix) = document.mark()?.prefix {
            require(prefix.bytes().all(|b| b.is_ascii_graphic()), "/mark/prefix", "must be visible ASCII")?;
        }
        document.reserved_params()?;
        let limits = document.limits()?;
        require(limits.max_body_bytes != Some(0), "/limits/max_body_bytes", "must be at least 1")?;
        require(limits.retention_hours != Some(0), "/limits/retention_hours", "must be at least 1")?;
        self.auth()?;
        let constants = Known { names: &[], texts: &[], json: &[] };
        self.headers("/headers", document.headers, constants)?;
        self.start_and_find()?;
        self.look_and_resume()?;
        self.rest()?;
        self.runs()?;
        self.answers()
    }

    fn auth(&self) -> Checked {
        let Some(auth) = self.document.auth()? else { return Ok(()) };
        let ways = [auth.header.is_some(), auth.basic, auth.query.is_some(), auth.login.is_some()];
        let is_one = ways.into_iter().filter(|way| *way).count() == 1;
        require(is_one, "/auth", "must have exactly one of `header`, `basic`, `query` and `login`")?;
        require(auth.query.as_ref().is_none_or(|name| !name.is_empty()), "/auth/query", "must not be empty")?;
        let is_printable = |prefix: &Text<'_>| prefix.bytes().all(|b| matches!(b, b' '..=b'~'));
        require(auth.prefix.as_ref().is_none_or(is_printable), "/auth/prefix", "must be printable ASCII")?;
        require(auth.prefix.is_none() || auth.header.is_some(), "/auth/prefix", "needs `header`")?;
        if let Some(name) = &auth.header {
            require(name.parse::<HeaderName>().is_ok(), "/auth/header", "must be the name of a header")?;
        }
        if let Some(login) = &auth.login {
            let known = Known { names: &[], texts: &["user", "password"], json: &[] };
            self.template("/auth/login/request", &login.request, known)?;
            require(login.lifetime_seconds > 0, "/auth/login/lifetime_seconds", "must be at least 1")?;
            check_pointer("/auth/login/token", Some(&login.token))?;
            check_pointer("/auth/login/expires_in", login.expires_in.as_ref())?;
        }
        Ok(())
    }

    fn start_and_find(&self) -> Checked {
        let (start, find) = (self.document.start()?, self.document.find()?);
        let known = Known { names: &self.workflow, texts: &OF_START, json: &JSON_OF_START };
        let of_reference = [&OF_START[..], &["proof"]].concat();
        let of_reference = Known { texts: &of_reference, json: &[], ..known };
        self.template("/start/request", &start.request, known)?;
        let of_start = proof("start", start.proof)?;
        self.proof("/start/proof", &of_start, known)?;
        self.reference("/start/reference", start.reference.as_ref(), of_reference)?;
        if let Some(find) = &find {
            self.template("/find/request", &find.request, Known { json: &[], ..known })?;
            check_pointer("/find/list", find.list.as_ref())?;
            check_pointer("/find/label", find.label.as_ref())?;
            let is_one = find.list.is_some() != find.proof.is_some() && find.list.is_some() == find.label.is_some();
            require(is_one, "/find", "must have either `list` and `label`, or `proof`")?;
            if let Some(raw) = find.proof {
                self.proof("/find/proof", &proof("find", raw)?, known)?;
            }
            let is_of_proof = find.reference.is_none() || find.proof.is_some();
            require(is_of_proof, "/find/reference", "needs `proof`")?;
            self.reference("/find/reference", find.reference.as_ref(), of_reference)?;
        }
        let needs_find = self.document.doubt == Doubt::Find;
        require(find.is_some() || !needs_find, "/doubt", "is `find`, which needs the member `find`")?;
        let has_list = find.as_ref().is_some_and(|find| find.list.is_some());
        let of_find = find.and_then(|find| find.proof).map(|raw| proof("find", raw)).transpose()?;
        if has_list || of_start == Proof::Run || of_find == Some(Proof::Run) {
            let run = self.document.run()?;
            let is_complete = run.id.is_some() && run.status.is_some() && !run.states.is_empty();
            require(is_complete, "/run", "must have `id`, `status` and `states` for a proof `run` and a list of runs")?;
        }
        Ok(())
    }

    fn look_and_resume(&self) -> Checked {
        let (look, resume) = (self.document.look()?, self.document.resume()?);
        let of_run = Known { names: &self.run, texts: &["scope"], json: &[] };
        let of_topic = Known { texts: &OF_CALLBACK, ..of_run };
        if let Some(look) = &look {
            require(look.request.is_some() || look.run.is_some(), "/look", "must have `request` or `run`")?;
            if let Some(request) = &look.request {
                self.template("/look/request", request, of_topic)?;
            }
            if let Some(run) = &look.run {
                self.template("/look/run", run, of_run)?;
            }
        }
        let (tasks, wait) = (self.document.tasks()?, self.document.wait()?);
        require(tasks.is_none() || wait.is_none(), "/wait", "must not be there beside `tasks`")?;
        let Some(ResumeForm { request, failed, without_payload, statuses, proof: raw, confirm }) = resume else {
            return Ok(());
        };
        let known = Known { json: &JSON_OF_CALLBACK, ..of_topic };
        self.template("/resume/request", &request, known)?;
        for (place, template) in [("/resume/failed", failed), ("/resume/without_payload", without_payload)] {
            if let Some(template) = template {
                self.template(place, &template, known)?;
            }
        }
        let is_empty = statuses.is_some_and(|statuses| statuses.is_empty());
        require(!is_empty, "/resume/statuses", "must have at least one status")?;
        self.proof("/resume/proof", &proof("resume", raw)?, known)?;
        if confirm == Confirm::Look {
            let looks = look.is_some_and(|look| look.request.is_some()) && (tasks.is_some() || wait.is_some());
            require(looks, "/resume/confirm", "is `look`, which needs `look/request`, and `tasks` or `wait`")?;
        }
        Ok(())
    }

    /// The members that few profiles have.
    fn rest(&self) -> Checked {
        let of_run = Known { names: &self.run, texts: &["scope"], json: &[] };
        if let Some(cancel) = self.document.cancel()? {
            self.template("/cancel/request", &cancel.request, of_run)?;
        }
        if let Some(describe) = self.document.describe()? {
            let known = Known { names: &self.workflow, texts: &["scope"], json: &[] };
            self.template("/describe/workflow", &describe.workflow, known)?;
            if let Some(task) = &describe.task {
                let known = Known { names: &[], texts: &["task", "version", "scope"], json: &[] };
                self.template("/describe/task", task, known)?;
            }
            let has_preflight = describe.preflight()?.is_some();
            let is_complete = describe.task.is_some() && self.document.tasks()?.is_some();
            require(!has_preflight || is_complete, "/describe/preflight", "needs `describe/task` and `tasks`")?;
        }
        check_pointer("/error_code", self.document.error_code.as_ref())?;
        if let Some(page) = &self.document.page {
            // A page may need a constant that isn't set: then there is no link.
            let holes = holes_of(page).ok_or_else(|| error("/page", BRACES))?;
            let unknown = holes.into_iter().find(|hole| !self.knows(hole, of_run) && !self.constants.contains(*hole));
            if let Some(hole) = unknown {
                return Err(error("/page", format!("has an unknown hole `{hole}`")));
            }
        }
        Ok(())
    }

    fn runs(&self) -> Checked {
        let run = self.document.run()?;
        let has_digits = run.workflow_id.as_ref().is_none_or(|id| id.hex != Some(0));
        require(has_digits, "/run/workflow_id/hex", "must be at least 1")?;
        let of_workflow = run.workflow_id.as_ref().map(|id| &id.at);
        for (place, pointer) in [
            ("/run/id", run.id.as_ref()),
            ("/run/status", run.status.as_ref()),
            ("/run/phase", run.phase.as_ref()),
            ("/run/trigger", run.trigger.as_ref()),
            ("/run/workflow_id/at", of_workflow),
            ("/run/workflow_name", run.workflow_name.as_ref()),
        ] {
            check_pointer(place, pointer)?;
        }
        run.states.check().map_err(|error| ProfileError::within("/run/states", error))?;
        if let Some(tasks) = self.document.tasks()? {
            tasks.states.check().map_err(|error| ProfileError::within("/tasks/states", error))?;
            let topic = &tasks.topic;
            for (place, pointer) in [
                ("/tasks/list", Some(&tasks.list)),
                ("/tasks/id", Some(&tasks.id)),
                ("/tasks/type", Some(&tasks.kind)),
                ("/tasks/status", Some(&tasks.status)),
                ("/tasks/topic/at", topic.at.as_ref()),
                ("/tasks/topic/list", topic.list.as_ref()),
                ("/tasks/topic/name", topic.name.as_ref()),
                ("/tasks/topic/value", topic.value.as_ref()),
            ] {
                check_pointer(place, pointer)?;
            }
            let of_list = [&topic.list, &topic.name, &topic.equals, &topic.value];
            let is_one = match topic.at {
                Some(_) => of_list.iter().all(|part| part.is_none()),
                None => of_list.iter().all(|part| part.is_some()),
            };
            require(is_one, "/tasks/topic", "must have either `at`, or `list`, `name`, `equals` and `value`")?;
        }
        let known = Known { names: &self.run, texts: &OF_CALLBACK, json: &[] };
        for (n, rule) in self.document.wait()?.iter().flatten().enumerate() {
            self.conditions(&format!("/wait/{n}/when"), &rule.when, known)?;
        }
        Ok(())
    }

    fn answers(&self) -> Checked {
        let has_find = self.document.find()?.is_some();
        let names = [self.workflow.as_slice(), &self.run].concat();
        let texts = [&OF_START[..], &OF_CALLBACK].concat();
        let known = Known { names: &names, texts: &texts, json: &[] };
        for (n, rule) in self.document.answers()?.iter().enumerate() {
            let place = format!("/answers/{n}");
            let Rule { status, when, at, equals, has, lacks, verdict, concluded, .. } = rule;
            let part = |name: &str| format!("{place}/{name}");
            require(
                ranges(status).all(|range| range.is_some()),
                &part("status"),
                "must be statuses and ranges, such as `404,500-599`",
            )?;
            require(at.is_some() == equals.is_some(), &part("at"), "and `equals` must be there together")?;
            let places = at.iter().map(|it| ("at", it)).chain(has.iter().map(|it| ("has", it)));
            for (name, pointer) in places.chain(lacks.iter().map(|it| ("lacks", it))) {
                check_pointer(&part(name), Some(pointer))?;
            }
            self.conditions(&part("when"), when, known)?;
            let is_unclear = *verdict == RuleVerdict::Unclear;
            require(!concluded || is_unclear, &part("concluded"), "needs the verdict `unclear`")?;
            let is_existing = *verdict == RuleVerdict::Existing;
            require(!is_existing || has_find, &part("verdict"), "is `existing`, which needs the member `find`")?;
        }
        Ok(())
    }

    fn conditions(&self, place: &str, conditions: &[Condition<'_>], known: Known<'_>) -> Checked {
        for (n, condition) in conditions.iter().enumerate() {
            let place = format!("{place}/{n}");
            let Condition { at, equals, prefix, contains, older_ms, absent, present } = condition;
            check_pointer(&format!("{place}/at"), Some(at))?;
            let texts = [("equals", equals), ("prefix", prefix), ("contains", contains), ("older_ms", older_ms)];
            let flags = [("absent", absent), ("present", present)];
            let given = texts.iter().filter(|(_, text)| text.is_some()).count();
            let given = given.saturating_add(flags.iter().filter(|(_, flag)| flag.is_some()).count());
            let rule = "must have exactly one of `equals`, `prefix`, `contains`, `older_ms`, `absent` and `present`";
            require(given == 1, &place, rule)?;
            for (name, text) in texts {
                self.text(&format!("{place}/{name}"), text.as_ref(), known)?;
            }
            let is_number = |age: &Text<'_>| {
                let is_hole =
                    age.starts_with('{') && age.ends_with('}') && holes_of(age).is_some_and(|all| all.len() == 1);
                is_hole || age.parse::<u64>().is_ok()
            };
            let rule = "must be a number of milliseconds, or one hole";
            require(older_ms.as_ref().is_none_or(is_number), &format!("{place}/older_ms"), rule)?;
            for (name, flag) in flags {
                require(*flag != Some(false), &format!("{place}/{name}"), "must be true")?;
            }
        }
        Ok(())
    }

    fn proof(&self, place: &str, proof: &Proof<'_>, known: Known<'_>) -> Checked {
        match proof {
            Proof::At(pointer, equals) => {
                check_pointer(&format!("{place}/at"), Some(pointer))?;
                self.text(&format!("{place}/equals"), equals.as_ref(), known)
            }
            Proof::Header(name) => {
                let is_name = name.parse::<HeaderName>().is_ok();
                require(is_name, &format!("{place}/header"), "must be the name of a header")
            }
            Proof::Run | Proof::Any | Proof::JsonOrEmpty | Proof::Object | Proof::Text => Ok(()),
        }
    }

    fn template(&self, place: &str, template: &Template<'_>, known: Known<'_>) -> Checked {
        let part = |name: &str| format!("{place}/{name}");
        let method = &template.method;
        let is_method = METHODS.contains(&&**method);
        require(is_method, &part("method"), "must be GET, POST, PUT, PATCH or DELETE")?;
        let path = template.path.strip_prefix("{base_path}").unwrap_or(&template.path);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@%/{}".contains(c);
        let is_path = path.starts_with('/') && path.chars().all(is_plain);
        require(is_path, &part("path"), "must be a path that starts with `/`, without a query")?;
        self.text(&part("path"), Some(&template.path), known)?;
        for (name, value) in members(&part("query"), template.query)? {
            self.text_value(&format!("{place}/query/{}", Pointer::escape(&name)), value, known)?;
        }
        self.headers(&part("headers"), template.headers, known)?;
        self.body(&part("body"), template.form, template.body, known)
    }

    fn headers(&self, place: &str, headers: Option<Texts<'_>>, known: Known<'_>) -> Checked {
        for (name, value) in members(place, headers)? {
            let place = format!("{place}/{}", Pointer::escape(&name));
            require(name.parse::<HeaderName>().is_ok(), &place, "must have the name of a header")?;
            self.text_value(&place, value, known)?;
        }
        Ok(())
    }

    fn body(&self, place: &str, form: BodyForm, body: Option<Lazy<'_, Node<'_>>>, known: Known<'_>) -> Checked {
        let Some(body) = body else {
            let needs_body = matches!(form, BodyForm::Raw | BodyForm::Urlencoded);
            return require(!needs_body, place, "must be there for this `form`");
        };
        let node = body.get(Node::read);
        match form {
            BodyForm::Json => {}
            BodyForm::CloudEvent => return Err(error(place, "must not be there: the event is the body")),
            BodyForm::Raw => {
                let is_one_hole = matches!(node, Ok(Node::Hole(_)));
                require(is_one_hole, place, "must be one hole, such as {\"$\":\"data\"}")?;
            }
            BodyForm::Urlencoded => {
                let is_object = |json: Part<'_>| json::type_of(json.value()) == JsonType::Object;
                let is_other = matches!(body, Lazy::Json(json) if !is_object(json));
                require(!is_other, place, "must be an object")?;
                let is_flat = |value: &Node<'_>| match value {
                    Node::Scalar(_) => true,
                    Node::Array(_) => false,
                    value => value.holes().is_ok_and(|holes| holes.len() == 1),
                };
                let members = body.get(Node::read_members);
                let is_flat = matches!(members, Ok(Node::Object(all)) if all.iter().all(|(_, value)| is_flat(value)));
                require(is_flat, place, "must be a flat object of texts and holes")?;
            }
        }
        let holes = node.and_then(|node| node.holes());
        let holes = holes.map_err(|_| error(place, "has a malformed `$`, `$text` or `$json`"))?;
        let unknown = holes.iter().find(|hole| {
            !self.knows(hole, known) && !known.json.contains(&hole.as_str()) && !self.constants.contains(*hole)
        });
        unknown.map_or(Ok(()), |hole| Err(error(place, format!("has an unknown hole `{hole}`"))))
    }

    /// Checks a text whose holes all need a value.
    fn text(&self, place: &str, text: Option<&Text<'_>>, known: Known<'_>) -> Checked {
        text.map_or(Ok(()), |text| self.holes(place, text, known))
    }

    /// Checks a reference, which must not be empty.
    fn reference(&self, place: &str, text: Option<&Text<'_>>, known: Known<'_>) -> Checked {
        require(text.is_none_or(|text| !text.is_empty()), place, "must not be empty")?;
        self.text(place, text, known)
    }

    fn text_value(&self, place: &str, value: Option<Text<'_>>, known: Known<'_>) -> Checked {
        let text = value.ok_or_else(|| error(place, "must be a string"))?;
        self.holes(place, &text, known)
    }

    fn holes(&self, place: &str, text: &str, known: Known<'_>) -> Checked {
        for hole in holes_of(text).ok_or_else(|| error(place, BRACES))? {
            let is_base_path = hole == "base_path" && self.constants.contains(hole);
            if self.knows(hole, known) || self.given.contains(hole) || is_base_path {
                continue;
            }
            let rule = if self.constants.contains(hole) {
                format!("has the hole `{hole}`, a constant that is neither `required` nor has a default")
            } else {
                format!("has an unknown hole `{hole}`")
            };
            return Err(error(place, rule));
        }
        Ok(())
    }

    fn knows(&self, hole: &str, known: Known<'_>) -> bool {
        known.names.iter().any(|name| name == hole) || known.texts.contains(&hole)
    }
}

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
const NAME_RULE: &str = "must have a name of lower-case letters, digits and underscores";
const BRACES: &str = "has a brace that isn't part of a hole";

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_profile_name(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    name.len() <= MAX_NAME && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('-').all(is_word)
}

fn check_names(place: &str, names: &[String]) -> Checked {
    let distinct: BTreeSet<&String> = names.iter().collect();
    let is_list = (1..=MAX_NAMES).contains(&names.len()) && distinct.len() == names.len();
    require(is_list, place, "must have 1 to 4 different names")?;
    require(names.iter().all(|name| is_name(name)), place, NAME_RULE)
}

fn check_setting(place: &str, setting: &Setting<'_>) -> Checked {
    match (&setting.default, setting.form) {
        (Some(_), SettingForm::Segments) => Err(error(place, "must not have a default")),
        (Some(default), form) => form.check(default).map_err(|rule| error(&format!("{place}/default"), rule)),
        (None, _) => Ok(()),
    }
}

fn check_pointer(place: &str, pointer: Option<&Text<'_>>) -> Checked {
    let is_pointer = pointer.is_none_or(|pointer| Pointer::parse(pointer).is_some());
    require(is_pointer, place, "must be a JSON Pointer, such as `/id`")
}

/// The members of an object of texts. A value that is no text is `None`.
fn members<'v>(place: &str, object: Option<Texts<'v>>) -> Result<Vec<(Text<'v>, Option<Text<'v>>)>, ProfileError> {
    let object = match object {
        None => return Ok(Vec::new()),
        Some(Lazy::Read(texts)) => {
            return Ok(texts.iter().map(|(name, text)| (name.clone(), Some(text.clone()))).collect());
        }
        Some(Lazy::Json(object)) => object.value(),
    };
    let members = json::members(object).ok_or_else(|| error(place, "must be an object"))?;
    let named = members.into_iter().map(|(name, value)| {
        Text::of(name).map(|name| (name, Text::of(value))).ok_or_else(|| error(place, "must have Unicode names"))
    });
    named.collect()
}
