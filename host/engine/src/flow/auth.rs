//! Authentication at Flow, and the teams that it opens.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;

use crate::catalogue::{Catalogue, Token, User, Workflow};
use crate::incoming::Incoming;

/// The owner of a valid token or password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Everything.
    Global,
    /// A team's token, or a user's session: these teams.
    Teams(Vec<String>),
}

impl Identity {
    /// The identity of a request: by its `Authorization` header if there is one, else by the query parameter
    /// `access_token`.
    pub(super) fn of(request: &Incoming, catalogue: &Catalogue) -> Option<Identity> {
        let Some(header) = request.headers.get(AUTHORIZATION) else {
            return by_token(request.parameter("access_token")?, &catalogue.tokens);
        };
        let header = header.to_str().ok()?;
        if let Some(credentials) = header.strip_prefix("Basic") {
            return by_password(credentials.trim(), &catalogue.users);
        }
        let token = header.strip_prefix("Bearer ")?;
        let has_prefix = token.starts_with("bf") && token.get(3..4) == Some("_");
        if has_prefix { by_token(token, &catalogue.tokens) } else { None }
    }

    pub(super) fn is_of(&self, team: &str) -> bool {
        match self {
            Identity::Global => true,
            Identity::Teams(teams) => teams.iter().any(|known| known == team),
        }
    }

    /// The workflow of a team with a name or id.
    pub(super) fn workflow<'c>(&self, catalogue: &'c Catalogue, team: &str, name: &str) -> Option<&'c Workflow> {
        let mut workflows = catalogue.workflows.iter().filter(|workflow| workflow.team.as_deref() == Some(team));
        workflows.find(|workflow| self.is_of(team) && (workflow.name == name || workflow.id == name))
    }
}

fn by_token(token: &str, tokens: &[Token]) -> Option<Identity> {
    let token = tokens.iter().find(|known| known.token == token)?;
    Some(token.team.as_ref().map_or(Identity::Global, |team| Identity::Teams(vec![team.clone()])))
}

fn by_password(credentials: &str, users: &[User]) -> Option<Identity> {
    let credentials = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (email, password) = credentials.split_once(':')?;
    let user = users.iter().find(|user| user.email == email && user.password == password)?;
    Some(Identity::Teams(user.teams.clone()))
}
