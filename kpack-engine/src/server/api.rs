//! [`Api`]: requests to answers, without a socket.

use http::{Method, header};
use serde_json::{Value, json};

use super::answer::Answer;
use super::call::Call;
use super::negotiate::{self, Form};
use super::pod_log;
use super::route::{Route, Target};
use super::table::{Include, Table, partial};
use super::{change, discovery, list, openapi, reviews, watch};
use crate::logs::LogStore;
use crate::store::{Caller, Clock, Store};
use crate::{ApiError, Object, Resources};

/// What answers need: the store, the logs, the time.
pub(super) struct Api {
    pub(super) store: Store,
    pub(super) logs: LogStore,
    pub(super) clock: Clock,
    /// The value of the `Authorization` header that is let in.
    pub(super) authorization: String,
    /// Host and port, as clients reach the server.
    pub(super) address: String,
}

impl Api {
    /// Answers a request.
    pub(super) fn handle(&self, call: &Call) -> Answer {
        let answer = Route::of(&call.path).and_then(|route| match route {
            // Whether the server lives is no secret.
            Route::Health => Ok(Answer::text("ok")),
            route => self
                .authenticate(call)
                .and_then(|caller| self.answer(call, route, &caller)),
        });
        answer.unwrap_or_else(|error| {
            if error.code() >= 500 {
                tracing::error!(method = %call.method, path = call.path.join("/"), %error, "request failed");
            }
            Answer::error(&error)
        })
    }

    fn authenticate(&self, call: &Call) -> Result<Caller, ApiError> {
        let given = call.header(header::AUTHORIZATION);
        if same_in_constant_time(given.as_bytes(), self.authorization.as_bytes()) {
            Ok(Caller::admin())
        } else {
            Err(ApiError::Unauthorized)
        }
    }

    fn answer(&self, call: &Call, route: Route, caller: &Caller) -> Result<Answer, ApiError> {
        match route {
            Route::Objects(target) => self.objects(call, &target, caller),
            Route::Review(review) => match call.method {
                Method::POST => {
                    let question = call.document()?.unwrap_or_default();
                    Ok(Answer::created(&reviews::answer(&review, &question, caller)?))
                }
                _ => Err(ApiError::MethodNotAllowed),
            },
            _ if call.method != Method::GET && call.method != Method::HEAD => Err(ApiError::MethodNotAllowed),
            Route::Health => Ok(Answer::text("ok")),
            Route::Version => Ok(Answer::json(&discovery::version())),
            Route::CoreVersions | Route::Groups if negotiate::wants_aggregated_discovery(call) => {
                let document = discovery::aggregated(route == Route::CoreVersions);
                Ok(Answer::json_as(&document, discovery::AGGREGATED))
            }
            Route::CoreVersions => Ok(Answer::json(&discovery::core_versions(&self.address))),
            Route::Groups => Ok(Answer::json(&discovery::groups())),
            Route::Group(group) => discovery::group(&group).map(|document| Answer::json(&document)),
            Route::GroupVersion { group, version } => {
                discovery::resource_list(&group, &version).map(|document| Answer::json(&document))
            }
            Route::OpenApiV2 => Ok(Answer::bytes(openapi::version_2(), openapi::V2_TYPE)),
            Route::Definitions => Ok(Answer::json(&json!({
                "kind": "CustomResourceDefinitionList",
                "apiVersion": "apiextensions.k8s.io/v1",
                "metadata": {"resourceVersion": "1"},
                "items": [],
            }))),
            Route::OpenApi(parts) => openapi::document(&parts).map(|document| Answer::json(&document)),
        }
    }

    fn objects(&self, call: &Call, target: &Target, caller: &Caller) -> Result<Answer, ApiError> {
        match (target.subresource.as_deref(), target.kind) {
            (None, _) => {}
            (Some("status"), kind) if kind.has_status() => {}
            (Some("log"), crate::Kind::Pod) if call.method == Method::GET => {
                return pod_log::answer(self, call, target);
            }
            // What real servers say to the sub resources that a kind does not have.
            (Some(_), kind) => {
                return Err(ApiError::NotFound {
                    kind,
                    name: target.name.clone().unwrap_or_default(),
                });
            }
        }
        match (&call.method, &target.name) {
            (&Method::GET | &Method::HEAD, None) if call.query.flag("watch") => watch::answer(self, call, target),
            (&Method::GET | &Method::HEAD, None) => list::answer(self, call, target),
            (&Method::GET | &Method::HEAD, Some(name)) => {
                let found = self.store.get(target.kind, target.namespace.as_deref(), name)?;
                let object = found.ok_or_else(|| ApiError::NotFound {
                    kind: target.kind,
                    name: name.clone(),
                })?;
                self.show(call, target, object)
            }
            (&Method::POST, None) => change::create(self, call, target, caller),
            (&Method::PUT, Some(name)) => change::replace(self, call, target, name, caller),
            (&Method::PATCH, Some(name)) => change::patch(self, call, target, name, caller),
            (&Method::DELETE, Some(name)) => change::delete(self, call, target, name),
            (&Method::DELETE, None) => change::delete_all(self, call, target),
            _ => Err(ApiError::MethodNotAllowed),
        }
    }

    /// Shows one object in the form that the client wants.
    pub(super) fn show(&self, call: &Call, target: &Target, object: Object) -> Result<Answer, ApiError> {
        Ok(Answer::json(&match negotiate::form(call)? {
            Form::Objects => target.version.show(object)?,
            Form::Metadata => partial(&object, "meta.k8s.io/v1"),
            Form::Table(api_version) => {
                let metadata = json!({"resourceVersion": version_text(&object)});
                self.table(call, target, api_version)?
                    .of(target.kind, vec![object], metadata, true)?
            }
        }))
    }

    pub(super) fn table(&self, call: &Call, target: &Target, api_version: &'static str) -> Result<Table, ApiError> {
        let include = Include::of(call.query.text("includeObject"))?;
        Ok(Table {
            api_version,
            version: target.version,
            include,
            now: (self.clock)(),
        })
    }
}

pub(super) fn version_text(object: &Object) -> Value {
    object.metadata().get("resourceVersion").cloned().unwrap_or_default()
}

/// Takes as long for a nearly right text as for a wrong one.
fn same_in_constant_time(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |found, (a, b)| found | (a ^ b));
    one.len() == other.len() && differences == 0
}
