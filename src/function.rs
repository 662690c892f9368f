//! Typed pointers to loaded functions.

use std::marker::PhantomData;
use std::ops::Deref;

/// A function in a session, borrowed from it: it can be called for as long as the session exists.
///
/// Unloading the module that defines it while this exists breaks the promise made to
/// [`Session::unload`](crate::Session::unload).
#[derive(Debug, Clone, Copy)]
pub struct Function<'session, F> {
    pointer: F,
    session: PhantomData<&'session ()>,
}

impl<F: FunctionPointer> Function<'_, F> {
    /// # Safety
    /// A function of type `F` starts at `address`.
    pub(crate) unsafe fn new(address: u64) -> Self {
        // SAFETY: the caller's promise.
        let pointer = unsafe { F::from_address(address) };
        Function {
            pointer,
            session: PhantomData,
        }
    }
}

impl<F> Deref for Function<'_, F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.pointer
    }
}

/// A type of C functions: `extern "C" fn(A, ..) -> R` with up to twelve parameters, `unsafe` or not, and with
/// `"C-unwind"` for functions that may throw.
pub trait FunctionPointer: Copy + private::Sealed {
    /// The function at an address.
    ///
    /// # Safety
    /// A function of this type starts there.
    #[doc(hidden)]
    unsafe fn from_address(address: u64) -> Self;
}

mod private {
    pub trait Sealed {}
}

macro_rules! function_pointers {
    ($($parameter:ident)*) => {
        function_pointers!(@ extern "C" fn($($parameter),*) -> R; $($parameter)*);
        function_pointers!(@ unsafe extern "C" fn($($parameter),*) -> R; $($parameter)*);
        function_pointers!(@ extern "C-unwind" fn($($parameter),*) -> R; $($parameter)*);
        function_pointers!(@ unsafe extern "C-unwind" fn($($parameter),*) -> R; $($parameter)*);
    };
    (@ $function:ty; $($parameter:ident)*) => {
        impl<R, $($parameter),*> private::Sealed for $function {}
        impl<R, $($parameter),*> FunctionPointer for $function {
            unsafe fn from_address(address: u64) -> Self {
                // SAFETY: the caller's promise; a function pointer has the size of an address.
                unsafe { std::mem::transmute::<usize, Self>(address as usize) }
            }
        }
    };
}

function_pointers!();
function_pointers!(A);
function_pointers!(A B);
function_pointers!(A B C);
function_pointers!(A B C D);
function_pointers!(A B C D E);
function_pointers!(A B C D E F);
function_pointers!(A B C D E F G);
function_pointers!(A B C D E F G H);
function_pointers!(A B C D E F G H I);
function_pointers!(A B C D E F G H I J);
function_pointers!(A B C D E F G H I J K);
function_pointers!(A B C D E F G H I J K L);
