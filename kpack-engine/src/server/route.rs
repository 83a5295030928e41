//! [`Route`]: what a path means.

use crate::{ApiError, Kind};

use super::versions::Version;

/// What a path means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/GROUP`
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`
    GroupVersion {
        group: String,
        version: String,
    },
    Version,
    /// `/healthz`, `/livez`, `/readyz`
    Health,
    /// `/openapi/v3` and below it.
    OpenApi(Vec<String>),
    /// `/openapi/v2`
    OpenApiV2,
    /// The definitions of custom kinds, of which there are none: kpack's kinds are built in.
    Definitions,
    /// A question about the caller: `selfsubjectaccessreviews` and its like.
    Review(String),
    /// One or all objects of a kind.
    Objects(Target),
}

/// Which objects of a kind a path means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: Kind,
    pub(super) version: Version,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Route {
    /// Reads the parts of a path.
    ///
    /// # Errors
    /// [`ApiError::NotServed`] for everything that is not served here.
    pub(super) fn of(path: &[String]) -> Result<Self, ApiError> {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["api"] => Ok(Self::CoreVersions),
            ["apis"] => Ok(Self::Groups),
            ["apis", group] => Ok(Self::Group((*group).to_owned())),
            ["api", version] => Ok(Self::GroupVersion {
                group: String::new(),
                version: (*version).to_owned(),
            }),
            ["apis", group, version] => Ok(Self::GroupVersion {
                group: (*group).to_owned(),
                version: (*version).to_owned(),
            }),
            ["version"] => Ok(Self::Version),
            ["healthz" | "livez" | "readyz", ..] => Ok(Self::Health),
            ["openapi", "v2"] => Ok(Self::OpenApiV2),
            // Clients look here before they say that a kind is not served.
            ["apis", "apiextensions.k8s.io", "v1", "customresourcedefinitions"] => Ok(Self::Definitions),
            ["openapi", "v3", rest @ ..] => Ok(Self::OpenApi(rest.iter().map(|part| (*part).to_owned()).collect())),
            ["apis", "authorization.k8s.io" | "authentication.k8s.io", "v1", review] => {
                Ok(Self::Review((*review).to_owned()))
            }
            ["api", version, rest @ ..] => target("", version, rest).map(Self::Objects),
            ["apis", group, version, rest @ ..] => target(group, version, rest).map(Self::Objects),
            _ => Err(ApiError::NotServed),
        }
    }
}

fn target(group: &str, version: &str, rest: &[&str]) -> Result<Target, ApiError> {
    let owned = |text: &str| Some(text.to_owned());
    // The sub resources of namespaces look like objects in a namespace.
    let (namespace, rest) = match rest {
        ["namespaces", _, "status" | "finalize"] | ["namespaces"] | ["namespaces", _] => (None, rest),
        ["namespaces", namespace, rest @ ..] => (owned(namespace), rest),
        rest => (None, rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, owned(name), None),
        [plural, name, subresource] => (*plural, owned(name), owned(subresource)),
        _ => return Err(ApiError::NotServed),
    };
    let kind = Kind::of_resource(group, plural).ok_or(ApiError::NotServed)?;
    let version = Version::of(kind, version).ok_or(ApiError::NotServed)?;
    let named_without_namespace = kind.is_namespaced() && namespace.is_none() && name.is_some();
    if named_without_namespace || (namespace.is_some() && !kind.is_namespaced()) {
        return Err(ApiError::NotServed);
    }
    Ok(Target {
        kind,
        version,
        namespace,
        name,
        subresource,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: &str) -> Option<Route> {
        Route::of(
            &path
                .split('/')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
        .ok()
    }

    fn objects(path: &str) -> Target {
        match route(path) {
            Some(Route::Objects(target)) => target,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn objects_are_found_with_and_without_namespace() {
        let target = objects("/apis/kpack.io/v1alpha2/namespaces/web/images/shop/status");
        assert_eq!((target.kind, target.namespace.as_deref()), (Kind::Image, Some("web")));
        assert_eq!(
            (target.name.as_deref(), target.subresource.as_deref()),
            (Some("shop"), Some("status"))
        );
        assert_eq!(objects("/api/v1/pods").kind, Kind::Pod);
        assert_eq!(objects("/apis/kpack.io/v1alpha1/images").version, Version::V1alpha1);
    }

    #[test]
    fn a_namespace_is_an_object_and_holds_objects() {
        assert_eq!(objects("/api/v1/namespaces/web").kind, Kind::Namespace);
        assert_eq!(objects("/api/v1/namespaces/web/status").kind, Kind::Namespace);
        assert_eq!(objects("/api/v1/namespaces/web/secrets").kind, Kind::Secret);
    }

    #[test]
    fn what_is_not_served_is_not_found() {
        for path in [
            "/",
            "/apis/apps/v1/deployments",
            "/api/v2/pods",
            "/api/v1/pods/x",
            "/api/v1/services",
            "/apis/kpack.io/v1alpha1/namespaces/web/buildpacks",
            "/apis/kpack.io/v1alpha2/namespaces/web/clusterstores",
            "/apis/kpack.io/v1alpha2/namespaces/web/images/a/b/c",
        ] {
            assert_eq!(route(path), None, "{path}");
        }
    }
}
