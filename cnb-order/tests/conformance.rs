//! Rows of the conformance table (docs/conformance.md) that no recorded case shows.

use cnb_order::{
    ApiSet, ApiVersion, BuildpackDescriptor, DescriptorMap, Distro, Entry, ExtensionDescriptor, Group, Order,
    SystemBuildpacks, Target, expand, go_json_of,
};

fn modules() -> DescriptorMap {
    let mut map = DescriptorMap::new();
    let descriptor = |kind: &str, id: &str| format!("api = '0.10'\n[{kind}]\nid = '{id}'\nversion = 'v1'\n");
    for id in ["A", "B"] {
        map.insert(BuildpackDescriptor::from_toml(&descriptor("buildpack", id), &[]).expect("it is fine"));
    }
    for id in ["C", "D"] {
        map.insert_extension(ExtensionDescriptor::from_toml(&descriptor("extension", id), &[]).expect("it is fine"));
    }
    map
}

fn group(entries: Vec<Entry>) -> Group {
    Group { entries }
}

fn expanded(order: &Order) -> Vec<String> {
    let groups = expand(order, &modules()).expect("nothing is missing");
    groups.iter().map(ToString::to_string).collect()
}

// row O9
#[test]
fn extensions_come_in_front_of_each_group_and_leave_the_order_as_it_was() {
    let order = Order {
        groups: vec![group(vec![Entry::new("A", "v1")]), group(vec![Entry::new("B", "v1")])],
        extensions: vec![
            group(vec![Entry::new("C", "v1").extension()]),
            group(vec![Entry::new("D", "v1").extension()]),
        ],
    };
    let before = order.clone();
    assert_eq!(
        expanded(&order),
        ["C@v1? A@v1", "D@v1? A@v1", "A@v1", "C@v1? B@v1", "D@v1? B@v1", "B@v1"]
    );
    assert_eq!(order, before);
}

// row O10
#[test]
fn without_extensions_the_order_is_as_written() {
    let order = Order {
        groups: vec![group(vec![Entry::new("A", "v1")])],
        extensions: Vec::new(),
    };
    assert_eq!(expanded(&order), ["A@v1"]);
}

// row S7
#[test]
fn system_buildpacks_are_left_out_whose_id_the_group_has() {
    let entries = |ids: &str| -> Vec<Entry> { ids.chars().map(|id| Entry::new(id.to_string(), "v1")).collect() };
    let around = |have: &str| {
        let system = SystemBuildpacks {
            pre: entries("123"),
            post: Vec::new(),
        };
        let (merged, before, _) = system.around(&group(entries(have)));
        let ids: String = merged.entries[..before]
            .iter()
            .map(|entry| entry.id.to_string())
            .collect();
        ids
    };
    assert_eq!(around("2"), "13");
    assert_eq!(around("123"), "");
    assert_eq!(around("9"), "123");
}

// rows T1 T2
#[test]
fn a_target_is_shown_as_json_without_what_it_does_not_say() {
    let mut target = Target {
        os: "some-os".to_owned(),
        arch: "some-arch".to_owned(),
        arch_variant: "some-arch-variant".to_owned(),
        distros: vec![Distro {
            name: "some-os-dist".to_owned(),
            version: "some-os-dist-version".to_owned(),
        }],
    };
    let json = |target: &Target| go_json_of(target).expect("it is plain data");
    assert_eq!(
        json(&target),
        r#"{"os":"some-os","arch":"some-arch","arch-variant":"some-arch-variant","distros":[{"name":"some-os-dist","version":"some-os-dist-version"}]}"#
    );
    target.distros.clear();
    assert_eq!(
        json(&target),
        r#"{"os":"some-os","arch":"some-arch","arch-variant":"some-arch-variant"}"#
    );
}

// rows A1 A2
#[test]
fn what_is_deprecated_must_be_a_supported_whole_major_version_or_below_one() {
    for deprecated in ["1.2", "0.4"] {
        let error = ApiSet::new(&["1.3"], &[deprecated]).expect_err("it cannot be deprecated");
        assert!(error.to_string().contains(deprecated), "{error}");
    }
}

// row A5
#[test]
fn versions_are_compared_number_by_number() {
    let version = |text: &str| text.parse::<ApiVersion>().expect("it is one");
    let less = ["0.2", "0.3", "0.4"].map(|other| version("0.3") < version(other));
    let at_least = ["0.2", "0.3", "0.4"].map(|other| version("0.3") >= version(other));
    assert_eq!((less, at_least), ([false, false, true], [true, true, false]));
}
