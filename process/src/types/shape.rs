//! What a type is, apart from what it is called.

use gimli::{AttributeValue, DwTag};

use crate::debug_parts::Reader;
use crate::dwarf::{self, DebugInfo, Entry, Place};

/// How many qualifiers and names a type may be behind.
const LONGEST_CHAIN: u32 = 64;
/// How deep a description of a type goes.
const DEEPEST: u32 = 8;

/// A type without its qualifiers and aliases. `None` stands for `void`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Base {
        bytes: u64,
        class: Class,
    },
    Pointer(Option<Place>),
    Aggregate(Place),
    Enumeration(Place),
    Array {
        element: Option<Place>,
        counts: Vec<Option<u64>>,
    },
    Function(Place),
    Other(DwTag, Option<u64>),
}

/// What the bits of a base type mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Signed,
    Unsigned,
    Float,
    Other(u8),
}

/// A part of a structure, class or union.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// `None` for anonymous structures and unions.
    pub(super) name: Option<String>,
    /// Where it starts, in bits; `None` where only running code can tell, as with virtual bases.
    pub(super) at: Option<u64>,
    /// Of a bit-field.
    pub(super) bits: Option<u64>,
    pub(super) kind: Option<Place>,
}

/// The type that is meant by one with qualifiers and aliases.
pub(super) fn bare(info: &DebugInfo<'_>, kind: Option<Place>) -> Option<(Place, DwTag)> {
    let mut place = kind?;
    for _ in 0..LONGEST_CHAIN {
        let entry = info.entry(place)?;
        match entry.tag() {
            gimli::DW_TAG_typedef
            | gimli::DW_TAG_const_type
            | gimli::DW_TAG_volatile_type
            | gimli::DW_TAG_restrict_type
            | gimli::DW_TAG_atomic_type
            | gimli::DW_TAG_packed_type
            | gimli::DW_TAG_immutable_type
            | gimli::DW_TAG_shared_type
            | gimli::DW_TAG_template_alias => place = info.reference(place, &entry, gimli::DW_AT_type)?,
            tag => {
                // A declaration that stands for a type with a unit of its own.
                if let Some(AttributeValue::DebugTypesRef(_)) = entry.attr_value(gimli::DW_AT_signature)
                    && let Some(full) = info.reference(place, &entry, gimli::DW_AT_signature)
                {
                    place = full;
                    continue;
                }
                return Some((place, tag));
            }
        }
    }
    None
}

pub(super) fn shape(info: &DebugInfo<'_>, kind: Option<Place>) -> Option<Shape> {
    let (place, tag) = bare(info, kind)?;
    let entry = info.entry(place)?;
    let bytes = dwarf::number(&entry, gimli::DW_AT_byte_size);
    let inner = || info.reference(place, &entry, gimli::DW_AT_type);
    Some(match tag {
        gimli::DW_TAG_base_type => Shape::Base {
            bytes: bytes.unwrap_or(0),
            class: class(&entry),
        },
        gimli::DW_TAG_pointer_type | gimli::DW_TAG_reference_type | gimli::DW_TAG_rvalue_reference_type => {
            Shape::Pointer(inner())
        }
        gimli::DW_TAG_structure_type | gimli::DW_TAG_class_type | gimli::DW_TAG_union_type => Shape::Aggregate(place),
        gimli::DW_TAG_enumeration_type => Shape::Enumeration(place),
        gimli::DW_TAG_array_type => Shape::Array {
            element: inner(),
            counts: counts(info, place),
        },
        gimli::DW_TAG_subroutine_type => Shape::Function(place),
        tag => Shape::Other(tag, bytes),
    })
}

fn class(entry: &Entry<'_>) -> Class {
    let Some(AttributeValue::Encoding(encoding)) = entry.attr_value(gimli::DW_AT_encoding) else {
        return Class::Other(0);
    };
    match encoding {
        gimli::DW_ATE_signed | gimli::DW_ATE_signed_char => Class::Signed,
        gimli::DW_ATE_unsigned | gimli::DW_ATE_unsigned_char | gimli::DW_ATE_UTF | gimli::DW_ATE_boolean => {
            Class::Unsigned
        }
        gimli::DW_ATE_float => Class::Float,
        other => Class::Other(other.0),
    }
}

/// The length of each dimension; `None` where the type leaves it open.
fn counts(info: &DebugInfo<'_>, place: Place) -> Vec<Option<u64>> {
    let ranges = info.children(place).into_iter().map(|(_, entry)| entry);
    ranges
        .filter(|entry| entry.tag() == gimli::DW_TAG_subrange_type)
        .map(|entry| {
            let bound = || dwarf::number(&entry, gimli::DW_AT_upper_bound).map(|bound| bound.wrapping_add(1));
            dwarf::number(&entry, gimli::DW_AT_count).or_else(bound)
        })
        .collect()
}

