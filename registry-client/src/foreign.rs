//! Blobs that a manifest says are elsewhere: foreign layers.

use http::{Request, StatusCode, Uri, header::RANGE};
use registry_auth::Origin;

use crate::{
    answer,
    blob::take,
    body::AnswerBody,
    error::{Reason, RegistryError},
    location,
    session::{Call, Session},
};

/// How many addresses of one blob are tried.
const MOST: usize = 8;

/// Takes the addresses of a descriptor apart; what is no address is left out, as none of them need be used.
pub(crate) fn addresses(urls: &[String]) -> Vec<Uri> {
    let parsed = urls.iter().filter_map(|url| url.parse().ok());
    parsed.filter(|url| Origin::of(url).is_ok()).take(MOST).collect()
}

/// Asks for a blob where a manifest says it is: with no credential, and only where a redirect of the registry might
/// lead, too.
pub(crate) fn request(
    session: &Session,
    call: &Call<'_>,
    address: &Uri,
    start: u64,
) -> Result<(AnswerBody, Option<u64>), RegistryError> {
    let registry = call.repository.registry();
    let scheme = session.scheme(call).map_err(|reason| call.error(reason))?;
    let base = format!("{scheme}://{registry}/v2/");
    location::follow(&base.parse().unwrap_or_default(), &address.to_string()).map_err(|reason| call.error(reason))?;
    let mut attempts = session.attempts(call);
    loop {
        let mut request = Request::get(address.clone());
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
        }
        let mut terms = session.request_terms(call);
        terms.led_by = Origin::of_registry(registry, scheme).ok();
        let request = request.extension(terms).body(());
        let request = request.map_err(|_| call.error(Reason::Answer("an address of the blob is none".to_owned())))?;
        let result = match session.http.send_following(request) {
            Ok(answer) if matches!(answer.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) => {
                take(address, answer, start)
            }
            Ok(answer) => Err(answer::failure(answer)),
            Err(error) => Err(Reason::Http(error)),
        };
        let error = match result {
            Ok(found) => return Ok(found),
            Err(reason) => call.error(reason),
        };
        if !session.again(call, &mut attempts, &error) {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_of_a_server_is_left_out() {
        let urls = [
            "https://a.test/x",
            "ftp://a.test/x",
            "https://me:pw@a.test/",
            "/x",
            "http://b.test/",
        ];
        let found = addresses(&urls.map(str::to_owned));
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["https://a.test/x", "http://b.test/"]);
    }
}
