//! What can only be tested with everything together: see the folder `tests`.
//!
//! Here: the examples of all pages for readers, which must compile and run as they stand.
#![forbid(unsafe_code)]

/// Makes the Rust examples of a page tests.
macro_rules! pages {
    ($($name:ident = $path:literal),* $(,)?) => {$(
        #[cfg(doctest)]
        #[doc = include_str!($path)]
        pub mod $name {}
    )*};
}

pages! {
    readme = "../../README.md",
    contributing = "../../CONTRIBUTING.md",
    architecture = "../../ARCHITECTURE.md",
    registry_auth = "../../registry-auth/README.md",
    registry_client = "../../registry-client/README.md",
    cnb_order = "../../cnb-order/README.md",
    cnb_detect = "../../cnb-detect/README.md",
    cnb_build = "../../cnb-build/README.md",
    cnb_layers = "../../cnb-layers/README.md",
    source_fetch = "../../source-fetch/README.md",
    rebuild_policy = "../../rebuild-policy/README.md",
    kpack_engine = "../../kpack-engine/README.md",
}
