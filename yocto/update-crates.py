#!/usr/bin/env python3
"""Writes the recipe's list of crates from Cargo.lock, or says with --check whether it is up to date.

The same as `bitbake -c update_crates rovercast`, without BitBake. The list has every crate of Cargo.lock: cargo reads the manifests
of those that only tests or other systems need, too, and has no network when the recipe is built.
"""

import pathlib
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIST = ROOT / "yocto/meta-rovercast/recipes-rovercast/rovercast/rovercast-crates.inc"
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def main():
    arguments = sys.argv[1:]
    if arguments not in ([], ["--check"]):
        sys.exit("usage: yocto/update-crates.py [--check]")
    wanted = crates_inc(tomllib.loads((ROOT / "Cargo.lock").read_text()))
    if not arguments:
        LIST.write_text(wanted)
    elif not LIST.exists() or LIST.read_text() != wanted:
        sys.exit(f"{LIST.relative_to(ROOT)} does not match Cargo.lock: run yocto/update-crates.py")


def crates_inc(lock):
    crates = [package for package in lock["package"] if "source" in package]
    for crate in crates:
        # The recipe has no way to fetch others.
        if crate["source"] != CRATES_IO:
            sys.exit(f"Cargo.lock takes {crate['name']} {crate['version']} from {crate['source']} when expecting crates.io")
    names = [f"{crate['name']}-{crate['version']}" for crate in crates]
    urls = [f"crate://crates.io/{crate['name']}/{crate['version']};name={name}" for crate, name in zip(crates, names)]
    lines = ["# Written by yocto/update-crates.py from Cargo.lock.", "", 'SRC_URI += "' + " \\\n            ".join(urls) + '"', ""]
    lines += [f'SRC_URI[{name}.sha256sum] = "{crate["checksum"]}"' for crate, name in zip(crates, names)]
    return "\n".join(lines) + "\n"


main()
