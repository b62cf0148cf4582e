//! Is it a whole shared library for this machine, and a plugin? Asked before the dynamic linker sees it, for that
//! trusts the file: what it maps beyond the end of a half-copied one is a SIGBUS.
//!
//! Nothing here depends on section headers: they may be stripped. Only the few bytes that are looked at are read.

use std::mem::size_of;

use object::elf::{
    self, DF_1_PIE, DT_FLAGS_1, DT_GNU_HASH, DT_HASH, DT_NULL, DT_STRTAB, DT_SYMTAB, DynamicTag, ET_DYN,
    ET_EXEC, ET_REL, PT_DYNAMIC, PT_LOAD, SHN_UNDEF, STT_OBJECT,
};
use object::read::ReadRef;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Sym};
use object::{NativeEndian, Pod, U32};

use super::refused::{Reason, Step};

#[cfg(target_pointer_width = "64")]
type Native = elf::FileHeader64<NativeEndian>;
#[cfg(target_pointer_width = "32")]
type Native = elf::FileHeader32<NativeEndian>;

/// The symbol that makes a library a plugin, and what must at least be there to be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loader {
    pub(super) symbol: &'static str,
    pub(super) size: usize,
    pub(super) align: usize,
}

type Checked<T> = Result<T, (Step, Reason)>;

/// Is this a plugin that the dynamic linker can be given?
pub(super) fn check<'d, R: ReadRef<'d>>(file: R, loader: Loader) -> Checked<()> {
    identify(file)?;
    let library = Library::<Native, R>::read(file)?;
    library.loader(loader)
}

fn flaw(why: impl Into<String>, remedy: &str) -> (Step, Reason) {
    (Step::Format, Reason::new(why, remedy))
}

fn broken(what: &str) -> (Step, Reason) {
    flaw(format!("it is damaged: {what}"), REBUILD)
}

/// An end that lies behind the file's.
fn cut_off<'d, R: ReadRef<'d>>(file: R, what: &str) -> (Step, Reason) {
    let len = file.len().unwrap_or_default();
    flaw(
        format!("it is incomplete: of {what} a part lies behind its end at {len} bytes"),
        "copy it again, beside its place, and move it in with mv",
    )
}

const REBUILD: &str = "build or copy it again";

/// Class, byte order and machine, which decide how everything else is to be read.
fn identify<'d, R: ReadRef<'d>>(file: R) -> Checked<()> {
    let len = file.len().map_err(|()| flaw("it cannot be read", ""))?;
    if len == 0 {
        return Err(flaw("it is empty", REBUILD));
    }
    let start = file.read_bytes_at(0, len.min(20)).map_err(|()| flaw("it cannot be read", ""))?;
    if !start.starts_with(&elf::ELFMAG[..start.len().min(4)]) {
        let remedy = "give the .so file that cargo build made of a crate with crate-type = [\"cdylib\"]";
        return Err(flaw("it is no shared library (not an ELF file)", remedy));
    }
    let &[.., low, high] = start else { return Err(cut_off(file, "the header")) };
    if start.len() < 20 {
        return Err(cut_off(file, "the header"));
    }
    let big = start[5] == elf::ELFDATA2MSB.0;
    let machine = if big { u16::from_be_bytes([low, high]) } else { u16::from_le_bytes([low, high]) };
    let host = std::env::consts::ARCH;
    let known = MACHINES.iter().find(|(_, name)| *name == host);
    let remedy = format!("build it for {host}");
    if known.is_some_and(|(code, _)| *code != machine) {
        return Err(flaw(format!("it is built for {}, this host is {host}", machine_name(machine)), &remedy));
    }
    let bits = if start[4] == elf::ELFCLASS64.0 { 64 } else { 32 };
    if bits != usize::BITS {
        return Err(flaw(format!("it is a {bits}-bit library, this host is {}-bit", usize::BITS), &remedy));
    }
    if big != cfg!(target_endian = "big") {
        return Err(flaw("its byte order is not this host's", &remedy));
    }
    Ok(())
}

