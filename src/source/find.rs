//! Finds the sources that a request may come from.

use std::fmt;

use http::{HeaderMap, HeaderName};

use super::scope::Scope;
use super::sender::Marks;
use super::{Claim, Entry, Lists, Source, SourceSender, Sources};
use crate::secret::Secret;
use crate::sender::Preset;

/// The parts of a request that point to its source.
#[derive(Clone, Copy, Debug)]
pub struct Clues<'r> {
    /// `?source=`, or its other name `?sender=`: the name of a source, or of a sender.
    pub source: Option<&'r str>,
    /// The headers.
    pub headers: &'r HeaderMap,
    /// The access tokens in the request.
    pub tokens: &'r [&'r str],
}

/// `?source=` names neither a source nor a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("names neither a source nor a sender that docs/senders.md lists")]
pub struct UnknownSource;

/// The result of a search: the sources that a request may come from, and the reasons why others are not among
/// them.
#[derive(Debug, Default)]
pub struct Found<'s, 'a> {
    /// In the order in which they are to be tried: the first one whose [`Proof`] holds has sent the request.
    pub candidates: Vec<Candidate<'s, 'a>>,
    /// The known sender of the first source whose signature is to be tried; `None` if that has a descriptor. Without
    /// such a source, the known sender that the request names or resembles, whether it is set up or not. It is not
    /// authenticated: it decides only on the form of the response.
    pub preset: Option<&'static Preset>,
    /// The attempts that failed.
    pub misses: Vec<Miss>,
}

/// An authority that a request may have.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'s, 'a> {
    /// The authority, if the proof holds.
    pub authority: Authority<'s, 'a>,
    /// The proof of it.
    pub proof: Proof<'s>,
}

/// The authority of a request.
#[derive(Clone, Copy, Debug)]
pub enum Authority<'s, 'a> {
    /// Nothing is set up, so anyone may deliver.
    Open,
    /// A token of `access_tokens`, without limits.
    AccessToken,
    /// A source, with its limits.
    Source(&'s Source<'a>, &'s Scope),
}

/// The proof that a request has an authority.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'s> {
    /// None is missing: a token matched, or anyone may deliver.
    Complete,
    /// A signature that the source's sender makes with one of these secrets, or with its keys if there are none.
    Signature(&'s [Secret]),
}

/// An attempt to find the source that failed. The message is for the sender of the request, and contains no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The request resembles one of a known sender that no source has.
    NotSetUp(&'static str),
    /// The request may come from a source that an error in the configuration stops: it is worth sending again later.
    Stopped(Option<String>),
    /// A token was given, but no source has it.
    UnknownToken,
    /// No token was given, and no headers of a source.
    NoClue,
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSetUp(sender) => write!(f, "it looks like one from {sender}, but no source has this sender"),
            Self::Stopped(Some(name)) => write!(f, "the source `{name}` is stopped by an error in its configuration"),
            Self::Stopped(None) => f.write_str("a source is stopped by an error in its configuration"),
            Self::UnknownToken => f.write_str("its access token belongs to no source"),
            Self::NoClue => f.write_str("it has no access token and no signature header of a source"),
        }
    }
}

impl Found<'_, '_> {
    /// The result of a search among access tokens only.
    pub fn by_access_token(tokens: &[Secret], given: &[&str]) -> Self {
        let mut found = Self::default();
        if matches_any(tokens, given) {
            found.candidates.push(Candidate { authority: Authority::AccessToken, proof: Proof::Complete });
        }
        found
    }

    /// Whether a source that is stopped may have sent the request.
    pub fn is_maybe_stopped(&self) -> bool {
        self.misses.iter().any(|miss| matches!(miss, Miss::Stopped(_)))
    }
}

impl<'s, 'a> Authority<'s, 'a> {
    /// Whether the decision on a callback depends on the workflow of its run.
    pub fn needs_run_workflow(self) -> bool {
        matches!(self, Self::Source(_, scope) if scope.needs_run_workflow())
    }

    /// The source; `None` for an authority without limits.
    pub fn source(self) -> Option<&'s Source<'a>> {
        match self {
            Self::Source(source, _) => Some(source),
            Self::Open | Self::AccessToken => None,
        }
    }
}

/// The name in `?source=`: that of a source, and of each source of a sender with this name.
#[derive(Clone, Copy)]
struct Named<'r> {
    name: &'r str,
    /// The known sender with this name.
    sender: Option<&'static Preset>,
}

