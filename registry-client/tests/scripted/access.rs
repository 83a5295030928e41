//! The access checks of kpack's steps, and what they say.

use crate::advisories::{ok, start, tagged};

// rows 10.4/A17 10.4/A18
#[test]
fn whoever_may_start_an_upload_may_write() {
    let (script, client, repository) = start(vec![(201, Vec::new(), Vec::new())]);
    client.check_write(&repository).expect("it is allowed");
    assert_eq!(script.seen().len(), 1);

    let (_, client, repository) = start(vec![(403, Vec::new(), Vec::new())]);
    let error = client.check_write(&repository).expect_err("it is forbidden");
    assert!(error.is_unauthorized());
    // What was done and where stands for the method and the url that the reference names.
    let expected = "cannot check write access (reg.example.com/team/app): the registry answered 403 Forbidden; \
                    the credentials do not allow this";
    assert_eq!(error.to_string(), expected);
}

// `GET /v2/` is not asked first, so the manifest's answer counts.
// row 10.4/A19
#[test]
fn whoever_gets_the_manifest_may_read() {
    let manifest = br#"{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}"#;
    let mut answer = ok(manifest);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    answer.1.push(("content-type", media_type.to_owned()));
    let (_, client, repository) = start(vec![answer]);
    client.check_read(&tagged(&repository)).expect("it is there");

    let body = br#"{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}"#;
    let (_, client, repository) = start(vec![(401, Vec::new(), body.to_vec()); 2]);
    let error = client.check_read(&tagged(&repository)).expect_err("it is refused");
    assert!(
        error.is_unauthorized() && error.to_string().contains("UNAUTHORIZED"),
        "{error}"
    );

    let (_, client, repository) = start(vec![(404, Vec::new(), Vec::new())]);
    let error = client.check_read(&tagged(&repository)).expect_err("it is not there");
    assert!(error.is_not_found(), "{error}");
    let expected = "cannot check read access to v1 (reg.example.com/team/app): the registry answered 404 Not Found";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn any_host_can_be_asked_for_its_repositories() {
    for host in ["MYREG", "myreg", "*", "-"] {
        let registry = host.parse().expect("a registry");
        let (script, client, _) = start(vec![ok(br#"{"repositories": ["team/app"]}"#)]);
        let found = client.repositories(&registry).expect("it answers");
        assert_eq!(found, ["team/app"]);
        let asked = script.origins();
        assert!(asked[0].contains(host), "{asked:?}");
    }
}

#[test]
fn what_is_refused_for_several_reasons_is_worth_another_try_only_if_all_of_them_may_pass() {
    for (codes, again) in [
        (r#"{"code": "TOOMANYREQUESTS"}, {"code": "UNKNOWN"}"#, true),
        (r#"{"code": "TOOMANYREQUESTS"}, {"code": "DENIED"}"#, false),
        ("", false),
    ] {
        let body = format!(r#"{{"errors": [{codes}]}}"#).into_bytes();
        let (_, client, repository) = start(vec![(400, Vec::new(), body); 20]);
        let error = client.check_read(&tagged(&repository)).expect_err("it is refused");
        assert_eq!(error.is_retryable(), again, "{codes}");
    }
}
