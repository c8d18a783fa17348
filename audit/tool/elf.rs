//! What the linker made of each program.

use crate::{Outcome, PROGRAMS};
use object::Endianness;
use object::elf::{
    DF_1_NOW, DF_1_PIE, DT_FLAGS, DT_FLAGS_1, DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, ET_DYN, FileHeader64, PF_W,
    PF_X, PT_DYNAMIC, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP, PT_LOAD,
};
use object::read::elf::{FileHeader, ProgramHeader};
use std::path::Path;

/// `DF_BIND_NOW` of `DT_FLAGS`.
const BIND_NOW: u64 = 8;

/// What a reviewer wants to know of one program.
struct Hardening {
    bytes: usize,
    static_pie: bool,
    relro: bool,
    stack: bool,
    no_rpath: bool,
    writable_or_executable: bool,
}

/// The table. Fails when a program is missing or lacks one of the properties.
pub fn section(release: &Path) -> Outcome<String> {
    let mut text = "## Programs\n\nStatic PIE: position independent, no interpreter, no shared library. RELRO: with all symbols bound at start. NX: the stack is not executable. W^X: no \
                    segment is both writable and executable.\n\n| program | size | static PIE | RELRO | NX | no RPATH | W^X |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    for name in PROGRAMS {
        let path = release.join(name);
        let data =
            std::fs::read(&path).map_err(|error| format!("{}: {error}; build the release first", path.display()))?;
        let found = look(&data).map_err(|error| format!("{name}: {error}"))?;
        let properties = [found.static_pie, found.relro, found.stack, found.no_rpath, found.writable_or_executable];
        if properties.contains(&false) {
            return Err(format!(
                "{name} is not hardened as it must be: static PIE, RELRO, NX, no RPATH, W^X are {properties:?}"
            ));
        }
        text += &format!("| `{name}` | {} bytes | yes | yes | yes | yes | yes |\n", found.bytes);
    }
    Ok(text)
}

fn look(data: &[u8]) -> Result<Hardening, object::read::Error> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, data)?;
    let has = |kind| segments.iter().any(|segment| segment.p_type(endian) == kind);
    let mut entries = Vec::new();
    for segment in segments.iter().filter(|segment| segment.p_type(endian) == PT_DYNAMIC) {
        let dynamic = segment.dynamic(endian, data)?.unwrap_or_default();
        entries.extend(
            dynamic
                .iter()
                .map(|entry| (entry.d_tag.get(endian), entry.d_val.get(endian)))
                .take_while(|(tag, _)| *tag != u64::from(DT_NULL)),
        );
    }
    let value = |wanted: u32| entries.iter().find(|(tag, _)| *tag == u64::from(wanted)).map(|(_, value)| *value);
    let flags_1 = value(DT_FLAGS_1).unwrap_or(0);
    let now = flags_1 & u64::from(DF_1_NOW) != 0 || value(DT_FLAGS).unwrap_or(0) & BIND_NOW != 0;
    Ok(Hardening {
        bytes: data.len(),
        static_pie: header.e_type(endian) == ET_DYN
            && flags_1 & u64::from(DF_1_PIE) != 0
            && !has(PT_INTERP)
            && value(DT_NEEDED).is_none(),
        relro: has(PT_GNU_RELRO) && now,
        stack: segments
            .iter()
            .any(|segment| segment.p_type(endian) == PT_GNU_STACK && segment.p_flags(endian) & PF_X == 0),
        no_rpath: value(DT_RPATH).is_none() && value(DT_RUNPATH).is_none(),
        writable_or_executable: !segments
            .iter()
            .filter(|segment| segment.p_type(endian) == PT_LOAD)
            .any(|segment| segment.p_flags(endian) & (PF_W | PF_X) == (PF_W | PF_X)),
    })
}
