//! The command's arguments and their placeholders. An argument stays one argument, whatever a file is named.
//!
//! Only `{word}` of lower-case letters is a placeholder, and not behind a `$`, so that `{print $1}`, `{"a":{"b":1}}` and
//! a script's `${name}` pass as they are; `{{word}}` stands for a literal `{word}`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use notifyit_plugin_api::{Event, Result};

use crate::{Mode, wrong};

/// An argument: what stands there, and what is put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Fill(Placeholder),
}

/// What can be put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    File,
    Path,
    Name,
    Root,
    Relative,
    Dir,
    Stem,
    Ext,
    Watch,
    Kind,
    Id,
    Attempt,
    Size,
    Json,
}

const PLACEHOLDERS: [(&str, Placeholder); 14] = [
    ("file", Placeholder::File),
    ("path", Placeholder::Path),
    ("name", Placeholder::Name),
    ("root", Placeholder::Root),
    ("relative", Placeholder::Relative),
    ("dir", Placeholder::Dir),
    ("stem", Placeholder::Stem),
    ("ext", Placeholder::Ext),
    ("watch", Placeholder::Watch),
    ("kind", Placeholder::Kind),
    ("id", Placeholder::Id),
    ("attempt", Placeholder::Attempt),
    ("size", Placeholder::Size),
    ("json", Placeholder::Json),
];

/// The arguments behind the program, checked.
pub(crate) fn parse_all(command: &[String], mode: Mode) -> Result<Vec<Template>> {
    let refused = |text: std::fmt::Arguments<'_>| wrong("command", text);
    let Some((program, arguments)) = command.split_first().filter(|(program, _)| !program.is_empty()) else {
        return Err(refused(format_args!("names no program")));
    };
    if command.iter().any(|argument| argument.contains('\0')) {
        return Err(refused(format_args!("an argument cannot hold a NUL")));
    }
    // A program that a file's name chooses would be a way to run anything.
    if Template::parse(program)?.fills().next().is_some() {
        return Err(refused(format_args!("the program `{program}` cannot have a placeholder")));
    }
    let templates: Vec<Template> = arguments.iter().map(|a| Template::parse(a)).collect::<Result<_>>()?;
    let both = || arguments.iter().zip(&templates);
    if let Some((argument, _)) = both().find(|(_, t)| mode == Mode::Lines && t.fills().next().is_some()) {
        return Err(refused(format_args!(
            "`{argument}` has a placeholder, and with mode = \"lines\" the program is started before there is an event"
        )));
    }
    if let Some((script, _)) =
        both().nth(script_at(program, arguments)).filter(|(_, t)| t.fills().any(|p| !p.is_tame()))
    {
        return Err(refused(format_args!(
            "a file's name would be run as code in `{script}`; hand it over as an argument: \
             [\"{program}\", \"-c\", \"… \\\"$1\\\"\", \"{program}\", \"{{path}}\"]"
        )));
    }
    Ok(templates)
}

/// Which of the arguments is a shell's script, if one is.
fn script_at(program: &str, arguments: &[String]) -> usize {
    let name = program.rsplit('/').next().unwrap_or(program);
    let shell = ["sh", "ash", "bash", "dash", "fish", "ksh", "mksh", "zsh"].contains(&name);
    let option = |a: &String| a.starts_with('-') && !a.starts_with("--") && a.ends_with('c');
    arguments.iter().position(option).filter(|_| shell).map_or(usize::MAX, |at| at + 1)
}

impl Template {
    fn parse(text: &str) -> Result<Template> {
        let mut parts = Vec::new();
        let (mut plain, mut rest) = (String::new(), text);
        while let Some(at) = rest.find('{') {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(literal) = word(rest, "{{", "}}") {
                plain.push_str(&rest[1..literal.len() + 3]);
                rest = &rest[literal.len() + 4..];
            } else if let Some(name) = word(rest, "{", "}").filter(|_| !plain.ends_with('$')) {
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(Part::Fill(known(name)?));
                rest = &rest[name.len() + 2..];
            } else {
                plain.push('{');
                rest = &rest[1..];
            }
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        Ok(Template { parts })
    }

    fn fills(&self) -> impl Iterator<Item = Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            Part::Fill(placeholder) => Some(*placeholder),
            Part::Text(_) => None,
        })
    }

    /// Does it need the opened file?
    pub(crate) fn needs_file(&self) -> bool {
        self.fills().any(|placeholder| placeholder == Placeholder::File)
    }

    /// The argument for this event.
    pub(crate) fn fill(&self, event: &Event<'_>) -> OsString {
        let mut argument = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => argument.extend_from_slice(text.as_bytes()),
                Part::Fill(placeholder) => placeholder.append(event, &mut argument),
            }
        }
        OsString::from_vec(argument)
    }

    /// The argument of a template without placeholders.
    pub(crate) fn literal(&self) -> String {
        let text = |part: &Part| if let Part::Text(text) = part { text.clone() } else { String::new() };
        self.parts.iter().map(text).collect()
    }
}

impl Placeholder {
    /// Can nobody who names files choose what is put in?
    fn is_tame(self) -> bool {
        use Placeholder::{Attempt, File, Id, Kind, Size};
        matches!(self, File | Kind | Id | Attempt | Size)
    }

