//! Opening base images, with patience.

use std::time::Duration;

use registry_auth::Reference;

use crate::phase::{Log, LogExt as _, with_causes};
use crate::{Image, ImageError, ImageSource, Platform};

/// Why a base image could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such image, or it has no layers.
    #[error("image has no layers")]
    NoLayers,
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ImageError),
}

/// How long to wait after each failed attempt.
const WAITS: [(u64, &str); 5] = [
    (100, "100ms"),
    (200, "200ms"),
    (500, "500ms"),
    (1000, "1s"),
    (2000, "2s"),
];

/// Opens an image that must be there and have layers.
pub(crate) fn open_once(
    reference: &Reference,
    source: &dyn ImageSource,
    platform: &Platform,
) -> Result<Image, OpenError> {
    let image = source.image(reference, platform)?;
    image
        .filter(|image| image.top_layer().is_some())
        .ok_or(OpenError::NoLayers)
}

/// Opens an image that must be there and have layers; tries again while it is not, because another
/// program may be pushing it right now.
pub(crate) fn open_base(
    reference: &Reference,
    source: &dyn ImageSource,
    platform: &Platform,
    wait: &dyn Fn(Duration),
    log: &dyn Log,
) -> Result<Image, OpenError> {
    let mut retries = 0;
    loop {
        let error = match open_once(reference, source, platform) {
            Ok(image) => {
                if retries > 0 {
                    log.info(format_args!("Successfully opened remote image after {retries} retries"));
                }
                return Ok(image);
            }
            Err(error @ OpenError::NoLayers) => error,
            // The store has tried again already where that may help.
            Err(error) => return Err(error),
        };
        let Some((millis, text)) = WAITS.get(retries) else {
            return Err(error);
        };
        retries += 1;
        log.warn(format_args!(
            "Failed to open remote image (attempt {retries}/6): {}, retrying in {text}",
            with_causes(&error)
        ));
        wait(Duration::from_millis(*millis));
    }
}
