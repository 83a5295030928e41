//! How blobs are sent.

use std::{
    io::{self, Read},
    sync::Arc,
    time::SystemTime,
};

use http::{
    Request, Response, StatusCode, Uri,
    header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE},
};
use registry_auth::{Digest, Repository, Scope, ScopeSet};

use crate::{
    answer,
    begun_uploads::Begun,
    blob::build,
    body::{AnswerBody, Body},
    error::{Operation, Reason, RegistryError},
    location,
    progress::Progress,
    session::{Call, Session},
};

const BYTES: &str = "application/octet-stream";

/// Asks whether a blob is there; returns its size if the registry tells it, and 0 if it does not.
///
/// A registry may lead elsewhere without a look at its storage, so that only the place at the end knows.
pub(crate) fn exists(session: &Session, call: &Call<'_>, digest: &Digest) -> Result<Option<u64>, RegistryError> {
    session.run(
        call,
        |root| build(Request::head(root.address(call.repository, &format!("blobs/{digest}"))?).body(Body::empty())),
        |_, answer| match answer.status() {
            StatusCode::OK => Ok(Some(answer::content_length(answer.headers()).unwrap_or(0))),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(answer::failure(answer)),
        },
    )
}

/// Starts an upload and returns where it goes on.
pub(crate) fn start(session: &Session, call: &Call<'_>) -> Result<Uri, RegistryError> {
    if let Some(begun) = session
        .uploads
        .take(session.http.policy().clock.now(), call.repository, None)
    {
        return Ok(begun.address);
    }
    session.run(
        call,
        |root| build(Request::post(root.address(call.repository, "blobs/uploads/")?).body(Body::empty())),
        |address, answer| match answer.status() {
            StatusCode::ACCEPTED => next(address, &answer),
            _ => Err(answer::failure(answer)),
        },
    )
}

/// Finds where an upload goes on.
fn next(address: &Uri, answer: &Response<AnswerBody>) -> Result<Uri, Reason> {
    let target = answer.headers().get(LOCATION).and_then(|target| target.to_str().ok());
    let target = target.ok_or_else(|| Reason::Answer("an upload has no Location".to_owned()))?;
    location::follow(address, target)
}

/// How large a blob may be that is sent along with the request that starts its upload, to find out whether the
/// registry takes it that way. One that does not only gets so many bytes twice.
const TRIAL: u64 = 64 << 10;

/// Gives the bytes of a blob from the start.
pub(crate) type Open<'a> = dyn FnMut() -> io::Result<Box<dyn Read + Send>> + 'a;

/// Brings a blob to a repository with as few requests as possible, as often as the policy allows.
///
/// One that is `probably_new` is asked for by the request that starts its upload.
pub(crate) fn whole(
    session: &Session,
    call: &Call<'_>,
    digest: &Digest,
    size: u64,
    open: &mut Open<'_>,
    probably_new: bool,
) -> Result<(), RegistryError> {
    let repository = call.repository;
    let now = || session.http.policy().clock.now();
    let mut attempts = session.attempts(call);
    let mut known = match look(session, call, digest, probably_new)? {
        Known::Brought => return Ok(()),
        Known::There(there) => Some(there),
        Known::Unknown => None,
    };
    loop {
        let begun = session.uploads.take(now(), repository, Some(digest));
        // After a refused mount the blob may still be there: not every registry mounts. After a break this also tells
        // whether the blob did arrive, and whether the token still counts.
        let there = match known.take() {
            Some(there) => there,
            None => exists(session, call, digest)?.is_some(),
        };
        if there {
            if let Some(begun) = begun {
                session.uploads.keep(repository, begun);
            }
            session.facts.note(now(), repository, digest, true);
            session.terms.tell(Progress::Present { repository, digest });
            return Ok(());
        }
        let sent = match begun {
            Some(begun) => close(session, call, &begun.address, digest, size, open),
            None => send(session, call, digest, size, open),
        };
        match sent {
            Ok(()) => {
                session.facts.note(now(), repository, digest, true);
                return Ok(());
            }
            Err(error) if !session.again(call, &mut attempts, &error) => return Err(error),
            Err(_) => {}
        }
    }
}