    fn append(self, event: &Event<'_>, argument: &mut Vec<u8>) {
        let name = std::path::Path::new(event.name());
        let mut put = |value: &OsStr| argument.extend_from_slice(value.as_bytes());
        match self {
            Placeholder::File => put(OsStr::new("/dev/fd/3")),
            Placeholder::Path => put(event.path().as_os_str()),
            Placeholder::Name => put(event.name()),
            Placeholder::Root => put(event.root().as_os_str()),
            Placeholder::Relative => put(event.relative().as_os_str()),
            Placeholder::Dir => put(event.path().parent().unwrap_or(event.root()).as_os_str()),
            Placeholder::Stem => put(name.file_stem().unwrap_or_default()),
            Placeholder::Ext => put(name.extension().unwrap_or_default()),
            Placeholder::Watch => put(OsStr::new(event.watch())),
            Placeholder::Kind => put(OsStr::new(&event.kind().to_string())),
            Placeholder::Id => put(OsStr::new(&format!("{:016x}", event.id()))),
            Placeholder::Attempt => put(OsStr::new(&event.attempt().to_string())),
            Placeholder::Size => put(OsStr::new(&event.size().to_string())),
            Placeholder::Json => put(OsStr::new(&event.to_json())),
        }
    }
}

/// The word of lower-case letters between `open` and `close` at the start of `text`.
fn word<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let inside = text.strip_prefix(open)?;
    let end = inside.find(|c: char| !c.is_ascii_lowercase())?;
    (end > 0 && inside[end..].starts_with(close)).then(|| &inside[..end])
}

fn known(name: &str) -> Result<Placeholder> {
    let found = PLACEHOLDERS.iter().find(|(known, _)| *known == name);
    found.map(|(_, placeholder)| *placeholder).ok_or_else(|| {
        let names: Vec<&str> = PLACEHOLDERS.iter().map(|(known, _)| *known).collect();
        wrong(
            "command",
            format_args!(
                "unknown placeholder {{{name}}}; known are {{{}}}; write {{{{{name}}}}} for a literal {{{name}}}",
                names.join("}, {")
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> String {
        let template = Template::parse(text).unwrap();
        assert_eq!(template.fills().count(), 0, "{text}");
        template.literal()
    }

    #[test]
    fn what_is_no_word_in_braces_passes_unharmed() {
        for text in [
            "",
            "{",
            "}",
            "{}",
            "{{}}",
            "{print $1}",
            r#"{"a":1}"#,
            r#"{"a":{"b":1}}"#,
            "${HOME}",
            "{a,b}",
            "{A}",
            "{a1}",
            "${name}",
            "{{",
            "x{path",
            "{ path }",
            "{{.Name}}",
            "ü{",
            "{é}",
        ] {
            assert_eq!(literal(text), text);
        }
    }

    #[test]
    fn doubled_braces_make_a_word_literal() {
        assert_eq!(literal("a{{path}}b"), "a{path}b");
        assert_eq!(literal("{{anything}}"), "{anything}");
        assert_eq!(literal("{{{name}}}"), "{{name}}");
    }

    #[test]
    fn an_unknown_placeholder_is_refused_with_the_known_ones() {
        let error = Template::parse("x{pth}").unwrap_err().to_string();
        assert_eq!(
            error,
            "configuration: key `command`: unknown placeholder {pth}; known are {file}, {path}, {name}, {root}, {relative}, \
             {dir}, {stem}, {ext}, {watch}, {kind}, {id}, {attempt}, {size}, {json}; write {{pth}} for a literal {pth}"
        );
    }

    #[test]
    fn a_name_is_never_put_into_a_shells_script() {
        let parse = |command: &[&str]| {
            let command: Vec<String> = command.iter().map(|a| (*a).to_owned()).collect();
            parse_all(&command, Mode::Each).map(|_| ()).map_err(|e| e.to_string())
        };
        let error = parse(&["/bin/sh", "-ec", "cat {path}"]).unwrap_err();
        assert_eq!(
            error,
            "configuration: key `command`: a file's name would be run as code in `cat {path}`; hand it over as an \
             argument: [\"/bin/sh\", \"-c\", \"… \\\"$1\\\"\", \"/bin/sh\", \"{path}\"]"
        );
        assert_eq!(parse(&["sh", "-c", "cat {file} ${name}; echo {id}"]), Ok(()));
        assert_eq!(parse(&["sh", "-c", "cat \"$1\"", "sh", "{path}"]), Ok(()));
        assert_eq!(parse(&["sh", "{path}"]), Ok(()));
    }

    #[test]
    fn placeholders_are_found_anywhere_in_an_argument() {
        let template = Template::parse("{root}/{{out}}/{stem}.{ext}{").unwrap();
        let fills: Vec<Placeholder> = template.fills().collect();
        assert_eq!(fills, [Placeholder::Root, Placeholder::Stem, Placeholder::Ext]);
        assert_eq!(template.literal(), "/{out}/.{");
        assert!(!template.needs_file() && Template::parse("if={file}").unwrap().needs_file());
    }
}
