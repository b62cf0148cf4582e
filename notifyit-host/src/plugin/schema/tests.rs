#![expect(dead_code, reason = "what is read is not looked at")]

use std::collections::{BTreeMap, HashMap};
use std::num::{NonZeroI8, NonZeroU16};
use std::path::PathBuf;
use std::time::Duration;

use notifyit_plugin_api::{Config, config};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Deserializer};
use serde_json::{Number, json};

use super::*;

#[config]
struct Numbers {
    a: u8,
    b: Option<i16>,
    c: f32,
    d: Option<NonZeroU16>,
    e: Vec<NonZeroI8>,
    f: (u64, i64),
    g: Option<[u32; 2]>,
    h: u128,
}

#[config]
struct Texts {
    a: String,
    b: PathBuf,
    #[serde(default, alias = "x", alias = "y")]
    c: char,
    #[serde(rename = "one")]
    d: Option<bool>,
    e: BTreeMap<String, Part>,
    f: HashMap<u8, u8>,
    g: Option<Duration>,
}

#[config]
struct Part {
    a: Option<u8>,
    b: Option<Box<Part>>,
}

#[config]
struct Wrapped(Option<u8>);

#[config]
struct Nothing {}

#[config]
struct Unit;

#[config]
#[serde(rename_all = "snake_case")]
enum Outside {
    One,
    TwoTwo(Part),
    Three {
        a: u8,
        b: Part,
    },
    Four(u8, bool),
    #[serde(alias = "x")]
    Five(Unit),
    Six(Option<u8>),
}

#[config]
enum Plain {
    #[serde(rename = "one")]
    One,
    #[serde(rename = "two")]
    Two(Part),
}

#[config]
enum Units {
    #[serde(rename = "one")]
    One,
    #[serde(rename = "two")]
    Two,
}

#[config]
#[serde(tag = "a", rename_all = "lowercase", deny_unknown_fields)]
enum Inside {
    One,
    Two(Part),
    Three { b: Plain, c: Part },
    Four(Units),
}

#[config]
#[serde(tag = "a", content = "b", rename_all = "lowercase")]
enum Beside {
    One,
    Two(Part),
    Three { a: u8, c: Option<Part> },
}

#[config]
#[serde(untagged)]
enum Untagged {
    One(u8),
    Two(Part),
    Three { c: Units },
    Four(Unit),
    Five(Vec<Untagged>),
}

#[config]
struct Flat {
    d: u8,
    #[serde(flatten)]
    part: Inside,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[config]
struct FlatOption {
    #[serde(flatten)]
    part: Option<Plain>,
    #[serde(flatten)]
    more: Beside,
    c: Nothing,
}

#[config]
#[serde(default)]
struct Defaults {
    a: u8,
    b: String,
    c: Option<Box<Defaults>>,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults { a: 7, b: "x".to_owned(), c: None }
    }
}

fn seconds<'de, D: Deserializer<'de>>(text: D) -> Result<Duration, D::Error> {
    u8::deserialize(text).map(|seconds| Duration::from_secs(seconds.into()))
}

#[derive(Deserialize)]
struct Foreign {
    a: u8,
}

#[config]
#[serde(try_from = "Untagged")]
struct Tried;

impl TryFrom<Untagged> for Tried {
    type Error = String;

    fn try_from(_: Untagged) -> Result<Tried, String> {
        Ok(Tried)
    }
}

#[config]
struct All {
    #[serde(deserialize_with = "seconds")]
    a: Duration,
    b: Option<Foreign>,
    c: Option<Wrapped>,
    x: Option<Tried>,
    y: Option<Outside>,
    one: Option<Units>,
    two: Option<Box<Untagged>>,
    three: Option<Defaults>,
    #[serde(skip)]
    four: u8,
    five: Option<Unit>,
    six: Result<u8, String>,
}

#[config]
struct Of<T> {
    a: T,
    b: Option<T>,
    c: Vec<T>,
}

