//! Many sources, looked at again and again, for the cost of one listing a repository.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use registry_auth::Digest;
use sha2::{Digest as _, Sha256};

use super::{
    keychain::GitCredential,
    mirror::{Mirror, Question, Server},
    protocol::ListedRef,
    resolve::{ResolveError, candidates, is_commit_id, is_name, pick, resolved},
    source::{GitSource, ResolvedGit, RevisionKind},
    transport::{Remote, TransportError},
    url::GitUrl,
};
use crate::{access::Access, sub_path::SubPath};

/// Resolves many sources, of which those of one repository share a listing and a mirror of its trees.
///
/// However many images are of one repository, it is listed once a period: the first that asks pays. A commit that
/// was seen before costs nothing more; a new one costs its trees, which all images of the repository share, too.
/// Sources with different credentials share nothing.
///
/// # Examples
/// ```no_run
/// use std::time::{Duration, Instant};
/// use registry_client::{Http, HttpPolicy};
/// use source_fetch::{Access, GitSource, Resolver};
///
/// let access = Access::new(Http::new(&HttpPolicy::default())?);
/// let resolver = Resolver::new("/var/lib/app/mirrors".into(), Duration::from_secs(60));
/// for image in 0..1000 {
///     let source = GitSource::new("https://git.example.com/team/mono", "main").with_sub_path(format!("apps/{image}"));
///     println!("{:?}", resolver.resolve(&source, &access, Instant::now())?.tree);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Resolver {
    mirrors: PathBuf,
    period: Duration,
    repositories: Mutex<HashMap<String, Shared>>,
}

type Shared = Arc<Mutex<State>>;

/// What is known of one repository, for one credential.
#[derive(Debug, Default)]
struct State {
    /// A connection that can be asked again.
    remote: Option<Remote>,
    listing: Option<Listing>,
    /// The revisions that somebody asked about in this period and in the last one, which the next listing will answer
    /// all at once.
    revisions: [BTreeSet<String>; 2],
    /// How often a listing of this period did not answer.
    misses: usize,
    /// How deep the sub paths are that somebody asked about.
    depth: usize,
    answers: HashMap<Asked, Option<String>>,
}

/// A commit, a sub path, and patterns of paths.
type Asked = (String, String, Vec<String>, Vec<String>);

#[derive(Debug)]
struct Listing {
    at: Instant,
    outcome: Result<Vec<ListedRef>, Arc<TransportError>>,
    /// The revisions that it answers; `None` for all.
    revisions: Option<BTreeSet<String>>,
}

/// More revisions than this are asked about by listing everything.
const MAX_REVISIONS: usize = 256;
/// The first period, in which revisions become known one by one, is cut short by listing everything.
const MAX_MISSES: usize = 3;
/// So many answers are remembered for a repository.
const MAX_ANSWERS: usize = 16_384;
/// Repositories that are remembered.
const MAX_REPOSITORIES: usize = 10_000;
/// A failure is remembered for this part of a period.
const FAILURE: u32 = 4;

impl Resolver {
    /// Makes a resolver that keeps the trees of repositories in directories beneath `mirrors`, which is made when it
    /// does not exist, and looks at each repository at most once a `period`.
    pub fn new(mirrors: PathBuf, period: Duration) -> Self {
        Self {
            mirrors,
            period,
            repositories: Mutex::default(),
        }
    }

    /// Finds what `source` is, with the tree of its sub path or of the paths that count.
    ///
    /// `now` is the time at which it is asked: a listing that is less than a period older answers, too. Calls for
    /// one repository wait for each other; those for different ones don't.
    ///
    /// # Errors
    /// As [`resolve_git`](crate::resolve_git). A failure answers all that ask within a quarter of the period.
    pub fn resolve(&self, source: &GitSource, access: &Access, now: Instant) -> Result<ResolvedGit, ResolveError> {
        let url: GitUrl = source.url().parse()?;
        let sub_path: SubPath = source.sub_path().parse().unwrap_or_default();
        let needs_tree = !sub_path.is_root() || !source.paths().is_everything();
        if is_commit_id(source.revision()) && !needs_tree {
            return Ok(resolved(source, source.revision(), RevisionKind::Commit));
        }
        let key = key(&url, access);
        let shared = self.shared(&key);
        let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
        // What others ask for counts as their time.
        let access = &access.started();
        let mut found = if is_commit_id(source.revision()) || !is_name(source.revision()) {
            resolved(source, source.revision(), RevisionKind::Commit)
        } else {
            state.listed(source, &url, access, now, self.period)?
        };
        if !needs_tree || !is_commit_id(&found.revision) {
            return Ok(found);
        }
        state.depth = state.depth.max(sub_path.parts().count());
        let asked = (
            found.revision.clone(),
            sub_path.to_string(),
            source.paths().include().to_vec(),
            source.paths().exclude().to_vec(),
        );
        if let Some(answer) = state.answers.get(&asked) {
            found.tree.clone_from(answer);
            return Ok(found);
        }
        let mirror = Mirror::new(self.mirrors.join(&key));
        let question = Question {
            sub_path: &sub_path,
            paths: source.paths(),
            depth: state.depth,
        };
        let mut server = Server {
            remote: state.remote.take(),
            connect: &|| Remote::connect(&url, access),
        };
        let answer = mirror.answer(
            &found.revision,
            &question,
            &access.limits,
            &url.to_string(),
            &mut server,
        );
        state.remote = server.remote;
        found.tree = answer?;
        if state.answers.len() == MAX_ANSWERS {
            state.answers.clear();
        }
        state.answers.insert(asked, found.tree.clone());
        Ok(found)
    }