/// Names as the compiler's targets have them.
const MACHINES: [(u16, &str); 11] = [
    (62, "x86_64"),
    (183, "aarch64"),
    (40, "arm"),
    (3, "x86"),
    (243, "riscv64"),
    (21, "powerpc64"),
    (20, "powerpc"),
    (22, "s390x"),
    (258, "loongarch64"),
    (8, "mips"),
    (43, "sparc64"),
];

fn machine_name(machine: u16) -> String {
    let known = MACHINES.iter().find(|(code, _)| *code == machine);
    known.map_or_else(|| format!("machine {machine}"), |(_, name)| (*name).to_owned())
}

/// What the dynamic linker will see of the file.
struct Library<'d, H: FileHeader<Endian = NativeEndian>, R: ReadRef<'d>> {
    file: R,
    loads: Vec<Load>,
    dynamic: Vec<(DynamicTag, u64)>,
    header: std::marker::PhantomData<&'d H>,
}

/// A part of the file that is mapped.
struct Load {
    address: u64,
    size: u64,
    offset: u64,
    file_size: u64,
}

const E: NativeEndian = NativeEndian;

impl<'d, H: FileHeader<Endian = NativeEndian>, R: ReadRef<'d>> Library<'d, H, R> {
    fn read(file: R) -> Checked<Self> {
        let header = H::parse(file).map_err(|_| cut_off(file, "the header"))?;
        kind(header.e_type(E))?;
        sections_inside(file, header)?;
        let segments = header.program_headers(E, file).map_err(|_| cut_off(file, "the program headers"))?;
        let loads = loads::<H, R>(file, segments)?;
        let mut library = Library { file, loads, dynamic: Vec::new(), header: std::marker::PhantomData };
        library.dynamic = library.dynamic(segments)?;
        if library.value(DT_FLAGS_1).unwrap_or(0) & DF_1_PIE.0 != 0 {
            return Err(executable());
        }
        Ok(library)
    }

    /// Where these bytes of the mapped library are in the file.
    fn offset(&self, address: u64, size: u64) -> Option<u64> {
        self.loads.iter().find_map(|load| {
            let from = address.checked_sub(load.address)?;
            (from.checked_add(size)? <= load.file_size).then_some(load.offset + from)
        })
    }

    fn at<T: Pod>(&self, address: u64) -> Option<&'d T> {
        self.file.read_at(self.offset(address, size_of::<T>() as u64)?).ok()
    }

    fn number(&self, address: u64) -> Option<u32> {
        self.at::<U32<NativeEndian>>(address).map(|n| n.get(E))
    }

    /// The dynamic section, up to its end mark.
    fn dynamic(&self, segments: &[H::ProgramHeader]) -> Checked<Vec<(DynamicTag, u64)>> {
        const MOST_ENTRIES: u64 = 4096;
        let Some(segment) = segments.iter().find(|s| s.p_type(E) == PT_DYNAMIC) else {
            return Err(flaw("it is no shared library (it has no dynamic section)", REBUILD));
        };
        let address: u64 = segment.p_vaddr(E).into();
        let mut entries = Vec::new();
        for i in 0..MOST_ENTRIES {
            let at = address.checked_add(i * size_of::<H::Dyn>() as u64);
            let entry: Option<&H::Dyn> = at.and_then(|at| self.at(at));
            let entry = entry.ok_or_else(|| broken("its dynamic section has no end"))?;
            if entry.tag(E) == DT_NULL {
                return Ok(entries);
            }
            entries.push((entry.tag(E), entry.val(E)));
        }
        Err(broken("its dynamic section has no end"))
    }

    fn value(&self, tag: DynamicTag) -> Option<u64> {
        self.dynamic.iter().find(|(t, _)| *t == tag).map(|(_, value)| *value)
    }

    /// The loader symbol must be an object of the library's own, as large as what the host will read of it.
    fn loader(&self, loader: Loader) -> Checked<()> {
        let symbol = self.find(loader.symbol.as_bytes()).filter(|s| s.st_shndx(E) != SHN_UNDEF);
        let Some(symbol) = symbol else {
            let why =
                format!("it is a library, but no notifyit plugin: it exports no symbol {}", loader.symbol);
            return Err((
                Step::Symbol,
                Reason::new(why, "a plugin has export_plugin!(TYPE) at its crate's top level"),
            ));
        };
        let (address, size): (u64, u64) = (symbol.st_value(E).into(), symbol.st_size(E).into());
        let there = self.offset(address, size).is_some() && address.is_multiple_of(loader.align as u64);
        if symbol.st_type() != STT_OBJECT || size < loader.size as u64 || !there || address == 0 {
            return Err(broken(&format!("its symbol {} is not what it should be", loader.symbol)));
        }
        Ok(())
    }

    /// Looks a symbol up as the dynamic linker does, through the hash table.
    fn find(&self, name: &[u8]) -> Option<&'d H::Sym> {
        match self.value(DT_GNU_HASH) {
            Some(table) => self.find_gnu(table, name),
            None => self.find_sysv(self.value(DT_HASH)?, name),
        }
    }

    fn find_gnu(&self, table: u64, name: &[u8]) -> Option<&'d H::Sym> {
        let hash = elf::gnu_hash(name);
        let header: &elf::GnuHashHeader<NativeEndian> = self.at(table)?;
        let (buckets, base) = (header.bucket_count.get(E), header.symbol_base.get(E));
        let bloom = u64::from(header.bloom_count.get(E)) * size_of::<H::Word>() as u64;
        let first = table.checked_add(size_of::<elf::GnuHashHeader<NativeEndian>>() as u64 + bloom)?;
        let mut index = self.number(first.checked_add(u64::from(hash.checked_rem(buckets)?) * 4)?)?;
        let chains = first.checked_add(u64::from(buckets) * 4)?;
        for _ in 0..LONGEST_CHAIN {
            let value = self.number(chains.checked_add(u64::from(index.checked_sub(base)?) * 4)?)?;
            if value | 1 == hash | 1
                && let Some(symbol) = self.symbol(index, name)
            {
                return Some(symbol);
            }
            if value & 1 != 0 {
                return None;
            }
            index = index.checked_add(1)?;
        }
        None
    }

    fn find_sysv(&self, table: u64, name: &[u8]) -> Option<&'d H::Sym> {
        let header: &elf::HashHeader<NativeEndian> = self.at(table)?;
        let buckets = header.bucket_count.get(E);
        let first = table.checked_add(size_of::<elf::HashHeader<NativeEndian>>() as u64)?;
        let chains = first.checked_add(u64::from(buckets) * 4)?;
        let bucket = elf::hash(name).checked_rem(buckets)?;
        let mut index = self.number(first.checked_add(u64::from(bucket) * 4)?)?;
        for _ in 0..LONGEST_CHAIN {
            if index == 0 {
                return None;
            }
            if let Some(symbol) = self.symbol(index, name) {
                return Some(symbol);
            }
            index = self.number(chains.checked_add(u64::from(index) * 4)?)?;
        }
        None
    }

    /// The symbol with this index, if that is its name.
    fn symbol(&self, index: u32, name: &[u8]) -> Option<&'d H::Sym> {
        let at = self.value(DT_SYMTAB)?.checked_add(u64::from(index) * size_of::<H::Sym>() as u64)?;
        let symbol: &'d H::Sym = self.at(at)?;
        let at = self.value(DT_STRTAB)?.checked_add(u64::from(symbol.st_name(E)))?;
        let size = name.len() as u64 + 1;
        let bytes = self.file.read_bytes_at(self.offset(at, size)?, size).ok()?;
        (bytes.split_last() == Some((&0, name))).then_some(symbol)
    }
}

