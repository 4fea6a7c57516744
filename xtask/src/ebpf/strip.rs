//! Drops the DWARF sections and keeps everything that a loader reads: programs, maps, BTF and its line information.

use anyhow::{Context, Result, bail};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// The object without `.debug_*` sections and the symbols and relocations that only served those.
pub(crate) fn strip(object: &[u8]) -> Result<Vec<u8>> {
    let mut elf = Builder::read(object).context("the linker's output is no ELF object")?;
    for section in &mut elf.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    // Symbols of functions and maps stay, local ones too: the loader finds a function's extent by its symbol.
    elf.delete_orphan_symbols();
    elf.delete_orphan_relocations();
    if !elf.sections.iter().any(|section| section.name.as_slice() == b".BTF" && !section.delete) {
        bail!("the linker wrote no .BTF section; is it called with --btf?");
    }
    // LLVM keeps the names of sections and symbols in one table; the writer wants one for each.
    let section_names = elf.sections.add();
    section_names.name = b".shstrtab".as_slice().into();
    section_names.sh_type = SHT_STRTAB;
    section_names.sh_addralign = 1;
    section_names.data = SectionData::SectionString;
    elf.set_section_sizes();
    let mut stripped = Vec::new();
    elf.write(&mut stripped).context("cannot write the stripped object")?;
    Ok(stripped)
}
