//! The recorded termination messages.

mod fixture;

use rebuild_policy::{BuildMetadata, BuildpackMetadata, TerminationMessageError};
use serde_json::{Value, json};

fn cases() -> Vec<Value> {
    fixture::cases(include_str!("fixtures/resources/termination-message.json"))
}
#[test]
fn recorded_messages_decode_to_the_recorded_metadata() {
    for case in cases().iter().filter(|case| case.get("message").is_some()) {
        let decoded = BuildMetadata::from_termination_message(case["message"].as_str().unwrap());
        match case["expect"].get("metadata") {
            Some(expected) => assert_eq!(&serde_json::to_value(decoded.unwrap()).unwrap(), expected, "{case}"),
            None => assert!(decoded.is_err(), "{case}"),
        }
    }
}

// row 10.3/L29
#[test]
fn metadata_survives_encoding() {
    for case in cases().iter().filter(|case| case.get("metadata").is_some()) {
        let metadata: BuildMetadata = serde_json::from_value(case["metadata"].clone()).unwrap();
        let message = metadata.to_termination_message().unwrap();
        let again = BuildMetadata::from_termination_message(&message).unwrap();
        assert_eq!(serde_json::to_value(again).unwrap(), case["expect"]["decodesTo"]);
    }
}

// row 10.3/L30
#[test]
fn a_hundred_incompressible_buildpacks_do_not_fit() {
    let buildpacks = (0..100_u64)
        .map(|index| {
            let mut state = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let id = (0..64)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    char::from_digit((state >> 33) as u32 % 16, 16).unwrap()
                })
                .collect();
            BuildpackMetadata {
                id,
                version: "1".to_owned(),
                homepage: String::new(),
            }
        })
        .collect();
    let metadata = BuildMetadata {
        buildpacks,
        ..BuildMetadata::default()
    };
    assert!(matches!(
        metadata.to_termination_message(),
        Err(TerminationMessageError::TooLarge { .. })
    ));
}

#[test]
fn null_buildpacks_are_none() {
    assert_eq!(
        serde_json::from_value::<BuildMetadata>(json!({})).unwrap(),
        BuildMetadata::default()
    );
}
