//! Keys without a default. TOML has no null, so serializing the defaults leaves them out of the template.

use serde::de::value::Error;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

/// A commented line for each key of `C` that `defaults` lacks, such as `# limit = 1`: an example of its
/// type, or `...` if none of the simple types fits.
pub(super) fn lines<C: DeserializeOwned>(defaults: &Table) -> Vec<String> {
    let names = names::<C>()
        .iter()
        .filter(|name| !defaults.contains_key(**name));
    let line = |name: &&str| {
        let mut is_another_name = false;
        let mut fits = |value: &Value| {
            let mut tried = defaults.clone();
            tried.insert((*name).to_string(), value.clone());
            let read: Result<C, _> = tried.try_into();
            let error = read.as_ref().err();
            is_another_name |= error.is_some_and(|error| error.message().starts_with("duplicate"));
            read.is_ok()
        };
        let example = examples().into_iter().find(|value| fits(value));
        let example = example.map_or(String::from("..."), |value| value.to_string());
        (!is_another_name).then(|| format!("# {name} = {example}"))
    };
    names.filter_map(line).collect()
}

/// A value of each simple type. The integer comes first: a float key takes it too.
fn examples() -> [Value; 5] {
    [
        Value::Integer(1),
        Value::Float(0.5),
        Value::Boolean(true),
        Value::from("..."),
        Value::Array(Vec::new()),
    ]
}

/// Inserts `lines` after the plain keys of the table `name`, before its subtables.
pub(super) fn put(text: &str, name: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return text.to_owned();
    }
    let head = format!("[{name}]\n");
    let (before, keys) = match text.split_once(&head) {
        Some((before, keys)) => (before, keys),
        None => ("", text),
    };
    let plain = match keys.starts_with('[') {
        true => 0,
        false => keys.find("\n[").map_or(keys.len(), |end| end + 1),
    };
    let (plain, tables) = keys.split_at(plain);
    let (plain, gap) = match plain.strip_suffix("\n\n") {
        Some(plain) => (format!("{plain}\n"), "\n"),
        None => (plain.to_owned(), if tables.is_empty() { "" } else { "\n" }),
    };
    let lines = lines.join("\n");
    format!("{before}{head}{plain}{lines}\n{gap}{tables}")
}

/// The names of the fields of `C`, if it is a struct that serde reads field by field.
fn names<C: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // Always an error: `Names` has no values to give.
    let _ = C::deserialize(Names(&mut names));
    names
}

/// A deserializer without values, which records the fields that it is asked for.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        Err(Error::custom("there are no values"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Fields {
        given: u32,
        limit: Option<u64>,
        rate: Option<f64>,
        shuffle: Option<bool>,
        #[serde(rename = "corpus", alias = "text")]
        path: Option<PathBuf>,
        #[serde(alias = "classes")]
        labels: Vec<String>,
        shape: Option<Shape>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Shape {
        Round,
    }

    #[test]
    fn every_key_without_a_default_has_a_line_with_a_value_of_its_type() {
        let defaults = Table::try_from(Fields::default()).unwrap();
        let expected = [
            "# limit = 1",
            "# rate = 1",
            "# shuffle = true",
            "# corpus = \"...\"",
            "# shape = ...",
        ];
        let lines = lines::<Fields>(&defaults);
        // An alias of a key without a default cannot be told from a key.
        let lines = lines.iter().filter(|line| !line.starts_with("# text"));
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn lines_stand_among_the_plain_keys() {
        let lines = [String::from("# a = 1"), String::from("# b = 2")];
        for (text, expected) in [
            ("[t]\n", "[t]\n# a = 1\n# b = 2\n"),
            ("[t]\nc = 3\n", "[t]\nc = 3\n# a = 1\n# b = 2\n"),
            (
                "[t]\nc = 3\n\n[t.d]\ne = 4\n",
                "[t]\nc = 3\n# a = 1\n# b = 2\n\n[t.d]\ne = 4\n",
            ),
            ("[t.d]\ne = 4\n", "[t]\n# a = 1\n# b = 2\n\n[t.d]\ne = 4\n"),
        ] {
            assert_eq!(put(text, "t", &lines), expected, "{text}");
        }
        assert_eq!(put("[t]\n", "t", &[]), "[t]\n");
    }
}