/// Symbols with one hash: a handful in a real library, but no limit in a hostile one.
const LONGEST_CHAIN: u32 = 10_000;

fn kind(kind: elf::FileType) -> Checked<()> {
    match kind {
        ET_DYN => Ok(()),
        ET_EXEC => Err(executable()),
        ET_REL => Err(flaw("it is an object file, not a shared library", CDYLIB)),
        _ => Err(flaw("it is no shared library", CDYLIB)),
    }
}

fn executable() -> (Step, Reason) {
    flaw("it is an executable, not a shared library", CDYLIB)
}

const CDYLIB: &str = "build the plugin with crate-type = [\"cdylib\"]";

/// Section headers come last in a file, so that they tell a file that was cut off. There need not be any.
fn sections_inside<'d, H: FileHeader<Endian = NativeEndian>, R: ReadRef<'d>>(
    file: R,
    header: &H,
) -> Checked<()> {
    let offset: u64 = header.e_shoff(E).into();
    let size = u64::from(header.e_shnum(E).max(1)) * u64::from(header.e_shentsize(E));
    if offset != 0 && !inside(file, offset, size) {
        return Err(cut_off(file, "the section headers"));
    }
    Ok(())
}

fn inside<'d, R: ReadRef<'d>>(file: R, offset: u64, size: u64) -> bool {
    offset.checked_add(size).is_some_and(|end| file.len().is_ok_and(|len| end <= len))
}

