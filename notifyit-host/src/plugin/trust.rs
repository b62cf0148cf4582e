//! May this file's code run in our process? Only if nobody but root and us can have put it there.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, FileType, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, getxattr_query, openat};
use rustix::process::{getegid, geteuid};

use super::Trust;
use super::refused::Reason;

/// Opens a plugin file for reading once it is trusted. What was checked is what is opened: whoever could swap it in
/// between is trusted, or nothing was asked.
///
/// A symbolic link is followed. With [`Trust::Strict`] the real file, every directory above it, every link on the
/// way and every directory that holds one of them are checked.
pub(super) fn open(path: &Path, trust: Trust, us: &Us) -> Result<File, Reason> {
    regular(fs::metadata(path).map_err(|error| missing(path, &error))?.file_type())?;
    let file = match trust {
        Trust::Strict => {
            let walk = walk(path).map_err(|error| unreadable(&error))?;
            objection(us, &walk.parts).map_or(Ok(()), Err)?;
            open_once(&walk.real, OFlags::NOFOLLOW)?
        }
        Trust::Owner | Trust::Off => open_once(path, OFlags::empty())?,
    };
    let stat = file.metadata().map_err(|error| unreadable(&error))?;
    regular(stat.file_type())?;
    let part = Part::new(path.to_owned(), &stat);
    match trust {
        Trust::Strict => objection(us, &[part]).map_or(Ok(()), Err)?,
        Trust::Owner => us.foreign_owner(&part).map_or(Ok(()), Err)?,
        Trust::Off => {}
    }
    Ok(file)
}

/// Can nobody but root and us put files into this directory, or swap it?
pub(super) fn directory(path: &Path, us: &Us) -> Result<(), Reason> {
    let walk = walk(path).map_err(|error| unreadable(&error))?;
    objection(us, &walk.parts).map_or(Ok(()), Err)
}

/// As whom the host runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Us {
    uid: u32,
    group: u32,
    /// Root, or with capabilities: code that it loads can do more than its user could.
    privileged: bool,
}

impl Us {
    pub(super) fn now() -> Us {
        let uid = geteuid().as_raw();
        Us { uid, group: getegid().as_raw(), privileged: uid == 0 || has_capabilities() }
    }

    fn foreign_owner(&self, part: &Part) -> Option<Reason> {
        if part.uid == 0 || part.uid == self.uid {
            return None;
        }
        let ours = if self.uid == 0 { "root".to_owned() } else { format!("root or us (uid {})", self.uid) };
        let chown = if part.kind == Kind::Link { "chown -h" } else { "chown" };
        Some(Reason::new(
            format!("{} is owned by uid {}, not by {ours}", part.name(), part.uid),
            format!("run `{chown} {} {:?}`, or set [host] {}", self.uid, part.path, part.way_out("off")),
        ))
    }

    /// Who else may write to it, by its mode.
    fn foreign_writers(&self, part: &Part) -> Option<Reason> {
        let sticky = part.kind == Kind::Directory && part.mode & 0o1000 != 0 && part.uid == 0;
        if part.kind == Kind::Link || sticky {
            return None;
        }
        // With an ACL the group's bits are those of all whom it names.
        let ours = !self.privileged && part.gid == self.group && !part.acl;
        let group = part.mode & 0o020 != 0 && !ours;
        let others = part.mode & 0o002 != 0;
        let (who, chmod) = match (group, others) {
            (false, false) => return None,
            (true, false) => (format!("its group (gid {})", part.gid), "g-w"),
            (false, true) => ("everyone".to_owned(), "o-w"),
            (true, true) => ("its group and everyone".to_owned(), "go-w"),
        };
        Some(Reason::new(
            format!("{} is writable by {who} (mode {:04o})", part.name(), part.mode & 0o7777),
            format!("run `chmod {chmod} {:?}`, or set [host] {}", part.path, part.way_out("owner")),
        ))
    }
}

fn has_capabilities() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.is_some_and(|bits| u64::from_str_radix(bits.trim(), 16) != Ok(0))
}