    /// Forgets when the repository was listed, so that the next question is answered by the server: somebody said that
    /// it has changed.
    pub fn forget(&self, url: &GitUrl, access: &Access) {
        let shared = self.shared(&key(url, access));
        shared.lock().unwrap_or_else(PoisonError::into_inner).listing = None;
    }

    fn shared(&self, key: &str) -> Shared {
        let mut repositories = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        if repositories.len() >= MAX_REPOSITORIES && !repositories.contains_key(key) {
            // Those that somebody is asking about now are kept.
            repositories.retain(|_, shared| Arc::strong_count(shared) > 1);
        }
        Arc::clone(repositories.entry(key.to_owned()).or_default())
    }
}

impl State {
    fn listed(
        &mut self,
        source: &GitSource,
        url: &GitUrl,
        access: &Access,
        now: Instant,
        period: Duration,
    ) -> Result<ResolvedGit, ResolveError> {
        let revision = source.revision();
        let answers = |listing: &Listing| {
            let age = now.saturating_duration_since(listing.at);
            let fresh_for = if listing.outcome.is_ok() {
                period
            } else {
                period / FAILURE
            };
            let covers = |revisions: &BTreeSet<String>| listing.outcome.is_err() || revisions.contains(revision);
            age < fresh_for && listing.revisions.as_ref().is_none_or(covers)
        };
        self.revisions[0].insert(revision.to_owned());
        if !self.listing.as_ref().is_some_and(answers) {
            let age = |listing: &Listing| now.saturating_duration_since(listing.at);
            let is_old = self.listing.as_ref().is_none_or(|listing| age(listing) >= period);
            self.misses = if is_old { 0 } else { self.misses + 1 };
            let revisions: BTreeSet<_> = self.revisions.iter().flatten().cloned().collect();
            let is_bounded = revisions.len() <= MAX_REVISIONS && self.misses <= MAX_MISSES;
            let revisions = is_bounded.then_some(revisions);
            if is_old {
                // Those that nobody asks about any more drop out of the listings.
                self.revisions[1] = std::mem::replace(&mut self.revisions[0], BTreeSet::from([revision.to_owned()]));
            }
            let outcome = self.list(revisions.as_ref(), url, access).map_err(Arc::new);
            self.listing = Some(Listing {
                at: now,
                outcome,
                revisions,
            });
        }
        let refs = match self.listing.as_ref().map(|listing| &listing.outcome) {
            Some(Ok(refs)) => refs.as_slice(),
            Some(Err(error)) => return Err(ResolveError::Shared(Arc::clone(error))),
            None => &[],
        };
        Ok(match pick(refs, revision) {
            Some((id, kind)) => resolved(source, id, kind),
            // Nobody knows yet what the names of a repository without any ref will mean.
            None if refs.is_empty() => resolved(source, revision, RevisionKind::Unknown),
            None => resolved(source, revision, RevisionKind::Commit),
        })
    }

    /// Asks over the connection that is there, else over a new one.
    fn list(
        &mut self,
        revisions: Option<&BTreeSet<String>>,
        url: &GitUrl,
        access: &Access,
    ) -> Result<Vec<ListedRef>, TransportError> {
        let everything = || vec!["HEAD".to_owned(), "refs/".to_owned()];
        let prefixes = match revisions {
            Some(revisions) => revisions.iter().flat_map(|revision| candidates(revision)).collect(),
            None => everything(),
        };
        let limits = &access.limits;
        // A server that was fine a period ago may want another greeting now.
        let again = self
            .remote
            .as_mut()
            .and_then(|remote| remote.list(&prefixes, limits).ok());
        let mut refs = match again {
            Some(refs) => refs,
            None => self
                .remote
                .insert(Remote::connect(url, access)?)
                .list(&prefixes, limits)?,
        };
        if let Some(remote) = self.remote.as_mut().filter(|_| refs.is_empty() && revisions.is_some()) {
            refs = remote.list(&everything(), limits)?;
        }
        if !self.remote.as_ref().is_some_and(Remote::can_be_asked_again) {
            self.remote = None;
        }
        Ok(refs)
    }
}

/// Names a repository together with the credential that it is asked with; nothing can be read back from it.
fn key(url: &GitUrl, access: &Access) -> String {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    part(&url.to_string());
    if let Some((user, password)) = url.userinfo() {
        part(&user);
        part(&password);
    }
    match access.git.find(url) {
        Some((secret, GitCredential::Basic { user, password })) => {
            part(secret);
            part(user);
            part(password.expose());
        }
        Some((
            secret,
            GitCredential::SshKey {
                private_key,
                known_hosts,
            },
        )) => {
            part(secret);
            part(private_key.expose());
            part(known_hosts);
        }
        None => {}
    }
    Digest::from_sha256_bytes(hash.finalize().into()).hex().to_owned()
}
