//! The spec of an Image, from flags and from what it was.

use anyhow::{anyhow, bail};
use registry_auth::Reference;
use serde_json::{Value, json};

use super::{Builders, Common, Removals};
use crate::arguments::given;

/// The spec of a new image.
pub(super) fn new_spec(tag: &str, builders: &Builders<'_>, flags: &Common, namespace: &str) -> anyhow::Result<Value> {
    if sources(flags) != 1 {
        bail!("image source must be one of git, blob, or local-path");
    }
    check(flags, builders)?;
    if let Ok(reference) = tag.parse::<Reference>() {
        for additional in flags
            .additional_tag
            .iter()
            .filter_map(|tag| tag.parse::<Reference>().ok())
        {
            let (expected, got) = (reference.registry(), additional.registry());
            if expected != got {
                bail!("all additional tags must have the same registry as tag. expected: {expected}, got: {got}");
            }
        }
    }
    let mut spec = json!({
        "tag": tag,
        "builder": builder(builders, namespace).unwrap_or_else(|| json!({"kind": "ClusterBuilder", "name": "default"})),
        "serviceAccountName": given(flags.service_account.as_ref()).unwrap_or("default"),
        "source": {},
        "build": {"resources": {}},
    });
    if !flags.additional_tag.is_empty() {
        spec["additionalTags"] = json!(flags.additional_tag);
    }
    set_source(&mut spec, flags)?;
    set_build(&mut spec, flags, &Removals::default())?;
    set_limits(&mut spec, flags)?;
    Ok(spec)
}

/// The image after a change.
pub(super) fn edited(
    existing: &Value,
    builders: &Builders<'_>,
    flags: &Common,
    removals: &Removals,
) -> anyhow::Result<Value> {
    if sources(flags) > 1 {
        bail!("image source must be one of git, blob, or local-path");
    }
    check(flags, builders)?;
    let mut image = existing.clone();
    let namespace = existing["metadata"]["namespace"].as_str().unwrap_or_default();
    let spec = &mut image["spec"];
    set_tags(spec, flags, removals)?;
    if let Some(builder) = builder(builders, namespace) {
        spec["builder"] = builder;
    }
    if let Some(account) = given(flags.service_account.as_ref()) {
        spec["serviceAccountName"] = json!(account);
    }
    set_source(spec, flags)?;
    set_build(spec, flags, removals)?;
    set_limits(spec, flags)?;
    Ok(image)
}

/// How many sources the flags name.
fn sources(flags: &Common) -> usize {
    let named = [&flags.git, &flags.blob, &flags.local_path];
    named.iter().filter(|source| given(source.as_ref()).is_some()).count()
}

fn check(flags: &Common, builders: &Builders<'_>) -> anyhow::Result<()> {
    let other = given(flags.blob.as_ref()).or_else(|| given(flags.local_path.as_ref()));
    if given(flags.git_revision.as_ref()).is_some() && other.is_some() {
        bail!("git-revision is incompatible with blob and local path image sources");
    }
    if builders.namespaced.is_some() && builders.cluster.is_some() {
        bail!("must provide one of builder or cluster-builder");
    }
    Ok(())
}

fn builder(builders: &Builders<'_>, namespace: &str) -> Option<Value> {
    match (builders.namespaced, builders.cluster) {
        (Some(name), _) => Some(json!({"kind": "Builder", "name": name, "namespace": namespace})),
        (None, Some(name)) => Some(json!({"kind": "ClusterBuilder", "name": name})),
        (None, None) => None,
    }
}

/// Makes an uploaded image the source.
pub(super) fn set_local_source(spec: &mut Value, image: &str) {
    if let Some(source) = spec["source"].as_object_mut() {
        source.remove("git");
        source.remove("blob");
        source.insert("registry".into(), json!({"image": image}));
    }
}

fn set_source(spec: &mut Value, flags: &Common) -> anyhow::Result<()> {
    let mut source = spec["source"].as_object().cloned().unwrap_or_default();
    let revision = given(flags.git_revision.as_ref());
    if let Some(url) = given(flags.git.as_ref()) {
        source.remove("blob");
        source.remove("registry");
        let mut git = source.get("git").cloned().unwrap_or_else(|| json!({}));
        git["url"] = json!(url);
        git["revision"] = json!(revision.unwrap_or("main"));
        source.insert("git".into(), git);
    } else if let Some(url) = given(flags.blob.as_ref()) {
        source.remove("git");
        source.remove("registry");
        source.insert("blob".into(), json!({"url": url}));
    } else if let Some(revision) = revision {
        let git = source.get_mut("git");
        git.ok_or_else(|| anyhow!("git-revision is incompatible with existing image source"))?["revision"] =
            json!(revision);
    }
    match flags.sub_path.as_deref() {
        Some("") => drop(source.remove("subPath")),
        Some(path) => drop(source.insert("subPath".into(), json!(path))),
        None => {}
    }
    spec["source"] = Value::Object(source);
    Ok(())
}

