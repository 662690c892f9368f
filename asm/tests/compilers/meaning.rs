//! Two objects of which one is LLVM's: the same but for padding and encodings of equal length.

pub(crate) fn differences(ours: &[u8], theirs: &[u8]) -> Vec<String> {
    crate::compare::differences(ours, theirs)
}