impl Named<'_> {
    /// Whether the name means an element; `None` if the element's own name or sender can't be read.
    fn means(self, entry: &Entry<'_>) -> Option<bool> {
        let by_name = entry.name.as_deref().map(|own| own == self.name);
        let by_sender = match (self.sender, &entry.sender) {
            (None, _) | (Some(_), Claim::None) => Some(false),
            (Some(preset), Claim::Sender(sender)) => Some(sender.preset_name() == Some(preset.name)),
            (Some(_), Claim::Unreadable) => None,
        };
        match (by_name, by_sender) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }
    }
}

impl Entry<'_> {
    /// The miss if it is stopped.
    fn miss(&self) -> Miss {
        Miss::Stopped(self.name.as_deref().map(str::to_owned))
    }
}

impl<'a> Sources<'a> {
    /// Finds the sources that a request may come from: those that it names, and otherwise those whose headers it has,
    /// whose token it has, or both. A known sender that no source has is never in the way of one that a source has.
    ///
    /// Signatures come before tokens, unless `Authorization` is the signature's header. A token counts even if the
    /// request has headers of a source that signs: its holder could leave them out.
    pub fn find(&self, clues: Clues<'_>) -> Result<Found<'_, 'a>, UnknownSource> {
        let named = clues.source.map(|name| self.named(name)).transpose()?;
        let preset = self.preset(named, clues.headers);
        let mut found = Found { preset, ..Found::default() };
        if self.is_open() {
            found.candidates.push(Candidate { authority: Authority::Open, proof: Proof::Complete });
            return Ok(found);
        }
        let signed = self.signed(named, clues.headers, &mut found.misses);
        let before = found.misses.len();
        let by_token = self.by_token(named, clues.tokens, &mut found.misses);
        let is_known = clues.tokens.is_empty() || !by_token.is_empty() || found.misses.len() > before;
        if !is_known {
            self.note_unknown_token(named, &mut found.misses);
        }
        let first = signed.first().and_then(|(_, candidate)| candidate.authority.source()?.sender());
        if let Some(sender) = first {
            found.preset = match sender {
                SourceSender::Preset(preset) => Some(preset),
                SourceSender::Descriptor(_) => None,
            };
        }
        let (shared, own) = signed.into_iter().partition::<Vec<_>, _>(|(marks, _)| *marks == Marks::Shared);
        found.candidates.extend(own.into_iter().map(|(_, candidate)| candidate));
        found.candidates.extend(by_token);
        found.candidates.extend(shared.into_iter().map(|(_, candidate)| candidate));
        self.note_misses(&mut found, preset);
        Ok(found)
    }