const WORDS: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "x", "y", "one", "two", "three", "Ok"];
const MORE: [&str; 6] = ["two_two", "four", "five", "six", "secs", "nanos"];

fn word() -> impl Strategy<Value = String> {
    let words: Vec<&str> = WORDS.into_iter().chain(MORE).chain(["3", "One", "Err", "Two"]).collect();
    prop::sample::select(words).prop_map(str::to_owned)
}

fn any_value() -> impl Strategy<Value = Value> {
    let number = prop::sample::select(vec![0, 1, 2, 3, 255, 256, -1, -128, -129, 70_000, i64::MAX]);
    let leaf = prop_oneof![
        number.prop_map(Value::from),
        word().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec![1.0, 1.5, -0.0]).prop_map(|n| Number::from_f64(n).unwrap().into()),
        Just(Value::Null),
        Just(json!(u64::MAX)),
        Just(json!({})),
        Just(json!([])),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => prop::collection::btree_map(word(), inner, 0..7)
                .prop_map(|table| Value::Object(table.into_iter().collect())),
        ]
    })
}

/// What serde takes of random values is rarely more than an empty table, so the value is bent to the schema half-way.
fn bent(root: &Value, schema: &Value, value: Value, depth: usize) -> Value {
    let Some(schema) = schema.as_object().and_then(|schema| resolved(root, schema)) else { return value };
    if depth > 6 {
        return value;
    }
    let choices = ["anyOf", "oneOf", "allOf"].map(|key| list(schema, key)).concat();
    let seed = value.to_string().len();
    let is_bent = !seed.is_multiple_of(11);
    let listed = [list(schema, "enum"), schema.get("const").map_or(&[], std::slice::from_ref)].concat();
    let value = match choices.as_slice() {
        [] => value,
        choices => bent(root, &choices[seed % choices.len()], value, depth + 1),
    };
    if !listed.is_empty() && is_bent {
        return listed[seed % listed.len()].clone();
    }
    let is = |name: &str| {
        schema
            .get("type")
            .is_some_and(|is| is == name || is.as_array().is_some_and(|all| all.contains(&name.into())))
    };
    match value {
        Value::Object(mut table) => {
            let none = Map::new();
            let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
            if is("object") && choices.is_empty() && is_bent {
                table.retain(|key, _| properties.contains_key(key) || properties.is_empty());
            }
            if is("object") && is_bent {
                for (key, _) in
                    properties.iter().filter(|(key, _)| seed.is_multiple_of(3) || is_required(schema, key))
                {
                    table.entry(key).or_insert(json!(seed % 4));
                }
            }
            let others = schema.get("additionalProperties").unwrap_or(&Value::Null);
            let bend = |(key, value)| {
                let value = bent(root, properties.get(&key).unwrap_or(others), value, depth + 1);
                (key, value)
            };
            Value::Object(table.into_iter().map(bend).collect())
        }
        Value::Array(values) => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            Value::Array(values.into_iter().map(|value| bent(root, items, value, depth + 1)).collect())
        }
        _ if is("object") && is_bent => bent(root, &Value::Object(schema.clone()), json!({}), depth + 1),
        value if schema.contains_key("prefixItems") && is_bent => list(schema, "prefixItems")
            .iter()
            .map(|item| bent(root, item, value.clone(), depth + 1))
            .collect(),
        value if is("array") && is_bent => {
            bent(root, &Value::Object(schema.clone()), json!([value]), depth + 1)
        }
        _ if is("string") && is_bent => json!("a"),
        _ if (is("integer") || is("number")) && is_bent => json!(seed % 9),
        value => value,
    }
}

fn is_required(schema: &Map<String, Value>, key: &str) -> bool {
    list(schema, "required").iter().any(|required| required == key)
}

type Tries = fn(&[Value]) -> usize;