/// Whether the unit says no more of a type than that there is one.
pub(super) fn is_opaque(info: &DebugInfo<'_>, place: Place) -> bool {
    info.entry(place)
        .is_none_or(|entry| dwarf::is_flag_set(&entry, gimli::DW_AT_declaration))
}

pub(super) fn bytes(info: &DebugInfo<'_>, place: Place) -> Option<u64> {
    dwarf::number(&info.entry(place)?, gimli::DW_AT_byte_size)
}

/// The members of a structure, class or union in order, bases first as compilers have them.
pub(super) fn members(info: &DebugInfo<'_>, place: Place) -> Vec<Member> {
    let mut members = Vec::new();
    for (child, entry) in info.children(place) {
        match entry.tag() {
            gimli::DW_TAG_member => members.extend(member(info, child, &entry)),
            gimli::DW_TAG_inheritance => {
                let kind = info.reference(child, &entry, gimli::DW_AT_type);
                let virtually = entry.has_attr(gimli::DW_AT_virtuality);
                let at = dwarf::number(&entry, gimli::DW_AT_data_member_location).map(|bytes| bytes * 8);
                members.push(Member {
                    name: Some(format!("base {}", describe(info, kind))),
                    at: at.filter(|_| !virtually),
                    bits: None,
                    kind,
                });
            }
            // Rust's enumerations: each variant is a structure.
            gimli::DW_TAG_variant_part => {
                for (variant, _) in info.children(child) {
                    let parts = info.children(variant);
                    members.extend(parts.iter().filter_map(|(place, entry)| member(info, *place, entry)));
                }
            }
            _ => {}
        }
    }
    members
}

fn member<'d>(info: &DebugInfo<'d>, place: Place, entry: &Entry<'d>) -> Option<Member> {
    // Static members are variables.
    if entry.tag() != gimli::DW_TAG_member || dwarf::is_flag_set(entry, gimli::DW_AT_external) {
        return None;
    }
    let kind = info.target(place, entry.attr_value(gimli::DW_AT_type)?);
    let start = dwarf::number(entry, gimli::DW_AT_data_member_location).unwrap_or(0) * 8;
    let bits = dwarf::number(entry, gimli::DW_AT_bit_size);
    let at = match (
        dwarf::number(entry, gimli::DW_AT_data_bit_offset),
        dwarf::number(entry, gimli::DW_AT_bit_offset),
    ) {
        (Some(at), _) => at,
        // Before DWARF 4: counted from the highest bit of the field that it is in.
        (None, Some(from_top)) => {
            let own = dwarf::number(entry, gimli::DW_AT_byte_size);
            let field = own.or_else(|| bytes(info, bare(info, kind)?.0)).unwrap_or(0) * 8;
            start
                .wrapping_add(field)
                .wrapping_sub(from_top)
                .wrapping_sub(bits.unwrap_or(0))
        }
        (None, None) => start,
    };
    Some(Member {
        name: info.text(place, entry, gimli::DW_AT_name),
        at: Some(at),
        bits,
        kind,
    })
}

/// The virtual functions of a class, each with its place in the table.
pub(super) fn virtual_functions(info: &DebugInfo<'_>, place: Place) -> Vec<(u64, String)> {
    let mut functions = Vec::new();
    for (child, entry) in info.children(place) {
        // What the compiler adds by itself takes its base's place, and is told of where it is used.
        let implicit = dwarf::is_flag_set(&entry, gimli::DW_AT_artificial);
        if entry.tag() != gimli::DW_TAG_subprogram || !entry.has_attr(gimli::DW_AT_virtuality) || implicit {
            continue;
        }
        let Some(at) = entry.attr_value(gimli::DW_AT_vtable_elem_location).and_then(element) else {
            continue;
        };
        // Of destructors, which take two places, compilers tell differently or not at all.
        let name = info.symbol_name(child).unwrap_or_default();
        if !info
            .text(child, &entry, gimli::DW_AT_name)
            .is_some_and(|name| name.starts_with('~'))
        {
            functions.push((at, name));
        }
    }
    functions.sort();
    functions
}

fn element(value: AttributeValue<Reader<'_>>) -> Option<u64> {
    let expression = value.exprloc_value()?;
    let encoding = gimli::Encoding {
        format: gimli::Format::Dwarf32,
        version: 5,
        address_size: 8,
    };
    match expression.operations(encoding).next().ok()?? {
        gimli::Operation::UnsignedConstant { value } => Some(value),
        gimli::Operation::SignedConstant { value } => Some(value.cast_unsigned()),
        _ => None,
    }
}

