//! Breaks something in a case: what no compiler writes, and an attacker may.

use object::elf;

use super::case::Case;
use super::choices::Choices;
use super::plan::{ObjectPlan, RelocationTable, SymbolPlanPlace};

/// Changes one to four things.
pub(super) fn spoil(case: &mut Case, choices: &mut Choices<'_>) {
    for _ in 0..=choices.below(4) {
        let count = (case.objects.len() + case.members.len()) as u64;
        let index = choices.below(count) as usize;
        let object = case.object_mut(index);
        match choices.below(4) {
            0 => section(object, choices),
            1 => symbol(object, choices),
            2 => relocation(object, choices),
            _ => other(object, choices),
        }
    }
}

fn section(object: &mut ObjectPlan, choices: &mut Choices<'_>) {
    let count = object.sections.len() as u64;
    let at = choices.below(count) as usize;
    let Some(section) = object.sections.get_mut(at) else {
        return;
    };
    match choices.below(6) {
        0 => {
            section.kind = elf::SectionType(*choices.pick(&[0, 1, 2, 4, 7, 8, 9, 14, 15, 16, 17, 18, 19, 0x7000_0001]))
        }
        1 => section.flags.0 ^= 1 << choices.below(32),
        2 => section.align = choices.edge(),
        3 => section.size = choices.edge(),
        4 => {
            let names = [
                ".eh_frame",
                ".init_array",
                ".init_array.5",
                ".fini_array",
                ".ctors",
                ".preinit_array",
                ".note.GNU-stack",
                ".gnu.linkonce.t.x",
                ".debug_info",
                ".zdebug_info",
                ".data.rel.ro",
                ".gcc_except_table",
                "list0",
                "",
                ".gnu.lto_x",
                ".note.gnu.property",
                ".tdata",
            ];
            section.name = (*choices.pick(&names)).to_owned();
        }
        _ => {
            section.flags.0 |= elf::SHF_LINK_ORDER.0;
            section.link = Some(choices.below(count + 1) as usize);
        }
    }
}

fn symbol(object: &mut ObjectPlan, choices: &mut Choices<'_>) {
    let count = object.symbols.len() as u64;
    let sections = object.sections.len() as u64;
    let at = choices.below(count) as usize;
    let other = object
        .symbols
        .get(choices.below(count) as usize)
        .map(|symbol| symbol.name.clone());
    let Some(symbol) = object.symbols.get_mut(at) else {
        return;
    };
    match choices.below(8) {
        0 => symbol.value = choices.edge(),
        1 => symbol.size = choices.edge(),
        2 => symbol.kind = elf::SymbolType(choices.below(16) as u8),
        3 => symbol.binding = elf::SymbolBind(*choices.pick(&[0, 1, 2, 3, 10, 15])),
        4 => symbol.visibility = elf::SymbolVisibility(choices.below(8) as u8),
        5 => symbol.place = SymbolPlanPlace::Section(choices.below(sections) as usize),
        6 => symbol.place = SymbolPlanPlace::Index(*choices.pick(&[0, 0xfff1, 0xfff2, 0xff02, 0xffff, 0xff00, 0x7000])),
        _ => {
            let names = [
                "_GLOBAL_OFFSET_TABLE_",
                "__dso_handle",
                "_TLS_MODULE_BASE_",
                "_end",
                "__start_list0",
                "__stop_list1",
                "name@V1",
                "name@@V2",
                "@",
                "",
                "__init_array_start",
                "__gnu_lto_slim",
                "etext",
                "__ehdr_start",
                "__asan_init",
            ];
            symbol.name = match other {
                Some(other) if choices.once_in(2) => other,
                _ => (*choices.pick(&names)).to_owned(),
            };
        }
    }
}

fn relocation(object: &mut ObjectPlan, choices: &mut Choices<'_>) {
    let symbols = object.symbols.len() as u64;
    let at = choices.below(object.sections.len() as u64) as usize;
    let Some(section) = object.sections.get_mut(at) else {
        return;
    };
    let size = section.size;
    let at = choices.below(section.relocations.len() as u64) as usize;
    let Some(relocation) = section.relocations.get_mut(at) else {
        return;
    };
    match choices.below(4) {
        0 => relocation.number = choices.below(60) as u32,
        1 => relocation.addend = choices.edge().cast_signed(),
        2 => relocation.symbol = choices.below(symbols + 2) as usize,
        _ => {
            relocation.offset = match choices.below(3) {
                0 => choices.edge(),
                1 => choices.below(size.saturating_add(9)),
                _ => size.wrapping_sub(choices.below(9)),
            }
        }
    }
}

fn other(object: &mut ObjectPlan, choices: &mut Choices<'_>) {
    let (sections, symbols) = (object.sections.len() as u64, object.symbols.len() as u64);
    match choices.below(4) {
        0 => object.table = *choices.pick(&[RelocationTable::Rela, RelocationTable::Rel, RelocationTable::Crel]),
        1 => object.groups.push(super::plan::GroupPlan {
            signature: choices.below(symbols + 1) as usize,
            flags: choices.below(4) as u32,
            members: vec![choices.below(sections + 1) as usize],
        }),
        2 => {
            if let Some(copy) = object.sections.get(choices.below(sections) as usize).cloned() {
                object.sections.push(copy);
            }
        }
        _ => object.sections.truncate(choices.below(sections + 1) as usize),
    }
}