/// What is known of a blob before it is asked for.
enum Known {
    /// It is there now, and whoever listens has heard of it.
    Brought,
    There(bool),
    Unknown,
}

/// Finds out what is known of a blob, and mounts it from where it is known to be.
fn look(session: &Session, call: &Call<'_>, digest: &Digest, probably_new: bool) -> Result<Known, RegistryError> {
    let (repository, now) = (call.repository, session.http.policy().clock.now());
    if let Some(there) = session.facts.holds(now, repository, digest) {
        return Ok(Known::There(there));
    }
    if let Some(from) = session.facts.elsewhere(now, repository, digest) {
        // Also where the blob is there already, this is the one request that it takes.
        return match mount(session, &from, repository, digest, call.until) {
            Ok(true) => Ok(Known::Brought),
            Err(error) if error.is_over() => Err(error),
            // The blob can still be sent.
            Ok(false) | Err(_) => Ok(Known::Unknown),
        };
    }
    if !probably_new {
        return Ok(Known::Unknown);
    }
    if mount(session, repository, repository, digest, call.until)? {
        return Ok(Known::Brought);
    }
    // A registry that does not know the question starts an upload all the same, or refuses.
    Ok(match session.uploads.has(repository, digest) {
        true => Known::There(false),
        false => Known::Unknown,
    })
}

/// Sends bytes as they come, in one request. Returns where the upload goes on.
pub(crate) fn stream(
    session: &Session,
    call: &Call<'_>,
    upload: &Uri,
    bytes: Box<dyn Read + Send>,
) -> Result<Uri, RegistryError> {
    let mut bytes = Some(bytes);
    session.run(
        &call.once(),
        |_| {
            let request = Request::patch(upload.clone()).header(CONTENT_TYPE, BYTES);
            // It is made a second time only after a challenge.
            build(request.body(Body::streamed(bytes.take().ok_or(Reason::Expired)?)))
        },
        |address, answer| match answer.status() {
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT => next(address, &answer),
            _ => Err(answer::failure(answer)),
        },
    )
}

/// Starts an upload and closes it: in one request where the registry takes that, else in two.
fn send(
    session: &Session,
    call: &Call<'_>,
    digest: &Digest,
    size: u64,
    open: &mut Open<'_>,
) -> Result<(), RegistryError> {
    let registry = call.repository.registry();
    let takes_whole = session.takes_whole(registry);
    let upload = if takes_whole.unwrap_or(size <= TRIAL) {
        let begun = at_once(session, call, digest, size, open);
        match begun {
            Ok(begun) => {
                session.note_takes_whole(registry, begun.is_none());
                match begun {
                    None => return Ok(()),
                    Some(upload) => upload,
                }
            }
            // A registry that stumbles over it is asked in the usual way.
            Err(error) if matches!(error.status(), Some(405 | 411 | 413 | 415 | 501)) => {
                session.note_takes_whole(registry, false);
                start(session, call)?
            }
            Err(error) => {
                // Whatever it was, the next attempt is the usual one.
                if takes_whole.is_none() && error.is_retryable() {
                    session.note_takes_whole(registry, false);
                }
                return Err(error);
            }
        }
    } else {
        start(session, call)?
    };
    close(session, call, &upload, digest, size, open)
}

/// Sends a blob with the request that starts its upload; gives the upload when the registry only began one.
fn at_once(
    session: &Session,
    call: &Call<'_>,
    digest: &Digest,
    size: u64,
    open: &mut Open<'_>,
) -> Result<Option<Uri>, RegistryError> {
    session.run(
        &call.once(),
        |root| {
            let address = root.address(call.repository, "blobs/uploads/")?;
            let body = body(session, call, digest, size, open)?;
            build(
                Request::post(closing(&address, digest)?)
                    .header(CONTENT_TYPE, BYTES)
                    .body(body),
            )
        },
        |address, answer| match answer.status() {
            StatusCode::CREATED => Ok(None),
            StatusCode::ACCEPTED => next(address, &answer).map(Some),
            _ => Err(answer::failure(answer)),
        },
    )
}

