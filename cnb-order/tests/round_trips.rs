//! What is written is read back as the same, for every format that is written.

use cnb_order::{
    Analyzed, AnalyzedImage, AnalyzedRunImage, ApiVersion, DetectedGroup, Distro, Entry, Group, ModuleKind, Order,
    Plan, PlanEntry, Provider, Require, RunImage, RunInfo, TargetData, TomlTable, go_toml, parse_toml,
};
use proptest::prelude::*;
use toml::{Table, Value};

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,6}|[\\x00-\\x7f]{0,6}|[a-z/.-]{1,8}"
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        any::<f64>()
            .prop_filter("a number", |number| !number.is_nan())
            .prop_map(Value::Float),
        any::<bool>().prop_map(Value::Boolean),
        text().prop_map(Value::String),
        // A fraction of nothing is the same instant as none, and is read as none.
        "[0-9]{4}-0[1-9]-1[0-9](T0[0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{0,8}[1-9])?(Z|-0[0-9]:30)?)?|0[0-9]:30:00"
            .prop_map(|text| Value::Datetime(text.parse().expect("a date or time"))),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(text(), inner, 0..4).prop_map(|map| Value::Table(map.into_iter().collect())),
        ]
    })
}

fn table() -> impl Strategy<Value = Table> {
    prop::collection::btree_map(text(), value(), 0..4).prop_map(|map| map.into_iter().collect())
}

fn some<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(one, 0..3)
}

fn entry() -> impl Strategy<Value = Entry> {
    (text(), text()).prop_map(|(id, version)| Entry::new(id, version))
}

fn detected() -> impl Strategy<Value = DetectedGroup> {
    let entry = || (entry(), text(), text()).prop_map(|(entry, api, homepage)| Entry { api, homepage, ..entry });
    let extension = entry().prop_map(Entry::extension);
    (some(entry()), some(extension)).prop_map(|(buildpacks, extensions)| DetectedGroup { buildpacks, extensions })
}

fn plan() -> impl Strategy<Value = Plan> {
    let kind = any::<bool>().prop_map(|extension| {
        if extension {
            ModuleKind::Extension
        } else {
            ModuleKind::Buildpack
        }
    });
    let provider = (text(), text(), kind).prop_map(|(id, version, kind)| Provider {
        id: id.into(),
        version: version.into(),
        kind,
    });
    let require = (text(), text(), prop::option::of(table())).prop_map(|(name, version, metadata)| Require {
        name,
        version,
        metadata,
    });
    let entry = (some(provider), some(require)).prop_map(|(providers, requires)| PlanEntry { providers, requires });
    some(entry).prop_map(|entries| Plan { entries })
}

fn order() -> impl Strategy<Value = Order> {
    let optional = (entry(), any::<bool>()).prop_map(|(entry, optional)| Entry { optional, ..entry });
    let group = some(optional).prop_map(|entries| Group { entries });
    let extensions = some(entry().prop_map(Entry::extension)).prop_map(|entries| Group { entries });
    (some(group), some(extensions)).prop_map(|(groups, extensions)| Order { groups, extensions })
}

fn analyzed() -> impl Strategy<Value = Analyzed> {
    let image = || prop::option::of(text().prop_map(|reference| AnalyzedImage { reference }));
    let distro = prop::option::of((text(), text()).prop_map(|(name, version)| Distro { name, version }));
    let target = (text(), text(), text(), text(), distro).prop_map(|(id, os, arch, arch_variant, distro)| TargetData {
        id,
        os,
        arch,
        arch_variant,
        distro,
    });
    let run =
        (text(), text(), any::<bool>(), prop::option::of(target)).prop_map(|(reference, image, extend, target)| {
            AnalyzedRunImage {
                reference,
                image,
                extend,
                target,
            }
        });
    (image(), image(), prop::option::of(run)).prop_map(|(image, build_image, run_image)| Analyzed {
        image,
        build_image,
        run_image,
        metadata: None,
    })
}

macro_rules! survives {
    ($value:expr, $format:ty) => {{
        let text = $value.to_toml();
        let back = <$format>::from_toml(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&back, &$value, "{}", text);
    }};
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn free_form_data_survives(table in table()) {
        let text = go_toml(&TomlTable::from(&table));
        let back = parse_toml(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(back, table, "{}", text);
    }

    #[test]
    fn group_toml_survives(group in detected()) {
        survives!(group, DetectedGroup);
    }

    #[test]
    fn plan_toml_survives(plan in plan()) {
        survives!(plan, Plan);
    }

    #[test]
    fn order_toml_survives(order in order()) {
        survives!(order, Order);
    }

    #[test]
    fn run_toml_survives(images in some((text(), some(text())).prop_map(|(image, mirrors)| RunImage { image, mirrors }))) {
        survives!(RunInfo { images: images.clone() }, RunInfo);
    }

    #[test]
    fn analyzed_toml_survives(analyzed in analyzed()) {
        let text = analyzed.to_toml();
        let back = Analyzed::from_toml(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        // The metadata gets the parts that are always written.
        prop_assert_eq!(&Analyzed { metadata: None, ..back.clone() }, &analyzed);
        prop_assert_eq!(back.to_toml(), text);
    }

    #[test]
    fn api_versions_survive(major in any::<u64>(), minor in any::<u64>()) {
        let version = ApiVersion::new(major, minor);
        prop_assert_eq!(version.to_string().parse(), Ok(version));
    }
}