/// The mapped parts: in the file, in ascending order and apart, as the dynamic linker takes for granted.
fn loads<'d, H: FileHeader<Endian = NativeEndian>, R: ReadRef<'d>>(
    file: R,
    segments: &[H::ProgramHeader],
) -> Checked<Vec<Load>> {
    let mut loads: Vec<Load> = Vec::new();
    for segment in segments.iter().filter(|s| s.p_type(E) == PT_LOAD) {
        let load = Load {
            address: segment.p_vaddr(E).into(),
            size: segment.p_memsz(E).into(),
            offset: segment.p_offset(E).into(),
            file_size: segment.p_filesz(E).into(),
        };
        if !inside(file, load.offset, load.file_size) {
            return Err(cut_off(file, "a segment"));
        }
        let begins_after = loads.last().map_or(0, |before| before.address + before.size);
        let ends = load.address.checked_add(load.size).filter(|end| *end <= u64::MAX / 2);
        if load.file_size > load.size || load.address < begins_after || ends.is_none() {
            return Err(broken("its segments overlap"));
        }
        loads.push(load);
    }
    if loads.is_empty() { Err(broken("it has no segments")) } else { Ok(loads) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::load::LOADER;
    use crate::plugin::tests::{built, cc};
    use proptest::prelude::*;
    use std::fs;

    fn why(bytes: &[u8]) -> String {
        check(bytes, LOADER).map_or_else(|(_, reason)| reason.why, |()| String::new())
    }

    fn plugin() -> Vec<u8> {
        fs::read(built("print")).unwrap()
    }

    #[test]
    fn a_real_plugin_passes_with_and_without_section_headers() {
        let mut bytes = plugin();
        assert_eq!(why(&bytes), "");
        bytes[0x28..0x30].fill(0);
        bytes[0x3c..0x40].fill(0);
        assert_eq!(why(&bytes), "");
    }

    #[test]
    fn the_zoo() {
        assert_eq!(why(b""), "it is empty");
        assert_eq!(why(b"just some text"), "it is no shared library (not an ELF file)");
        assert_eq!(why(b"\x7fE"), "it is incomplete: of the header a part lies behind its end at 2 bytes");
        assert_eq!(
            why(&plugin()[..40]),
            "it is incomplete: of the header a part lies behind its end at 40 bytes"
        );
        let altered = |at: usize, new: &[u8]| {
            let mut bytes = plugin();
            bytes[at..at + new.len()].copy_from_slice(new);
            why(&bytes)
        };
        let host = std::env::consts::ARCH;
        assert_eq!(altered(18, &[43, 0]), format!("it is built for sparc64, this host is {host}"));
        assert_eq!(altered(18, &[0xfe, 0xff]), format!("it is built for machine 65534, this host is {host}"));
        assert_eq!(altered(4, &[1]), "it is a 32-bit library, this host is 64-bit");
        assert_eq!(altered(16, &[1, 0]), "it is an object file, not a shared library");
        assert_eq!(altered(16, &[2, 0]), "it is an executable, not a shared library");
        assert_eq!(altered(16, &[4, 0]), "it is no shared library");
    }

    #[test]
    fn an_executable_and_a_plain_library_are_told_apart() {
        let this = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(why(&this), "it is an executable, not a shared library");
        let dir = tempfile::tempdir().unwrap();
        for hash in ["gnu", "sysv"] {
            let plain = cc(dir.path(), "int x(void) { return 1; }", &[&format!("-Wl,--hash-style={hash}")]);
            let (step, reason) = check(&*fs::read(plain).unwrap(), LOADER).unwrap_err();
            assert_eq!(step, Step::Symbol);
            assert!(reason.why.starts_with("it is a library, but no notifyit plugin"), "{}", reason.why);
        }
    }

    #[test]
    fn the_symbol_is_found_through_either_hash_table_and_must_be_an_object_of_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let symbol = LOADER.symbol;
        for hash in ["gnu", "sysv", "both"] {
            let style = format!("-Wl,--hash-style={hash}");
            let compiled = |code: &str| why(&fs::read(cc(dir.path(), code, &[&style])).unwrap());
            assert_eq!(compiled(&format!("long {symbol}[20] = {{1}};")), "");
            let wrong = format!("it is damaged: its symbol {symbol} is not what it should be");
            assert_eq!(compiled(&format!("long {symbol} = 1;")), wrong);
            assert_eq!(compiled(&format!("int {symbol}(void) {{ return 1; }}")), wrong);
            let used = format!("extern long {symbol}[20]; long x(void) {{ return {symbol}[0]; }}");
            assert!(compiled(&used).starts_with("it is a library, but no"));
        }
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_refused() {
        let bytes = plugin();
        let step = (bytes.len() / 997).max(1);
        for len in (0..bytes.len()).step_by(step).chain(0..1024).chain(bytes.len() - 64..bytes.len()) {
            assert_ne!(why(&bytes[..len]), "", "cut off at {len}");
        }
    }

    /// Offsets worth damaging: the headers, and the tables that the search for the symbol goes through.
    fn interesting(bytes: &[u8]) -> Vec<usize> {
        let library = Library::<Native, _>::read(bytes).map_err(|(_, r)| r.why).unwrap();
        let tables = [DT_GNU_HASH, DT_SYMTAB, DT_STRTAB].map(|tag| library.value(tag).unwrap());
        let dynamic = library.offset(library.loads.last().unwrap().address, 1).unwrap();
        let starts = tables.map(|table| library.offset(table, 1).unwrap()).into_iter().chain([0, dynamic]);
        starts.flat_map(|start| start..start + 1024).filter_map(|at| usize::try_from(at).ok()).collect()
    }

    #[test]
    fn a_damaged_plugin_never_panics() {
        let original = plugin();
        let places = interesting(&original);
        let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
        let bytes = std::cell::RefCell::new(original.clone());
        proptest!(ProptestConfig::with_cases(3000), |(damage in damage, len in any::<prop::sample::Index>(), cut in any::<bool>())| {
            let mut bytes = bytes.borrow_mut();
            let places: Vec<(usize, u8)> = damage.iter().map(|(at, new)| (*at.get(&places), *new)).collect();
            for (at, new) in places.iter().filter(|(at, _)| *at < original.len()) {
                bytes[*at] = *new;
            }
            let len = if cut { len.index(bytes.len()) } else { bytes.len() };
            let _ = check(&bytes[..len], LOADER);
            for (at, _) in places.iter().filter(|(at, _)| *at < original.len()) {
                bytes[*at] = original[*at];
            }
        });
    }
}
