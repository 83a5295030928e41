//! Files of credentials in all their forms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use registry_auth::{
    CredentialSet, DockerConfig, EnvKeychain, Keychain, KubernetesKeychain, KubernetesSecret, Reference,
};

fuzz_target!(|bytes: &[u8]| {
    let image = Reference::parse("reg.example.com/team/app").expect("a name");
    if let Ok(config) = DockerConfig::from_json(bytes) {
        let _ = (config.find(image.repository()), format!("{config:?}"));
    }
    let _ = CredentialSet::from_dockercfg(bytes);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(keychain) = EnvKeychain::parse(text)
    {
        let _ = keychain.find(image.repository());
    }
    let secret = KubernetesSecret::new("s", "kubernetes.io/dockerconfigjson").with_data(".dockerconfigjson", bytes);
    if let Ok(keychain) = KubernetesKeychain::for_controller(&[], &[secret]) {
        let _ = keychain.find(image.repository());
    }
});