/// How many of these values serde takes.
fn never_refused<T: Config>(values: &[Value]) -> usize {
    let schema = T::schema().unwrap();
    let mut taken = 0;
    for value in values {
        for value in [value.clone(), bent(&schema, &schema, value.clone(), 0)] {
            if T::from_json(&value.to_string()).is_ok() {
                taken += 1;
                let mut check =
                    Check { root: &schema, path: Vec::new(), is_open: false, depth: 0, wrong: Vec::new() };
                check.value(&schema, &value);
                assert_eq!(check.wrong, [], "{value} against {schema:#}");
            }
        }
    }
    taken
}

#[test]
fn whatever_serde_takes_is_allowed() {
    let kinds: [(&str, Tries); 18] = [
        ("Numbers", never_refused::<Numbers>),
        ("Texts", never_refused::<Texts>),
        ("Part", never_refused::<Part>),
        ("Wrapped", never_refused::<Wrapped>),
        ("Nothing", never_refused::<Nothing>),
        ("Unit", never_refused::<Unit>),
        ("Outside", never_refused::<Outside>),
        ("Plain", never_refused::<Plain>),
        ("Units", never_refused::<Units>),
        ("Inside", never_refused::<Inside>),
        ("Beside", never_refused::<Beside>),
        ("Untagged", never_refused::<Untagged>),
        ("Flat", never_refused::<Flat>),
        ("FlatOption", never_refused::<FlatOption>),
        ("Defaults", never_refused::<Defaults>),
        ("Tried", never_refused::<Tried>),
        ("All", never_refused::<All>),
        ("Of", never_refused::<Of<Part>>),
    ];
    let mut taken = BTreeMap::new();
    let mut runner = TestRunner::default();
    let values = prop::collection::vec(any_value(), 50);
    for _ in 0..100 {
        let values = values.new_tree(&mut runner).unwrap().current();
        for (name, never_refused) in kinds {
            *taken.entry(name).or_insert(0) += never_refused(&values);
        }
    }
    for (name, _) in kinds {
        assert!(taken[name] > 20, "serde took next to nothing of {name}: {taken:?}");
    }
}

#[test]
fn what_serde_takes_beside_what_the_schema_says_is_allowed() {
    fn is_allowed<T: Config>(value: Value) {
        assert!(T::from_json(&value.to_string()).is_ok(), "{value}");
        never_refused::<T>(&[value]);
    }
    is_allowed::<Part>(json!([1, null]));
    is_allowed::<Units>(json!({ "one": null }));
    is_allowed::<Texts>(json!({ "a": "", "b": "", "y": "c", "e": {}, "f": { "3": 4 } }));
    is_allowed::<Inside>(json!({ "a": "four", "two": null }));
    is_allowed::<Flat>(json!({ "a": 0, "d": 2, "more": true }));
    is_allowed::<Outside>(json!({ "x": null }));
}

/// What is wrong with this, a line each: where, and what.
fn told<T: Config>(config: Value) -> Vec<String> {
    let Value::Object(table) = &config else { panic!("{config} is no table") };
    let wrong = wrong(&T::schema().unwrap(), table);
    if !wrong.is_empty() {
        assert!(T::from_json(&config.to_string()).is_err(), "serde takes {config}");
    }
    let step = |step: &Step| match step {
        Step::Key(key) => key.clone(),
        Step::Index(index) => index.to_string(),
    };
    let place = |path: &[Step]| path.iter().map(step).collect::<Vec<_>>().join(".");
    wrong.into_iter().map(|wrong| format!("{}: {}", place(&wrong.path), wrong.message)).collect()
}

#[config]
struct Example {
    count: u8,
    name: Option<String>,
    ratio: Option<f64>,
    parts: Option<Vec<Part>>,
    mode: Option<Plain>,
    kind: Option<Inside>,
    either: Option<Untagged>,
    flags: Option<BTreeMap<String, bool>>,
}