fn set_tags(spec: &mut Value, flags: &Common, removals: &Removals) -> anyhow::Result<()> {
    if !removals.replace_additional_tag.is_empty() {
        if !flags.additional_tag.is_empty() || !removals.delete_additional_tag.is_empty() {
            bail!("replace-additional-tag is not compatible with additional-tag and delete-additional-tag flag");
        }
        spec["additionalTags"] = json!(removals.replace_additional_tag);
        return Ok(());
    }
    let mut tags: Vec<String> = serde_json::from_value(spec["additionalTags"].clone()).unwrap_or_default();
    for tag in &removals.delete_additional_tag {
        let position = tags.iter().position(|other| other == tag);
        tags.remove(position.ok_or_else(|| {
            anyhow!("delete-additional-tag parameter '{tag}' not found in existing image additional tags")
        })?);
    }
    for tag in &flags.additional_tag {
        if removals.delete_additional_tag.contains(tag) {
            bail!("additional-tag and delete-additional-tag parameters contradict each other: '{tag}'");
        }
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    if tags.is_empty() {
        spec.as_object_mut().map(|spec| spec.remove("additionalTags"));
    } else {
        spec["additionalTags"] = json!(tags);
    }
    Ok(())
}

fn set_build(spec: &mut Value, flags: &Common, removals: &Removals) -> anyhow::Result<()> {
    let mut env: Vec<Value> = serde_json::from_value(spec["build"]["env"].clone()).unwrap_or_default();
    for name in &removals.delete_env {
        let position = env.iter().position(|entry| entry["name"] == name.as_str());
        env.remove(
            position
                .ok_or_else(|| anyhow!("delete-env parameter '{name}' not found in existing image configuration"))?,
        );
    }
    for pair in &flags.env {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| anyhow!("env vars are improperly formatted"))?;
        if removals.delete_env.iter().any(|deleted| deleted == name) {
            bail!("env and delete-env parameters contradict each other: '{name}'");
        }
        match env.iter_mut().find(|entry| entry["name"] == name) {
            Some(entry) => entry["value"] = json!(value),
            None => env.push(json!({"name": name, "value": value})),
        }
    }
    put_list(spec, "env", env);

    let mut services: Vec<Value> = serde_json::from_value(spec["build"]["services"].clone()).unwrap_or_default();
    for text in &removals.delete_service_binding {
        let binding = binding(text)?;
        services.retain(|service| service["name"] != binding["name"] || service["kind"] != binding["kind"]);
    }
    for text in &flags.service_binding {
        let binding = binding(text)?;
        if !services.contains(&binding) {
            services.push(binding);
        }
    }
    put_list(spec, "services", services);
    Ok(())
}

fn put_list(spec: &mut Value, field: &str, list: Vec<Value>) {
    if !list.is_empty() {
        spec["build"][field] = json!(list);
    } else if let Some(build) = spec["build"].as_object_mut() {
        build.remove(field);
    }
}

fn binding(text: &str) -> anyhow::Result<Value> {
    match text.split(':').collect::<Vec<_>>()[..] {
        [name] => Ok(json!({"kind": "Secret", "name": name})),
        [kind, version, name] => Ok(json!({"kind": kind, "apiVersion": version, "name": name})),
        _ => bail!("service bindings are improperly formatted"),
    }
}

