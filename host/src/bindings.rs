//! Generated from WIT: what the host calls in a component (`wit/spin-cron.wit` in the root of the
//! repository) and what it offers to one beside WASI (`host/wit/spin.wit`).

/// The export that Spin's cron trigger calls.
pub mod cron {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "spin-cron",
        exports: { default: async },
    });
}

/// Spin's variables and key-value stores.
pub mod spin {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "spin-imports",
        imports: { default: async | trappable },
        with: { "fermyon:spin/key-value.store": crate::store::Store },
    });
}
