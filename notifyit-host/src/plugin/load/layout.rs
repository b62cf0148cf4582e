//! Why two layouts differ, in a few words: the whole report runs to more than a thousand lines.

use std::fmt;

use abi_stable::abi_stability::abi_checking::{
    AbiInstability, AbiInstabilityError, AbiInstabilityErrors, ExpectedFound,
};
use abi_stable::type_layout::TLFieldOrFunction;

/// The innermost of the first chain of errors: what contains a type that differs, differs too.
pub(super) fn first_cause(errors: &AbiInstabilityErrors) -> String {
    let mut found: Option<(&AbiInstabilityError, Vec<&str>)> = None;
    for error in errors.errors.iter().filter(|e| !e.errs.is_empty()) {
        let steps = error.stack_trace.iter().map(|step| step_name(&step.expected));
        // What is behind a reference is called `0`.
        let path: Vec<&str> = steps.filter(|name| !name.starts_with(|c: char| c.is_ascii_digit())).collect();
        if found.as_ref().is_none_or(|(_, outer)| path.len() >= outer.len() && path.starts_with(outer)) {
            found = Some((error, path));
        }
    }
    let Some((error, mut path)) = found else { return "no cause is given".to_owned() };
    path.dedup();
    let telling =
        error.errs.iter().find(|e| !matches!(e, AbiInstability::Size(_) | AbiInstability::Alignment(_)));
    let cause = telling.or(error.errs.first()).map(cause).unwrap_or_default();
    match error.stack_trace.last().map(|step| &step.expected) {
        _ if path.is_empty() => cause,
        Some(TLFieldOrFunction::Field(field)) => {
            format!("{} ({}): {cause}", path.join("."), field.full_type())
        }
        _ => format!("{}: {cause}", path.join(".")),
    }
}

fn step_name(step: &TLFieldOrFunction) -> &str {
    match step {
        TLFieldOrFunction::Field(field) => field.name().trim_end_matches([',', ':', ' ']),
        TLFieldOrFunction::Function(function) => function.name.as_str(),
    }
}

fn cause(error: &AbiInstability) -> String {
    use AbiInstability as A;
    fn both<T: fmt::Display>(what: &str, sides: &ExpectedFound<T>) -> String {
        format!("expected {what} {}, found {}", sides.expected, sides.found)
    }
    match error {
        A::Name(sides) => both("type", sides),
        A::Package(sides) => both("package", sides),
        A::PackageVersion(sides) => both("package version", sides),
        A::Size(sides) => both("size", sides),
        A::Alignment(sides) => both("alignment", sides),
        A::FieldCountMismatch(sides) => both("number of fields", sides),
        A::MismatchedPrefixSize(sides) => both("number of first fields", sides),
        A::TooManyVariants(sides) => both("number of variants", sides),
        A::UnexpectedVariant(sides) => both("variant", sides),
        A::UnexpectedField(sides) => {
            format!("expected field `{}`, found `{}`", sides.expected.name(), sides.found.name())
        }
        other => short(&format!("{other:?}")),
    }
}

/// The debug form of the rarer errors, without its line breaks and not at its full length.
fn short(text: &str) -> String {
    const LONGEST: usize = 160;
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= LONGEST { line } else { line.chars().take(LONGEST).chain(['…']).collect() }
}