fn set_limits(spec: &mut Value, flags: &Common) -> anyhow::Result<()> {
    if let Some(size) = given(flags.cache_size.as_ref()) {
        let quantity = size.parse::<rebuild_policy::Quantity>();
        let quantity = quantity.map_err(|_| anyhow!("invalid cache size, must be valid quantity ex. 2G"))?;
        if quantity <= rebuild_policy::Quantity::default() {
            bail!("cache size must be greater than 0");
        }
        let current = spec["cache"]["volume"]["size"]
            .as_str()
            .and_then(|text| text.parse::<rebuild_policy::Quantity>().ok());
        if let Some(current) = current.filter(|current| quantity < *current) {
            bail!("cache size cannot be decreased, current: {current}, requested: {quantity}");
        }
        spec["cache"]["volume"]["size"] = json!(quantity.to_string());
    }
    for (field, limit) in [
        ("successBuildHistoryLimit", &flags.success_build_history_limit),
        ("failedBuildHistoryLimit", &flags.failed_build_history_limit),
    ] {
        let Some(limit) = given(limit.as_ref()) else { continue };
        let limit = limit.parse::<i64>().ok().filter(|limit| *limit > 0);
        spec[field] = json!(limit.ok_or_else(|| anyhow!("must provide a valid build history limit > 0"))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        patch: super::super::Patch,
    }

    /// What `kp image patch app` with these flags makes of an image.
    fn patched(flags: &str) -> Result<Value, String> {
        let image = json!({
            "metadata": {"name": "app", "namespace": "shop"},
            "spec": {
                "tag": "reg.example/app", "additionalTags": ["reg.example/app:t"],
                "build": {"env": [{"name": "A", "value": "0"}]},
                "cache": {"volume": {"size": "2G"}},
            },
        });
        let line = ["kp", "app"].into_iter().chain(flags.split(' '));
        let Line { patch } = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        let builders = Builders {
            namespaced: None,
            cluster: None,
        };
        edited(&image, &builders, &patch.common, &patch.removals).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_set_and_deleted_at_once_is_refused_by_name() {
        for (flags, named) in [
            ("--env A=1 --delete-env A", "'A'"),
            ("--delete-env A --env B=1 --env A=", "'A'"),
            (
                "--additional-tag reg.example/app:t --delete-additional-tag reg.example/app:t",
                "'reg.example/app:t'",
            ),
        ] {
            let error = patched(flags).expect_err(flags);
            assert!(
                error.contains("contradict") && error.ends_with(named),
                "{flags}: {error}"
            );
        }
        let other = patched("--env B=1 --delete-env A --additional-tag reg.example/app:u");
        let other = other.expect("these are about different names");
        assert_eq!(other["spec"]["build"]["env"], json!([{"name": "B", "value": "1"}]));
    }

    #[test]
    fn a_flag_with_an_empty_value_changes_nothing_but_the_sub_path() {
        let flags = "--git= --git-revision= --blob= --local-path= --service-account= --cache-size= \
                     --success-build-history-limit= --failed-build-history-limit=";
        assert_eq!(
            patched(flags).expect(flags),
            patched("--sub-path=").expect("it is valid")
        );
        let image = patched("--git= --git-revision= --blob=reg.example/app.zip").expect("this is one source");
        assert_eq!(image["spec"]["source"], json!({"blob": {"url": "reg.example/app.zip"}}));
        let image = patched("--git=reg.example/app --git-revision=").expect("this is one source");
        assert_eq!(image["spec"]["source"]["git"]["revision"], "main");
        let image = patched("--sub-path=app --blob=x").expect("this is one source");
        assert_eq!(image["spec"]["source"]["subPath"], "app");
    }

    #[test]
    fn a_cache_size_is_stored_and_named_in_its_canonical_form() {
        for (flags, size) in [
            ("--cache-size 2000M", "2G"),
            ("--cache-size 3000M", "3G"),
            ("--cache-size 4096Mi", "4Gi"),
        ] {
            assert_eq!(patched(flags).expect(flags)["spec"]["cache"]["volume"]["size"], size);
        }
        let smaller = patched("--cache-size 1000M").expect_err("a cache never shrinks");
        assert_eq!(smaller, "cache size cannot be decreased, current: 2G, requested: 1G");
    }

    #[test]
    fn a_history_limit_is_any_whole_number_above_zero_that_the_api_can_hold() {
        let limits = "--success-build-history-limit 5000000000 --failed-build-history-limit 9223372036854775807";
        let image = patched(limits).expect("these are limits");
        assert_eq!(image["spec"]["successBuildHistoryLimit"], 5_000_000_000_i64);
        assert_eq!(image["spec"]["failedBuildHistoryLimit"], i64::MAX);
        for limit in ["0", "-1", "1.5", "9223372036854775808"] {
            let flags = format!("--success-build-history-limit={limit}");
            let error = patched(&flags).expect_err(limit);
            assert_eq!(error, "must provide a valid build history limit > 0");
        }
    }
}