#[test]
fn what_is_wrong_is_told_with_what_is_expected() {
    let told_of = |key: &str, value: Value| {
        let mut config = json!({ "count": 1 });
        config[key] = value;
        let told = told::<Example>(config);
        assert_eq!(told.len(), 1, "{told:?}");
        told.into_iter().next().unwrap()
    };
    for (key, value, expected) in [
        ("count", json!(256), "count: found the integer 256, expected an integer from 0 to 255"),
        ("count", json!(1.0), "count: found the number 1.0, expected an integer from 0 to 255"),
        ("name", json!(5), "name: found the integer 5, expected a string"),
        ("ratio", json!("5"), "ratio: found the string \"5\", expected a number"),
        ("parts", json!({}), "parts: found a table, expected an array of tables"),
        (
            "parts",
            json!([{}, { "a": "x" }]),
            "parts.1.a: found the string \"x\", expected an integer from 0 to 255",
        ),
        ("parts", json!([{ "c": 1 }]), "parts.0.c: unknown key `c`, expected one of `a`, `b`"),
        (
            "parts",
            json!([{ "b": { "b": { "c": 1 } } }]),
            "parts.0.b.b.c: unknown key `c`, expected one of `a`, `b`",
        ),
        ("flags", json!({ "x": 1 }), "flags.x: found the integer 1, expected a boolean"),
        (
            "nmae",
            json!(""),
            "nmae: unknown key `nmae`, expected one of `count`, `either`, `flags`, `kind`, `mode`, `name`, `parts`, `ratio`",
        ),
        ("kind", json!({ "a": "three", "b": "one" }), "kind: missing key `c`, expected a table"),
        (
            "kind",
            json!({ "a": "six" }),
            "kind.a: found the string \"six\", expected `one`, `two`, `three` or `four`",
        ),
        ("kind", json!({}), "kind: missing key `a`, expected `one`, `two`, `three` or `four`"),
        ("kind", json!(1), "kind: found the integer 1, expected a table with `a`"),
    ] {
        assert_eq!(told_of(key, value), expected);
    }
    let expected = "parts: found the string \"xx\", expected an array of tables";
    assert_eq!(told_of("parts", json!("xx")), expected);
    assert_eq!(told::<Example>(json!({})), [": missing key `count`, expected an integer from 0 to 255"]);
    assert_eq!(
        told::<Example>(json!({ "count": 1, "either": { "x": 1 } })),
        [""; 0],
        "serde has read ahead there"
    );
    assert_eq!(told::<()>(json!({ "x": 1 })), ["x: unknown key `x`, expected none"]);
    let long = told_of("count", "x".repeat(99).into());
    assert_eq!(
        long,
        format!("count: found the string \"{}\"…, expected an integer from 0 to 255", "x".repeat(60))
    );
}

#[test]
fn of_a_variant_its_own_faults_are_told() {
    let mode = |value: Value| told::<Example>(json!({ "count": 1, "mode": value }));
    let expected = "mode.two.c: unknown key `c`, expected one of `a`, `b`";
    assert_eq!(mode(json!({ "two": { "c": 1 } })), [expected]);
    assert_eq!(mode(json!("one")), [""; 0]);
    let expected = "mode: found the string \"none\", expected `one` or a table with `two`";
    assert_eq!(mode(json!("none")), [expected]);
}

#[test]
fn what_is_not_understood_passes() {
    let table = json!({ "a": 1 });
    for schema in [
        json!(true),
        json!(null),
        json!({ "type": "new" }),
        json!({ "properties": 5, "required": "a", "type": 5, "enum": {}, "anyOf": 1 }),
        json!({ "$ref": "#/$defs/none" }),
        json!({ "$ref": "http://elsewhere" }),
        json!({ "$ref": "#" }),
        json!({ "properties": { "a": { "not": {}, "multipleOf": 2, "pattern": "x" } } }),
    ] {
        assert_eq!(wrong(&schema, table.as_object().unwrap()), [], "{schema}");
    }
}
