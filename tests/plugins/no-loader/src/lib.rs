//! A library that is no plugin: it exports a function, but no root module.

/// Something for the symbol table.
pub extern "C" fn answer() -> u32 {
    42
}
