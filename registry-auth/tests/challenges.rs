//! Challenges against recorded readings.

use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
use registry_auth::Challenge;
use serde_json::{Value, json};

fn show(challenge: &Challenge) -> Value {
    json!({"scheme": challenge.scheme(), "parameters": challenge.parameters()})
}

#[test]
fn every_recorded_challenge_is_read_alike() {
    let document: Value = serde_json::from_str(include_str!("fixtures/auth/challenges.json")).expect("JSON");
    let mut wrong = Vec::new();
    for case in document["cases"].as_array().expect("there are cases") {
        let mut headers = HeaderMap::new();
        for line in case["headers"].as_array().expect("there are headers") {
            let line = line.as_str().expect("a text");
            if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
                headers.append(WWW_AUTHENTICATE, value);
            }
        }
        let all: Vec<_> = Challenge::all(&headers).iter().map(show).collect();
        let expected = case.get("all").cloned().unwrap_or_else(|| json!([]));
        if Value::from(all.clone()) != expected {
            wrong.push(format!("{}: {:?}, not {expected}", case["name"], all));
        }
        // Where nothing is understood the reference makes the whole line a scheme; here there is no challenge.
        let picked = Challenge::pick(&headers).map(|challenge| show(&challenge));
        match picked {
            Some(picked) if picked != case["picked"] => {
                wrong.push(format!("{}: picked {picked}, not {}", case["name"], case["picked"]));
            }
            None if expected != json!([]) => {
                wrong.push(format!("{}: picked none", case["name"]));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