/// Closes an upload with its last bytes, all of them if there were none before.
fn close(
    session: &Session,
    call: &Call<'_>,
    upload: &Uri,
    digest: &Digest,
    size: u64,
    open: &mut Open<'_>,
) -> Result<(), RegistryError> {
    session.run(
        &call.once(),
        |_| {
            let body = body(session, call, digest, size, open)?;
            build(
                Request::put(closing(upload, digest)?)
                    .header(CONTENT_TYPE, BYTES)
                    .body(body),
            )
        },
        |_, answer| match answer.status() {
            // Anything else is no word that the blob is there, whatever it is.
            StatusCode::CREATED => Ok(()),
            _ => Err(answer::failure(answer)),
        },
    )
}

/// Opens a blob to be sent; whoever listens hears how far it is.
fn body(session: &Session, call: &Call<'_>, digest: &Digest, size: u64, open: &mut Open<'_>) -> Result<Body, Reason> {
    let reader = open().map_err(Reason::Local)?;
    let Some(listener) = session.terms.listener.clone() else {
        return Ok(Body::sized(size, reader));
    };
    let (repository, digest) = (call.repository.clone(), digest.clone());
    Ok(Body::sized(
        size,
        Told::new(reader, move |bytes| {
            listener(Progress::Sent {
                repository: &repository,
                digest: Some(&digest),
                bytes,
                size: Some(size),
            });
        }),
    ))
}

/// Tells how many bytes were read.
pub(crate) struct Told<R, F> {
    reader: R,
    bytes: u64,
    tell: F,
}

impl<R: Read, F: FnMut(u64)> Told<R, F> {
    pub(crate) fn new(reader: R, tell: F) -> Self {
        let bytes = 0;
        Self { reader, bytes, tell }
    }
}

impl<R: Read, F: FnMut(u64)> Read for Told<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes += count as u64;
        if count > 0 {
            (self.tell)(self.bytes);
        }
        Ok(count)
    }
}

fn closing(upload: &Uri, digest: &Digest) -> Result<Uri, Reason> {
    let address = location::with_parameter(upload, "digest", digest.as_str());
    address.ok_or_else(|| Reason::Answer("an upload's Location is no address".to_owned()))
}

/// Sends one part of an upload that holds `start` bytes already; returns where it goes on.
///
/// After a break the registry is asked how far it got.
pub(crate) fn part(
    session: &Session,
    call: &Call<'_>,
    upload: &Uri,
    start: u64,
    bytes: &Arc<Vec<u8>>,
    last: Option<&Digest>,
) -> Result<Uri, RegistryError> {
    let mut attempts = session.attempts(call);
    let (mut upload, mut done) = (upload.clone(), 0);
    loop {
        let body = || Body::shared(bytes, done);
        let error = match send_part(session, call, &upload, start + done as u64, &body, last) {
            Ok(next) => return Ok(next),
            Err(error) => error,
        };
        if !session.again(call, &mut attempts, &error) {
            return Err(error);
        }
        if let Some(digest) = last
            && exists(session, call, digest)?.is_some()
        {
            return Ok(upload);
        }
        let held;
        (upload, held) = progress(session, call, &upload)?;
        let known = held.checked_sub(start).and_then(|known| usize::try_from(known).ok());
        done = match known {
            Some(known) if known <= bytes.len() => known,
            // Bytes are missing that are here no more, or there are some that were never sent.
            _ => return Err(error),
        };
    }
}

