//! Defaults and rules of kpack's own kinds, as kpack's webhooks apply them.

use super::request::Caller;
use super::shared::Shared;
use crate::{ApiError, Object};

/// What admission made of an object.
pub(super) struct Admitted {
    pub(super) object: Object,
    pub(super) warnings: Vec<String>,
}

/// Defaults and checks an object of kpack; objects of other kinds pass as they are.
pub(super) fn admit(
    _shared: &Shared,
    object: Object,
    _old: Option<&Object>,
    _caller: &Caller,
) -> Result<Admitted, ApiError> {
    if object.kind().is_kpack() && !object.as_value().is_object() {
        return Err(ApiError::bad_request("not an object"));
    }
    Ok(Admitted {
        object,
        warnings: Vec::new(),
    })
}
