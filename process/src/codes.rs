//! The reasons for which patches are refused, by the names that scripts know them by.

/// A kind of reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The stable name.
    pub name: &'static str,
    /// What is so.
    pub meaning: &'static str,
    /// Whether [`Options::allow`](crate::Options::allow) overrides it: where who knows the program can know better.
    pub can_be_allowed: bool,
}

const fn allowed(name: &'static str, meaning: &'static str) -> Code {
    Code {
        name,
        meaning,
        can_be_allowed: true,
    }
}

const fn never(name: &'static str, meaning: &'static str) -> Code {
    Code {
        name,
        meaning,
        can_be_allowed: false,
    }
}

/// All of them, in the order of their names.
pub const CODES: [Code; 27] = [
    never("ambiguous", "several static definitions of the process could be meant"),
    never("changed", "code in the process is not what its file says"),
    allowed(
        "clone",
        "the compiler made copies of the function for some callers, which the patch lacks",
    ),
    never(
        "constructor",
        "the patch has constructors, and it was not asked for to run them",
    ),
    never("duplicate", "the patch defines a function more than once"),
    never("entry", "the function's first bytes have no room for a jump"),
    allowed(
        "enum",
        "a name of an enumeration has another value, or the enumeration another size",
    ),
    never(
        "folded",
        "another function has the same code, and would be replaced too",
    ),
    never("ifunc", "a function chooses its implementation at start"),
    allowed(
        "initial-value",
        "a variable that stays is initialized otherwise in the patch",
    ),
    allowed(
        "inlined",
        "functions that are not replaced have a copy of the function inside",
    ),
    allowed(
        "layout",
        "a structure, class or union that both sides use has another layout",
    ),
    never("link", "the patch cannot be linked for the process"),
    never("name", "another patch has the name, or it is none"),
    never("no-function", "the patch defines no function that the process has"),
    never(
        "object",
        "an object has relocations that cannot be pointed elsewhere, or a function without code",
    ),
    allowed(
        "registers",
        "callers keep values in registers that the function left alone, and the patch changes",
    ),
    allowed(
        "signature",
        "a function that others call has another result or other parameters",
    ),
    never("slots", "too many functions of the process are redirected"),
    never("space", "no memory is free near the patched code"),
    never("tls", "a thread-local variable has no place in the process"),
    never("unreadable", "code of the process cannot be read"),
    never(
        "unwind",
        "the patch's unwind table makes no sense, or there is no more room for it",
    ),
    never("variable-size", "a variable that both sides define has another size"),
    allowed("variable-type", "a variable that both sides use is of another type"),
    never("versions", "too many patches of one function are applied at a time"),
    allowed("vtable", "a class's table of virtual functions has another order"),
];

/// Whether a refusal of that name can be overridden.
pub(crate) fn is_overridable(name: &str) -> bool {
    CODES.iter().any(|code| code.name == name && code.can_be_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_each_stands_once() {
        assert!(CODES.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(is_overridable("layout") && !is_overridable("entry") && !is_overridable("nonsense"));
    }
}