fn send_part(
    session: &Session,
    call: &Call<'_>,
    upload: &Uri,
    start: u64,
    body: &dyn Fn() -> Body,
    last: Option<&Digest>,
) -> Result<Uri, RegistryError> {
    session.run(
        &call.once(),
        |_| {
            let request = match last {
                Some(digest) => Request::put(closing(upload, digest)?),
                None => Request::patch(upload.clone()),
            };
            let mut request = request.header(CONTENT_TYPE, BYTES);
            let body = body();
            if let Some(size @ 1..) = body.size() {
                request = request.header(CONTENT_RANGE, format!("{start}-{}", start + size - 1));
            }
            build(request.body(body))
        },
        |address, answer| match (answer.status(), last) {
            (StatusCode::CREATED, Some(_)) => Ok(upload.clone()),
            (StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT, None) => next(address, &answer),
            _ => Err(answer::failure(answer)),
        },
    )
}

/// Asks how many bytes an upload holds, and where it goes on.
fn progress(session: &Session, call: &Call<'_>, upload: &Uri) -> Result<(Uri, u64), RegistryError> {
    session.run(
        call,
        |_| build(Request::get(upload.clone()).body(Body::empty())),
        |address, answer| match answer.status() {
            StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::ACCEPTED => {
                let range = answer.headers().get(RANGE).and_then(|range| range.to_str().ok());
                let end = range.and_then(|range| range.rsplit('-').next()?.parse::<u64>().ok());
                // An upload without a byte is written `0-0`, as one with a single byte is; the latter is not made here.
                let held = end.map_or(0, |end| if end == 0 { 0 } else { end.saturating_add(1) });
                Ok((next(address, &answer).unwrap_or_else(|_| upload.clone()), held))
            }
            _ => Err(answer::failure(answer)),
        },
    )
}

/// Asks the registry to make a blob of `from` one of `to`; `false` if it does not.
pub(crate) fn mount(
    session: &Session,
    from: &Repository,
    to: &Repository,
    digest: &Digest,
    until: Option<SystemTime>,
) -> Result<bool, RegistryError> {
    if from.registry() != to.registry() {
        return Ok(false);
    }
    let scopes: ScopeSet = [Scope::push(to), Scope::pull(from)].into_iter().collect();
    let mut call = session.call(to, Operation::MountBlob(digest.clone(), from.clone()), scopes);
    call.until = until.or(call.until);
    let now = session.http.policy().clock.now();
    let started = session.run(
        &call,
        |root| {
            let address = root.address(to, "blobs/uploads/")?;
            let address = location::with_parameter(&address, "mount", digest.as_str())
                .and_then(|address| location::with_parameter(&address, "from", from.path()));
            let address = address.ok_or_else(|| Reason::Answer("a repository is no part of an address".to_owned()))?;
            build(Request::post(address).body(Body::empty()))
        },
        |address, answer| match answer.status() {
            StatusCode::CREATED => Ok(None),
            StatusCode::ACCEPTED => next(address, &answer).map(Some),
            _ => Err(answer::failure(answer)),
        },
    );
    match started {
        Ok(None) => {
            session.facts.note(now, to, digest, true);
            let repository = to;
            session.terms.tell(match from == to {
                true => Progress::Present { repository, digest },
                false => Progress::Mounted {
                    repository,
                    digest,
                    from,
                },
            });
            Ok(true)
        }
        Ok(Some(address)) => {
            // The registry has begun an upload instead, which the next one continues.
            let digest = digest.clone();
            session.uploads.keep(
                to,
                Begun {
                    digest,
                    address,
                    at: now,
                },
            );
            Ok(false)
        }
        // Not allowed to read there, or mounts are not known here: the blob can still be sent.
        Err(error) if error.status().is_some_and(|status| (400..500).contains(&status)) && !error.is_retryable() => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Gives up an upload; it does no harm if that fails.
pub(crate) fn cancel(session: &Session, call: &Call<'_>, upload: &Uri) {
    let cancelled = session.run(
        &call.once(),
        |_| build(Request::delete(upload.clone()).body(Body::empty())),
        |_, answer| {
            drop(answer::failure(answer));
            Ok(())
        },
    );
    drop(cancelled);
}
