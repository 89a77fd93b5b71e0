// SPDX-License-Identifier: GPL-2.0-only

//! Machine code for guests, which LLVM assembles.

/// Makes a function that returns machine code. The symbols say where it starts and ends. The code
/// has to run at any address, and to reach nothing outside of it. `where` gives names to numbers.
#[macro_export]
macro_rules! guest_code {
    ($(#[$doc:meta])* fn $name:ident, $start:ident, $end:ident
        $(where $($key:ident = $number:expr),+)?; $($line:literal,)+) => {
        std::arch::global_asm!(
            ".pushsection .rodata.guest, \"a\"",
            ".balign 4",
            concat!(".global ", stringify!($start), ", ", stringify!($end)),
            concat!(stringify!($start), ":"),
            $($line,)+
            concat!(stringify!($end), ":"),
            ".popsection",
            $($($key = const $number,)+)?
        );

        $(#[$doc])*
        pub fn $name() -> &'static [u32] {
            extern "C" {
                static $start: [u32; 0];
                static $end: [u32; 0];
            }
            // SAFETY: The symbols delimit instructions, which are words in read-only memory.
            unsafe {
                let start = $start.as_ptr();
                std::slice::from_raw_parts(start, $end.as_ptr().offset_from(start) as usize)
            }
        }
    };
}
