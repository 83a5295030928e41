//! Laws of names, scopes and parsers.

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Response, header::WWW_AUTHENTICATE};
use proptest::prelude::*;
use registry_auth::{
    Challenge, CredentialSet, Digest, DockerConfig, EnvKeychain, KubernetesKeychain, KubernetesSecret, LocalhostRule,
    Origin, ParseOptions, RealmPolicy, Reference, RegistryHost, Scope, ScopeSet, key_serves, parse_token,
};

/// Texts that look like names more often than not.
fn name_like() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => "(localhost|docker\\.io|index\\.docker\\.io|[a-zA-Z0-9.]{1,8}|\\[::1\\])?(:[0-9]{0,5})?/?[a-z0-9_./-]{0,12}(:[a-zA-Z0-9_.-]{0,6})?(@sha256:[0-9a-f]{64})?",
        // About as long as a name may be.
        1 => "(docker\\.io/)?(library/)?[a-z0-9_.-]{244,256}",
    ]
}

fn any_scope() -> impl Strategy<Value = Scope> {
    (
        "(repository|registry)",
        "[a-c](/[a-c])?",
        proptest::collection::vec("(pull|push|delete|\\*)", 0..3),
    )
        .prop_map(|(kind, name, actions)| format!("{kind}:{name}:{}", actions.join(",")).parse().expect("a scope"))
}

fn any_set() -> impl Strategy<Value = ScopeSet> {
    proptest::collection::vec(any_scope(), 0..5).prop_map(|scopes| scopes.into_iter().collect())
}

proptest! {
    #[test]
    fn the_printed_form_of_a_reference_reads_back_as_itself(text in name_like()) {
        for localhost in [LocalhostRule::Registry, LocalhostRule::DockerHub] {
            let options = ParseOptions { localhost, ..ParseOptions::default() };
            if let Ok(reference) = Reference::parse_with(&text, &options) {
                let printed = reference.to_string();
                prop_assert_eq!(reference.as_given(), &text);
                // A name on a registry without `.` and `:` needs its rule to be read again.
                let again = Reference::parse_with(&printed, &options);
                prop_assert_eq!(again.as_ref().map(ToString::to_string), Ok(printed));
                prop_assert_eq!(again.as_ref(), Ok(&reference));
            }
        }
    }

    #[test]
    fn what_is_read_strictly_is_read_the_same_weakly(text in name_like()) {
        if let Ok(strict) = Reference::parse_strict(&text) {
            prop_assert_eq!(Reference::parse(&text), Ok(strict));
        }
    }

    #[test]
    fn the_union_of_scopes_is_associative_commutative_and_idempotent(a in any_set(), b in any_set(), c in any_set()) {
        prop_assert_eq!(a.union(&b).union(&c), a.union(&b.union(&c)));
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.union(&a), a.clone());
        prop_assert!(a.union(&b).contains(&a) && a.union(&b).contains(&b));
        prop_assert_eq!(ScopeSet::parse(&a.to_string()), a);
    }

    #[test]
    fn a_digest_is_what_it_prints(hash in any::<[u8; 32]>()) {
        let digest = Digest::from_sha256_bytes(hash);
        prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,60}", more in name_like()) {
        for text in [&text, &more] {
            let _ = Reference::parse(text);
            let _ = Reference::parse_strict(text);
            let _ = text.parse::<RegistryHost>().map(|host| (host.scheme(), Origin::of_registry(&host, host.scheme())));
            let _ = text.parse::<Digest>();
            let _ = Challenge::parse(text);
            let _ = ScopeSet::parse(text);
            let _ = EnvKeychain::parse(text);
            let _ = DockerConfig::from_json(text.as_bytes());
            let _ = CredentialSet::from_dockercfg(text.as_bytes());
            let _ = key_serves(text, "reg.io");
            if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                let mut headers = HeaderMap::new();
                headers.insert(WWW_AUTHENTICATE, value);
                let _ = Challenge::pick(&headers);
            }
            let registry = Origin::of(&"https://reg.example.com/".parse().expect("an address")).expect("an origin");
            let _ = registry.check_realm(text, &RealmPolicy::default());
        }
    }

    #[test]
    fn no_key_and_no_answer_makes_a_parser_panic(key in "[a-z*?\\[\\]^\\\\./:@-]{0,12}", auth in "[A-Za-z0-9=:+/\n-]{0,12}") {
        let config = serde_json::json!({"auths": {key: {"auth": auth}}, "token": auth, "expires_in": u64::MAX}).to_string();
        let _ = DockerConfig::from_json(config.as_bytes());
        let secret = KubernetesSecret::new("s", "kubernetes.io/dockerconfigjson").with_data(".dockerconfigjson", config.as_bytes());
        if let Ok(keychain) = KubernetesKeychain::for_controller(&[], &[secret]) {
            let _ = keychain.find_for_registry(&"reg.example.com".parse().expect("a registry"));
        }
        let registry = Origin::of(&"https://reg.example.com/".parse().expect("an address")).expect("an origin");
        let realm = registry.check_realm("https://reg.example.com/token", &RealmPolicy::default()).expect("its own realm");
        let _ = parse_token(&realm, &Response::new(config.into_bytes()), SystemTime::UNIX_EPOCH);
    }
}
