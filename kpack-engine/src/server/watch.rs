//! Watches: one line of JSON for each change, until the client has enough.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::answer::{Answer, Sender};
use super::api::{Api, version_text};
use super::call::Call;
use super::list::selector;
use super::negotiate::{self, Form};
use super::route::Target;
use super::table::{Table, partial};
use super::versions::Version;
use crate::{ApiError, Kind, Object, ResourceVersion, Resources, Watch, WatchFilter};

/// How often an idle watch looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(500);

/// How long a watch lasts at most, and when no time is given: clients begin another one then.
const LONGEST: Duration = Duration::from_secs(3600);

/// How events are shown.
struct Show {
    kind: Kind,
    version: Version,
    form: Form,
    table: Option<Table>,
    columns_shown: bool,
}

/// Answers a watch request.
pub(super) fn answer(api: &Api, call: &Call, target: &Target) -> Result<Answer, ApiError> {
    let form = negotiate::form(call)?;
    let filter = WatchFilter {
        kinds: vec![target.kind],
        namespace: target.namespace.clone(),
        selector: selector(call, target)?,
    };
    let from = match call.query.text("resourceVersion") {
        "" | "0" => None,
        text => Some(text.parse::<ResourceVersion>().map_err(|_| {
            ApiError::bad_request(format!(
                "resourceVersion: Invalid value: {text:?}: must be a whole number"
            ))
        })?),
    };
    let initial_wanted = call.query.flag("sendInitialEvents");
    let list_version = api
        .store
        .list(target.kind, target.namespace.as_deref(), &filter.selector)?
        .resource_version;
    let timeout = call
        .query
        .number("timeoutSeconds")?
        .filter(|seconds| *seconds > 0)
        .map_or(LONGEST, |seconds| Duration::from_secs(seconds).min(LONGEST));
    let table = match form {
        Form::Table(api_version) => Some(api.table(call, target, api_version)?),
        _ => None,
    };
    let mut show = Show {
        kind: target.kind,
        version: target.version,
        form,
        table,
        columns_shown: false,
    };
    let watch = match api.store.watch(filter, from.filter(|_| !initial_wanted)) {
        Ok(watch) => watch,
        // A watch that cannot begin says so as its only event, as real servers do.
        Err(error @ ApiError::Expired { .. }) => {
            return Ok(Answer::stream("application/json", move |sender| {
                let _ = sender.blocking_send(line("ERROR", &error.status()));
            }));
        }
        Err(error) => return Err(error),
    };
    let clock = api.clock.clone();
    Ok(Answer::stream("application/json", move |sender| {
        let mark = initial_wanted.then_some(list_version);
        run(watch, &sender, timeout, mark, |change, object| {
            if let Some(table) = &mut show.table {
                table.now = clock();
            }
            show.line(change, object)
        });
    }))
}

/// `mark` asks for a bookmark after the objects that existed at the beginning.
fn run<F: FnMut(&str, Object) -> Result<Vec<u8>, ApiError>>(
    mut watch: Watch,
    sender: &Sender,
    timeout: Duration,
    mut mark: Option<ResourceVersion>,
    mut show: F,
) {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || sender.is_closed() {
            return;
        }
        let wait = if mark.is_some() { Duration::ZERO } else { left.min(LOOK) };
        let sent = match watch.recv_timeout(wait) {
            Some(event) => show(event.change.as_str(), event.object),
            None if let Some(error) = watch.ended() => {
                let _ = sender.blocking_send(line("ERROR", &error.status()));
                return;
            }
            None => match mark.take() {
                Some(version) => show("BOOKMARK", bookmark(version)),
                None => continue,
            },
        };
        let sent = sent.unwrap_or_else(|error| line("ERROR", &error.status()));
        if sender.blocking_send(sent).is_err() {
            return;
        }
    }
}

/// An object that carries nothing but a version, and says that the initial objects are all sent.
fn bookmark(version: ResourceVersion) -> Object {
    let mut object = Object::new(Kind::ConfigMap, None, "");
    object.metadata_mut().clear();
    object
        .metadata_mut()
        .insert("resourceVersion".to_owned(), json!(version.to_string()));
    object.set_annotation("k8s.io/initial-events-end", "true");
    object
}

impl Show {
    fn line(&mut self, change: &str, object: Object) -> Result<Vec<u8>, ApiError> {
        let bookmark = change == "BOOKMARK";
        let value = match (self.form, self.table) {
            (Form::Table(_), Some(table)) => {
                let metadata = json!({"resourceVersion": version_text(&object)});
                let first = !std::mem::replace(&mut self.columns_shown, true);
                let rows = if bookmark { Vec::new() } else { vec![object] };
                table.of(self.kind, rows, metadata, first)?
            }
            (Form::Metadata, _) => partial(&object, "meta.k8s.io/v1"),
            _ if bookmark => {
                let (kind, api_version) = (self.kind.name(), self.version.api_version(self.kind));
                json!({"kind": kind, "apiVersion": api_version, "metadata": object.metadata()})
            }
            _ => self.version.show(object)?,
        };
        Ok(line(change, &value))
    }
}

fn line(change: &str, object: &Value) -> Vec<u8> {
    let mut line = json!({"type": change, "object": object}).to_string().into_bytes();
    line.push(b'\n');
    line
}
