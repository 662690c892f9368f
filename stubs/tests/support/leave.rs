/// What `leave.c` defines, compiled and opened.
#[derive(Debug, Clone, Copy)]
pub struct Leave {
    /// `void leave(void)`: to be called by a function on a page.
    pub leave: u64,
    pub jump_out_of: Runs<()>,
    pub cancel_in: Runs<*mut std::ffi::c_void>,
    pub cancel_me: unsafe extern "C" fn(),
}

/// A function of `leave.c` that runs a body with its argument.
pub type Runs<R> = unsafe extern "C" fn(extern "C-unwind" fn(*mut std::ffi::c_void) -> R, *mut std::ffi::c_void) -> i32;

impl Leave {
    pub fn new() -> Self {
        let library = concat!(env!("CARGO_TARGET_TMPDIR"), "/leave.so");
        let mut command = std::process::Command::new("gcc");
        command.args(["-shared", "-fPIC", "-O1", "-pthread", "-ftls-model=initial-exec"]);
        command.args(["-x", "c", "-", "-o", library]).stdin(std::process::Stdio::piped());
        let mut gcc = command.spawn().expect("gcc is needed for this test");
        let mut source = gcc.stdin.take().unwrap();
        std::io::Write::write_all(&mut source, include_bytes!("leave.c")).unwrap();
        drop(source);
        assert!(gcc.wait().unwrap().success(), "{command:?}");
        let library = std::ffi::CString::new(library).unwrap();
        // SAFETY: the library has no constructors.
        let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "{library:?}");
        let find = |name: &std::ffi::CStr| {
            // SAFETY: the handle is that of an open library.
            let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
            assert!(!address.is_null(), "{name:?}");
            address as usize
        };
        Leave {
            leave: find(c"leave") as u64,
            // SAFETY: the source defines a function of this type.
            jump_out_of: unsafe { std::mem::transmute::<usize, Runs<()>>(find(c"jump_out_of")) },
            // SAFETY: as above.
            cancel_in: unsafe { std::mem::transmute::<usize, Runs<*mut std::ffi::c_void>>(find(c"cancel_in")) },
            // SAFETY: as above.
            cancel_me: unsafe { std::mem::transmute::<usize, unsafe extern "C" fn()>(find(c"cancel_me")) },
        }
    }
}