/// Something on the way to the file, and the file.
#[derive(Debug, Clone)]
struct Part {
    path: PathBuf,
    kind: Kind,
    mode: u32,
    uid: u32,
    gid: u32,
    /// Does an access control list name others, too?
    acl: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Link,
}

impl Part {
    fn new(path: PathBuf, stat: &Metadata) -> Part {
        let kind = match stat.file_type() {
            t if t.is_dir() => Kind::Directory,
            t if t.is_symlink() => Kind::Link,
            _ => Kind::File,
        };
        let acl = kind != Kind::Link && has_acl(&path);
        Part { path, kind, mode: stat.mode(), uid: stat.uid(), gid: stat.gid(), acl }
    }

    fn name(&self) -> String {
        match self.kind {
            Kind::File => "the file".to_owned(),
            Kind::Directory => format!("the directory {:?}", self.path),
            Kind::Link => format!("the link {:?}", self.path),
        }
    }

    /// The setting with which this part is not asked about.
    fn way_out(&self, for_the_file: &str) -> String {
        format!("trust = {:?}", if self.kind == Kind::File { for_the_file } else { "owner" })
    }
}

fn has_acl(path: &Path) -> bool {
    getxattr_query(path, ACL).is_ok()
}

const ACL: &str = "system.posix_acl_access";

/// The first reason not to trust one of these: the rule itself, without a file system.
fn objection(us: &Us, parts: &[Part]) -> Option<Reason> {
    parts.iter().find_map(|part| us.foreign_owner(part).or_else(|| us.foreign_writers(part)))
}

struct Walk {
    real: PathBuf,
    parts: Vec<Part>,
}

/// Goes to the file as the kernel would, link by link, and notes all that it goes through.
fn walk(path: &Path) -> io::Result<Walk> {
    const MOST_LINKS: usize = 40;
    let mut todo: VecDeque<OsString> = components(&std::path::absolute(path)?);
    let mut real = PathBuf::from("/");
    let mut parts = Vec::new();
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            real.pop();
            continue;
        }
        let next = if name == "/" { "/".into() } else { real.join(&name) };
        let stat = fs::symlink_metadata(&next)?;
        parts.push(Part::new(next.clone(), &stat));
        if !stat.is_symlink() {
            real = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(rustix::io::Errno::LOOP.into());
        }
        let mut target = components(&fs::read_link(&next)?);
        target.append(&mut todo);
        todo = target;
    }
    Ok(Walk { real, parts })
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components().filter(|c| *c != Component::CurDir).map(|c| c.as_os_str().to_owned()).collect()
}

/// Never waits for a FIFO, and never makes a terminal ours.
fn open_once(path: &Path, also: OFlags) -> Result<File, Reason> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | also;
    let file = openat(CWD.as_fd(), path, flags, Mode::empty()).map_err(|error| unreadable(&error.into()))?;
    Ok(File::from(file))
}

fn regular(kind: FileType) -> Result<(), Reason> {
    let what = match kind {
        k if k.is_file() => return Ok(()),
        k if k.is_dir() => "a directory",
        k if k.is_fifo() => "a FIFO",
        k if k.is_socket() => "a socket",
        k if k.is_block_device() || k.is_char_device() => "a device",
        _ => "something else",
    };
    Err(Reason::new(format!("it is {what}, not a file"), "name the plugin's .so file"))
}

fn missing(path: &Path, error: &io::Error) -> Reason {
    match fs::read_link(path) {
        Ok(target) if error.kind() == io::ErrorKind::NotFound => Reason::new(
            format!("it is a link to {target:?}, which does not exist"),
            "build or install the plugin, or remove the link",
        ),
        _ => unreadable(error),
    }
}

