//! The event's one JSON form.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::Event;

impl Event<'_> {
    /// The event as one line of JSON, without a newline: the form that `print`, `exec` and every other output share.
    ///
    /// | key | value |
    /// |---|---|
    /// | `v` | 1, the version of this form |
    /// | `id` | 16 hexadecimal digits |
    /// | `kind`, `origin`, `watch` | text |
    /// | `attempt` | number, from 1 |
    /// | `emitted_by` | text, only of the kind `emitted` |
    /// | `path`, `root`, `relative`, `name`, `renamed_from` | text; what is not UTF-8 stands under `path_base64`, … instead |
    /// | `size`, `inode` | numbers; left out if the file was not there |
    /// | `modified`, `seen` | RFC 3339 in UTC with nanoseconds |
    /// | `directory` | `true`, only for directories |
    pub fn to_json(&self) -> String {
        let there = self.exists();
        let form = Json {
            v: 1,
            id: format!("{:016x}", self.id()),
            kind: self.kind().to_string(),
            origin: self.origin().to_string(),
            attempt: self.attempt(),
            watch: self.watch(),
            emitted_by: self.emitted_by(),
            path: text(self.path().as_os_str()),
            path_base64: base64(self.path().as_os_str()),
            root: text(self.root().as_os_str()),
            root_base64: base64(self.root().as_os_str()),
            relative: text(self.relative().as_os_str()),
            relative_base64: base64(self.relative().as_os_str()),
            name: text(self.name()),
            name_base64: base64(self.name()),
            renamed_from: self.renamed_from().and_then(|p| text(p.as_os_str())),
            renamed_from_base64: self.renamed_from().and_then(|p| base64(p.as_os_str())),
            size: there.then(|| self.size()),
            inode: there.then(|| self.inode()),
            modified: self.modified().and_then(rfc3339),
            seen: rfc3339(self.seen()),
            directory: self.is_directory(),
        };
        serde_json::to_string(&form).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Json<'a> {
    v: u32,
    id: String,
    kind: String,
    origin: String,
    attempt: u32,
    watch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    emitted_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renamed_from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renamed_from_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    directory: bool,
}

fn text(value: &OsStr) -> Option<&str> {
    value.to_str()
}

fn base64(value: &OsStr) -> Option<String> {
    value.to_str().is_none().then(|| STANDARD.encode(value.as_bytes()))
}

/// RFC 3339, for the years 1970 to 9999 that it can write.
fn rfc3339(time: SystemTime) -> Option<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (since.as_secs() < 253_402_300_800).then(|| humantime::format_rfc3339_nanos(time).to_string())
}
