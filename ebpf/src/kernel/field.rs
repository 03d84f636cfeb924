//! How a field of a context or of a socket is read.

/// Reads one field of a context or of a socket, at its own offset and width, which is all
/// that the verifier accepts: volatile, so that the compiler neither merges the read with
/// its neighbour's nor makes it through a computed pointer.
macro_rules! field {
    ($pointer:expr, $($field:tt)+) => {
        // SAFETY: the kernel hands over a context, and with it a socket, that are valid
        // while the program runs; a socket that was looked up is held until it is released.
        unsafe { ::core::ptr::read_volatile(&raw const (*$pointer).$($field)+) }
    };
}

/// Reads an IPv6 address in the same way.
macro_rules! field6 {
    ($pointer:expr, $field:ident) => {
        ::oci_bind_hook_ebpf::net::V6([
            $crate::kernel::field::field!($pointer, $field[0]),
            $crate::kernel::field::field!($pointer, $field[1]),
            $crate::kernel::field::field!($pointer, $field[2]),
            $crate::kernel::field::field!($pointer, $field[3]),
        ])
    };
}

pub(crate) use {field, field6};