    fn named<'r>(&self, name: &'r str) -> Result<Named<'r>, UnknownSource> {
        let sender = Preset::by_name(name);
        let may_be_named = |entry: &Entry<'_>| entry.name.as_deref().is_none_or(|own| own == name);
        if sender.is_none() && !self.entries.iter().any(may_be_named) {
            return Err(UnknownSource);
        }
        Ok(Named { name, sender })
    }

    /// The sources that may have signed the request, in the order in which they are to be tried.
    fn signed(
        &self,
        named: Option<Named<'_>>,
        headers: &HeaderMap,
        misses: &mut Vec<Miss>,
    ) -> Vec<(Marks, Candidate<'_, 'a>)> {
        // Compared with each sender: faster in this form than in a map.
        let headers: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        let mut signed = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let marks = match (named.map(|named| named.means(entry)), &entry.sender) {
                (Some(Some(false)), _) => continue,
                // A source that is named is tried even if its headers are missing: the error then names them.
                (Some(_), Claim::Sender(sender)) => sender.marks(&headers).unwrap_or(Marks::Own),
                (None, Claim::Sender(sender)) => match sender.marks(&headers) {
                    Some(marks) => marks,
                    None => continue,
                },
                (None, Claim::None) => continue,
                (Some(_), Claim::None) | (_, Claim::Unreadable) => Marks::Own,
            };
            match &entry.source {
                Ok(source) if !source.is_signed() => {}
                _ => match self.admit(at, entry) {
                    Ok((source, lists)) => {
                        let authority = Authority::Source(source, lists.scope);
                        let proof = Proof::Signature(lists.secrets);
                        let rank = source.sender.map_or(usize::MAX, SourceSender::rank);
                        signed.push((rank, marks, Candidate { authority, proof }));
                    }
                    Err(miss) => misses.push(miss),
                },
            }
        }
        signed.sort_by_key(|(rank, ..)| *rank);
        signed.into_iter().map(|(_, marks, candidate)| (marks, candidate)).collect()
    }

    /// The authorities that the tokens in the request prove.
    fn by_token(&self, named: Option<Named<'_>>, given: &[&str], misses: &mut Vec<Miss>) -> Vec<Candidate<'_, 'a>> {
        if given.is_empty() {
            return Vec::new();
        }
        let mut candidates = Vec::new();
        if matches_any(&self.access_tokens, given) {
            candidates.push(Candidate { authority: Authority::AccessToken, proof: Proof::Complete });
        }
        for (at, entry) in self.entries.iter().enumerate() {
            // A source with an error is passed over: `note_unknown_token` counts it if no other has the token.
            let Ok(source) = &entry.source else { continue };
            let has_token = || source.token_list().is_ok_and(|tokens| matches_any(tokens, given));
            if may_have_token(named, entry) && has_token() && source.lists().is_ok() {
                match self.admit(at, entry) {
                    Ok((source, lists)) => candidates
                        .push(Candidate { authority: Authority::Source(source, lists.scope), proof: Proof::Complete }),
                    Err(miss) => misses.push(miss),
                }
            }
        }
        candidates
    }

    /// A source that is not stopped, with its lists.
    fn admit<'s>(&'s self, at: usize, entry: &'s Entry<'a>) -> Result<(&'s Source<'a>, Lists<'s>), Miss> {
        match &entry.source {
            Ok(source) if self.error(at, entry).is_none() => {
                source.lists().map(|lists| (source, lists)).map_err(|_| entry.miss())
            }
            _ => Err(entry.miss()),
        }
    }

    /// Notes that no source is known to have the token: one whose lists can't be read may have it.
    fn note_unknown_token(&self, named: Option<Named<'_>>, misses: &mut Vec<Miss>) {
        let is_unread = |entry: &Entry<'_>| entry.source.as_ref().map_or(true, |source| source.lists().is_err());
        let unread = self.entries.iter().filter(|entry| is_unread(entry) && may_have_token(named, entry));
        misses.extend(unread.map(Entry::miss));
        misses.push(Miss::UnknownToken);
    }

    fn note_misses(&self, found: &mut Found<'_, 'a>, preset: Option<&'static Preset>) {
        if let Some(preset) = preset {
            let has_sender = |entry: &Entry<'_>| match &entry.sender {
                Claim::Sender(sender) => sender.resembles(preset),
                Claim::None | Claim::Unreadable => false,
            };
            if !self.entries.iter().any(has_sender) {
                found.misses.push(Miss::NotSetUp(preset.name));
            }
        }
        if found.candidates.is_empty() && found.misses.is_empty() {
            found.misses.push(Miss::NoClue);
        }
        // A source may have been tried by its headers and by a token.
        let mut seen = Vec::new();
        found.misses.retain(|miss| {
            let is_new = !seen.contains(miss);
            seen.push(miss.clone());
            is_new
        });
    }

    /// The known sender that a request names, itself or by its source, or else the one whose headers it has.
    fn preset(&self, named: Option<Named<'_>>, headers: &HeaderMap) -> Option<&'static Preset> {
        let of_source = |name| {
            let entry = self.entries.iter().find(|entry| entry.name.as_deref() == Some(name))?;
            Some(match entry.sender {
                Claim::Sender(SourceSender::Preset(preset)) => Some(preset),
                _ => None,
            })
        };
        match named {
            Some(Named { name, sender }) => of_source(name).unwrap_or(sender),
            None => Preset::by_headers(headers),
        }
    }
}

/// Whether a token of this source may be meant. One without a sender may be used for any sender.
fn may_have_token(named: Option<Named<'_>>, entry: &Entry<'_>) -> bool {
    match (named, &entry.sender) {
        (None, _) | (Some(Named { sender: Some(_), .. }), Claim::None) => true,
        (Some(named), _) => named.means(entry) != Some(false),
    }
}

/// Whether one of the given tokens is one of these. All pairs are compared, so the time doesn't depend on which of them
/// match.
fn matches_any(tokens: &[Secret], given: &[&str]) -> bool {
    let mut matches = false;
    for token in tokens {
        for given in given {
            matches |= token.matches(given);
        }
    }
    matches
}
