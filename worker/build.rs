//! Says early that the H.264 encoder will be slow: openh264 builds without `nasm`, silently, and then
//! needs 2.5 times the CPU.

use std::{env, process::Command};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(halyard_nasm)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-env-changed=OPENH264_NO_ASM");
    let on_x86 = matches!(env::var("CARGO_CFG_TARGET_ARCH").as_deref(), Ok("x86_64" | "x86"));
    let refused = env::var_os("OPENH264_NO_ASM").is_some();
    // Other processors' assembly is compiled by the C compiler.
    let assembled = !refused
        && (!on_x86 || Command::new("nasm").arg("-v").output().is_ok_and(|o| o.status.success()));
    if assembled {
        println!("cargo::rustc-cfg=halyard_nasm");
    } else {
        println!(
            "cargo::warning=nasm was not found: the H.264 encoder will need 2.5 times the CPU. \
             Install nasm (Debian: apt-get install nasm), run `cargo clean -p openh264-sys2`, build again."
        );
    }
}