/// The names of an enumeration with their values.
pub(super) fn enumerators(info: &DebugInfo<'_>, place: Place) -> Vec<(String, u64)> {
    let children = info.children(place).into_iter();
    children
        .filter(|(_, entry)| entry.tag() == gimli::DW_TAG_enumerator)
        .filter_map(|(place, entry)| {
            let name = info.text(place, &entry, gimli::DW_AT_name)?;
            let value = entry.attr_value(gimli::DW_AT_const_value)?;
            let signed = value.sdata_value().map(i64::cast_unsigned);
            Some((name, signed.or_else(|| value.udata_value())?))
        })
        .collect()
}

/// A function's result and parameters.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    pub(super) result: Option<Place>,
    pub(super) parameters: Vec<(Option<String>, Option<Place>)>,
    pub(super) variadic: bool,
    /// Whether it says anything of its parameters.
    pub(super) is_known: bool,
}

pub(super) fn signature(info: &DebugInfo<'_>, place: Place) -> Signature {
    // A copy of an inline function has what the function has.
    let mut place = place;
    for _ in 0..DEEPEST {
        let origin = info
            .entry(place)
            .and_then(|entry| info.reference(place, &entry, gimli::DW_AT_abstract_origin));
        match origin {
            Some(origin) => place = origin,
            None => break,
        }
    }
    let result = info.inherited(place, gimli::DW_AT_type);
    let mut signature = Signature {
        result: result.and_then(|(place, _, value)| info.target(place, value)),
        parameters: Vec::new(),
        variadic: false,
        is_known: info.inherited(place, gimli::DW_AT_prototyped).is_some(),
    };
    // gcc puts the parameters of a pack into an entry of their own, in some of a function's instances.
    let flat = info.children(place).into_iter().flat_map(|(child, entry)| {
        if entry.tag() == gimli::DW_TAG_GNU_formal_parameter_pack {
            info.children(child)
        } else {
            vec![(child, entry)]
        }
    });
    for (child, entry) in flat {
        match entry.tag() {
            gimli::DW_TAG_formal_parameter => {
                let kind = info.inherited(child, gimli::DW_AT_type);
                let kind = kind.and_then(|(place, _, value)| info.target(place, value));
                let name = info.text(child, &entry, gimli::DW_AT_name);
                signature.parameters.push((name, kind));
            }
            gimli::DW_TAG_unspecified_parameters => signature.variadic = true,
            _ => {}
        }
    }
    signature.is_known |= !signature.parameters.is_empty();
    signature
}

/// A type in the words of C.
pub(super) fn describe(info: &DebugInfo<'_>, kind: Option<Place>) -> String {
    describe_to(info, kind, DEEPEST)
}

fn describe_to(info: &DebugInfo<'_>, kind: Option<Place>, depth: u32) -> String {
    let Some((place, entry)) = kind.and_then(|place| Some((place, info.entry(place)?))) else {
        return "void".into();
    };
    if depth == 0 {
        return "...".into();
    }
    let inner = |place| describe_to(info, place, depth - 1);
    let of = info.reference(place, &entry, gimli::DW_AT_type);
    let name = info.text(place, &entry, gimli::DW_AT_name);
    let called = |word: &str| format!("{word} {}", name.as_deref().unwrap_or("without a name"));
    match entry.tag() {
        gimli::DW_TAG_const_type => format!("const {}", inner(of)),
        gimli::DW_TAG_volatile_type | gimli::DW_TAG_restrict_type | gimli::DW_TAG_atomic_type => inner(of),
        gimli::DW_TAG_pointer_type => match inner(of) {
            text if text.ends_with('*') => format!("{text}*"),
            text => format!("{text} *"),
        },
        gimli::DW_TAG_reference_type => format!("{} &", inner(of)),
        gimli::DW_TAG_rvalue_reference_type => format!("{} &&", inner(of)),
        gimli::DW_TAG_structure_type => called("struct"),
        gimli::DW_TAG_class_type => called("class"),
        gimli::DW_TAG_union_type => called("union"),
        gimli::DW_TAG_enumeration_type => called("enum"),
        gimli::DW_TAG_array_type => {
            let counts = counts(info, place).into_iter();
            let counts: Vec<String> = counts
                .map(|count| format!("[{}]", count.map_or_else(String::new, |count| count.to_string())))
                .collect();
            format!("{}{}", inner(of), counts.concat())
        }
        gimli::DW_TAG_subroutine_type => {
            let signature = signature(info, place);
            let parameters: Vec<String> = signature.parameters.iter().map(|(_, kind)| inner(*kind)).collect();
            format!("{} ({})", inner(signature.result), parameters.join(", "))
        }
        _ => name.unwrap_or_else(|| entry.tag().to_string()),
    }
}

/// A base type with its size, where names alone do not tell two types apart.
pub(super) fn describe_bare(info: &DebugInfo<'_>, kind: Option<Place>) -> String {
    let Some((place, _)) = bare(info, kind) else {
        return "void".into();
    };
    match bytes(info, place) {
        Some(bytes) => format!("{} of {bytes} bytes", describe(info, Some(place))),
        None => describe(info, Some(place)),
    }
}
