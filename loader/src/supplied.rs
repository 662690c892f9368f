//! Symbols that the linker supplies itself, and who usually provides those that are not found.

use crate::memory::SegmentKind;

/// Symbols that the linker defines, as `ld`'s default script and the C start files do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkerSymbol {
    Got,
    DsoHandle,
    TlsModuleBase,
    SegmentStart(SegmentKind),
    SegmentFilledEnd(SegmentKind),
    SegmentEnd(SegmentKind),
    EhFrame,
    /// The bounds of the `.preinit_array`, `.init_array` or `.fini_array` sections.
    ArrayStart(u8),
    ArrayEnd(u8),
    /// The bounds of all sections whose name is the C identifier at this place of [`Unit::bounded`](crate::unit::Unit::bounded).
    SectionStart(u16),
    SectionEnd(u16),
    /// Both ends of a table that is always empty.
    Nothing,
}

/// The names that mean something of the image itself, whatever another image or the host defines under them.
const LINKER_SYMBOLS: [(&[u8], LinkerSymbol); 28] = {
    use LinkerSymbol as S;
    use SegmentKind::{Code, Data, ReadOnly};
    [
        (b"_GLOBAL_OFFSET_TABLE_", S::Got),
        (b"__dso_handle", S::DsoHandle),
        (b"_TLS_MODULE_BASE_", S::TlsModuleBase),
        (b"__executable_start", S::SegmentStart(Code)),
        (b"__ehdr_start", S::SegmentStart(Code)),
        (b"etext", S::SegmentEnd(Code)),
        (b"_etext", S::SegmentEnd(Code)),
        (b"__etext", S::SegmentEnd(Code)),
        (b"data_start", S::SegmentStart(Data)),
        (b"__data_start", S::SegmentStart(Data)),
        (b"edata", S::SegmentFilledEnd(Data)),
        (b"_edata", S::SegmentFilledEnd(Data)),
        (b"__bss_start", S::SegmentFilledEnd(Data)),
        (b"__TMC_END__", S::SegmentFilledEnd(Data)),
        (b"end", S::SegmentEnd(Data)),
        (b"_end", S::SegmentEnd(Data)),
        (b"__GNU_EH_FRAME_HDR", S::EhFrame),
        (b"__EH_FRAME_BEGIN__", S::EhFrame),
        (b"__FRAME_END__", S::SegmentEnd(ReadOnly)),
        (b"__preinit_array_start", S::ArrayStart(0)),
        (b"__preinit_array_end", S::ArrayEnd(0)),
        (b"__init_array_start", S::ArrayStart(1)),
        (b"__init_array_end", S::ArrayEnd(1)),
        (b"__fini_array_start", S::ArrayStart(2)),
        (b"__fini_array_end", S::ArrayEnd(2)),
        (b"__rela_iplt_start", S::Nothing),
        (b"__rela_iplt_end", S::Nothing),
        (b"__libc_atexit", S::Nothing),
    ]
};

pub(crate) fn linker_symbol(name: &[u8]) -> Option<LinkerSymbol> {
    LINKER_SYMBOLS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, symbol)| *symbol)
}

/// What usually provides a symbol that is not found.
pub(crate) fn hint(name: &[u8]) -> &'static str {
    const PROVIDERS: [(&[u8], &str); 14] = [
        (
            b"__asan_",
            "the AddressSanitizer runtime: link the host with -fsanitize=address",
        ),
        (
            b"__tsan_",
            "the ThreadSanitizer runtime: link the host with -fsanitize=thread",
        ),
        (
            b"__msan_",
            "the MemorySanitizer runtime: link the host with -fsanitize=memory",
        ),
        (b"__ubsan_", "the UndefinedBehaviorSanitizer runtime, libubsan"),
        (b"__sanitizer_", "a sanitizer runtime"),
        (b"__llvm_profile_", "the profile runtime, libclang_rt.profile"),
        (b"llvm_gcda_", "the coverage runtime, libclang_rt.profile"),
        (b"__gcov_", "the coverage runtime, libgcov"),
        (b"__safestack_", "the SafeStack runtime"),
        (
            b"__morestack",
            "split-stack code: compile without -fsplit-stack, or add libgcc.a",
        ),
        (
            b"__x86_indirect_thunk_",
            "compile with -mindirect-branch=thunk instead of thunk-extern",
        ),
        (
            b"__x86_return_thunk",
            "compile with -mfunction-return=thunk instead of thunk-extern",
        ),
        (
            b"__rust_",
            "rustc generates these when it links: add the allocator shim's object",
        ),
        (b"_Unwind_", "libgcc_s"),
    ];
    PROVIDERS
        .iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map_or("", |(_, hint)| hint)
}
