//! Values as text, as Go's `fmt` prints them.

use toml::Value;
use toml::value::Offset;

use crate::go_float;

/// Writes a value as Go's default format does.
pub(crate) fn go_print(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => go_float(*number),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(time) => {
            let date = time
                .date
                .map_or_else(|| "0000-01-01".to_owned(), |date| date.to_string());
            let clock = time
                .time
                .map_or_else(|| "00:00:00".to_owned(), |clock| clock.to_string());
            let zone = match (time.offset, time.date, time.time) {
                (Some(Offset::Z), ..) => "+0000 UTC".to_owned(),
                (Some(offset), ..) => {
                    let offset = offset.to_string().replace(':', "");
                    format!("{offset} {offset}")
                }
                (None, Some(_), Some(_)) => "+0000 datetime-local".to_owned(),
                (None, Some(_), None) => "+0000 date-local".to_owned(),
                (None, None, _) => "+0000 time-local".to_owned(),
            };
            format!("{date} {clock} {zone}")
        }
        Value::Array(list) => format!("[{}]", list.iter().map(go_print).collect::<Vec<_>>().join(" ")),
        Value::Table(table) => {
            let fields: Vec<_> = table
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_print(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Fields, parse_toml};

    #[test]
    fn the_words_of_a_command_may_be_anything_but_it_is_a_text_or_a_list() {
        let text = "a = 'x y'\nb = ['x', 1, true, 1.5e7, [1, 2], {k = 'v'}, 2024-01-02]\nc = 1\n";
        let table = parse_toml(text).expect("it is TOML");
        let fields = Fields::of(&table, text);
        assert_eq!(fields.words("a"), Ok(Some(vec!["x y".to_owned()])));
        let words = fields.words("b").expect("a list").expect("it is there");
        let date = "2024-01-02 00:00:00 +0000 date-local";
        assert_eq!(words, ["x", "1", "true", "1.5e+07", "[1 2]", "map[k:v]", date]);
        assert_eq!(
            fields.words("c").unwrap_err().to_string(),
            "toml: line 3 (last key \"c\"): unknown command type int64"
        );
        assert_eq!(fields.words("d"), Ok(None));
    }
}
