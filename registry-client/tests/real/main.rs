//! The client against real servers: Debian's `docker-registry` in every way it can be set up, and `skopeo`.

mod image;
mod mirrors;
mod proxies;
mod registry;
mod skopeo;
mod tls;
mod tokens;