fn unreadable(error: &io::Error) -> Reason {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "build or install the plugin first",
        io::ErrorKind::PermissionDenied => "let the host's user read it and search the directories above it",
        _ => "",
    };
    Reason::new(error.to_string(), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    const ROOT: Us = Us { uid: 0, group: 0, privileged: true };
    const USER: Us = Us { uid: 1000, group: 1000, privileged: false };
    const CAPABLE: Us = Us { uid: 1000, group: 1000, privileged: true };

    fn part(kind: Kind, mode: u32, uid: u32, gid: u32) -> Part {
        Part { path: "/p".into(), kind, mode, uid, gid, acl: false }
    }

    fn why(us: Us, kind: Kind, mode: u32, uid: u32, gid: u32) -> String {
        objection(&us, &[part(kind, mode, uid, gid)]).map(|r| r.why).unwrap_or_default()
    }

    #[test]
    fn root_trusts_what_root_alone_can_write() {
        use Kind::{Directory, File, Link};
        assert_eq!(why(ROOT, File, 0o755, 0, 0), "");
        assert_eq!(why(ROOT, File, 0o755, 1000, 0), "the file is owned by uid 1000, not by root");
        assert_eq!(why(ROOT, File, 0o775, 0, 0), "the file is writable by its group (gid 0) (mode 0775)");
        assert_eq!(why(ROOT, File, 0o646, 0, 0), "the file is writable by everyone (mode 0646)");
        assert_eq!(
            why(ROOT, Directory, 0o777, 0, 0),
            "the directory \"/p\" is writable by its group and everyone (mode 0777)"
        );
        assert_eq!(
            why(ROOT, Directory, 0o755, 1000, 0),
            "the directory \"/p\" is owned by uid 1000, not by root"
        );
        assert_eq!(why(ROOT, Directory, 0o1777, 0, 0), "");
        assert_ne!(why(ROOT, Directory, 0o1777, 1000, 0), "");
        assert_ne!(why(ROOT, File, 0o1777, 0, 0), "");
        assert_eq!(why(ROOT, Link, 0o777, 0, 0), "");
        assert_ne!(why(ROOT, Link, 0o777, 1000, 0), "");
    }

    #[test]
    fn a_user_trusts_root_itself_and_its_own_group() {
        use Kind::{Directory, File};
        for kind in [File, Directory] {
            assert_eq!(why(USER, kind, 0o775, 1000, 1000), "");
            assert_eq!(why(USER, kind, 0o755, 0, 0), "");
            assert_ne!(why(USER, kind, 0o775, 1000, 50), "");
            assert_ne!(why(USER, kind, 0o757, 1000, 1000), "");
            assert_ne!(why(USER, kind, 0o755, 1001, 1000), "");
            assert_ne!(why(CAPABLE, kind, 0o775, 1000, 1000), "");
        }
        assert_eq!(why(USER, Directory, 0o1777, 0, 0), "");
        assert_eq!(
            why(USER, File, 0o755, 1001, 0),
            "the file is owned by uid 1001, not by root or us (uid 1000)"
        );
    }

    #[test]
    fn a_group_that_an_acl_widens_is_not_ours() {
        let widened = Part { acl: true, ..part(Kind::File, 0o775, 1000, 1000) };
        assert!(objection(&USER, &[widened]).is_some());
        let narrow = Part { acl: true, ..part(Kind::File, 0o755, 1000, 1000) };
        assert!(objection(&USER, &[narrow]).is_none());
        let (_dir, file) = plugin_in(0o755);
        assert!(!has_acl(&file));
        // Version 2: our rw-, uid 4321 rw-, our group r--, mask rw-, others r--.
        let entry = |tag: u16, mode: u16, id: u32| {
            [&tag.to_le_bytes()[..], &mode.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        const NONE: u32 = u32::MAX;
        let entries =
            [entry(1, 6, NONE), entry(2, 6, 4321), entry(4, 4, NONE), entry(16, 6, NONE), entry(32, 4, NONE)];
        let acl = [&2_u32.to_le_bytes()[..], &entries.concat()].concat();
        match rustix::fs::setxattr(&file, ACL, &acl, rustix::fs::XattrFlags::empty()) {
            Err(rustix::io::Errno::OPNOTSUPP) => {} // This file system has none.
            set => {
                set.unwrap();
                assert!(has_acl(&file));
                assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o664);
            }
        }
    }

    #[test]
    fn the_remedy_is_the_command_that_helps() {
        let remedy = |us: Us, p: Part| objection(&us, &[p]).unwrap().remedy;
        assert_eq!(
            remedy(ROOT, part(Kind::Directory, 0o775, 0, 5)),
            r#"run `chmod g-w "/p"`, or set [host] trust = "owner""#
        );
        assert_eq!(
            remedy(USER, part(Kind::File, 0o757, 0, 0)),
            r#"run `chmod o-w "/p"`, or set [host] trust = "owner""#
        );
        assert_eq!(
            remedy(USER, part(Kind::File, 0o755, 7, 0)),
            r#"run `chown 1000 "/p"`, or set [host] trust = "off""#
        );
        assert_eq!(
            remedy(ROOT, part(Kind::Link, 0o777, 7, 0)),
            r#"run `chown -h 0 "/p"`, or set [host] trust = "owner""#
        );
    }

    fn plugin_in(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sub/x.so");
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(&file, "x").unwrap();
        chmod(&file, 0o644);
        chmod(&dir.path().join("sub"), mode);
        (dir, file)
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn strict(path: &Path) -> String {
        open(path, Trust::Strict, &Us::now()).map_or_else(|reason| reason.why, |_| String::new())
    }

    #[test]
    fn every_directory_above_is_checked() {
        let (_dir, file) = plugin_in(0o755);
        assert_eq!(strict(&file), "");
        let (dir, file) = plugin_in(0o777);
        let expected = format!("the directory {:?} is writable by", dir.path().join("sub"));
        assert!(strict(&file).starts_with(&expected), "{}", strict(&file));
        assert!(open(&file, Trust::Owner, &ROOT).is_ok() || geteuid().as_raw() != 0);
        assert!(open(&file, Trust::Off, &ROOT).is_ok());
    }

    #[test]
    fn a_link_is_followed_and_both_ends_are_checked() {
        let (_bad, target_in_bad) = plugin_in(0o777);
        let (good, target_in_good) = plugin_in(0o755);
        let from_good = good.path().join("link.so");
        symlink(&target_in_bad, &from_good).unwrap();
        assert!(strict(&from_good).contains("is writable by"), "{}", strict(&from_good));
        let from_bad = target_in_bad.with_file_name("link.so");
        symlink(&target_in_good, &from_bad).unwrap();
        assert!(strict(&from_bad).contains("is writable by"), "{}", strict(&from_bad));
        let relative = good.path().join("relative.so");
        symlink("sub/../sub/x.so", &relative).unwrap();
        assert_eq!(strict(&relative), "");
        let through = good.path().join("through");
        symlink(target_in_bad.parent().unwrap(), &through).unwrap();
        assert!(strict(&through.join("x.so")).contains("is writable by"));
    }

    #[test]
    fn what_is_no_file_is_named() {
        let (dir, file) = plugin_in(0o755);
        let at = |name: &str| dir.path().join(name);
        assert_eq!(strict(&at("sub")), "it is a directory, not a file");
        symlink("gone.so", at("dangling.so")).unwrap();
        assert_eq!(strict(&at("dangling.so")), "it is a link to \"gone.so\", which does not exist");
        symlink("loop.so", at("loop.so")).unwrap();
        assert!(strict(&at("loop.so")).contains("symbolic links"));
        assert_eq!(strict(&at("gone.so")), "No such file or directory (os error 2)");
        let fifo = at("fifo.so");
        rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(strict(&fifo), "it is a FIFO, not a file");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.so")).unwrap();
        assert_eq!(strict(&at("socket.so")), "it is a socket, not a file");
        assert_eq!(strict(Path::new("/dev/null")), "it is a device, not a file");
        assert_eq!(strict(&file), "");
    }

    #[test]
    fn a_strangers_file_is_refused_unless_trust_is_off() {
        let (_dir, file) = plugin_in(0o755);
        if chown(&file, Some(4321), None).is_err() {
            return; // Only root may give files away.
        }
        assert_eq!(strict(&file), "the file is owned by uid 4321, not by root");
        assert!(open(&file, Trust::Owner, &ROOT).is_err());
        assert!(open(&file, Trust::Off, &ROOT).is_ok());
    }
}
