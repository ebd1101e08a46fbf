"""Parses the layer with BitBake's own parser and holds it against the repository.

PyPI's `bitbake-setup` has the parser; openembedded-core is not to be had there, so its classes are empty stand-ins here. Noticed are
syntax, unknown includes, Python that fails, crates without a checksum, and every file, path and name that recipe, unit and repository
must agree on. What the classes make of it is not.
"""

import contextlib
import hashlib
import pathlib
import re
import shutil
import sys
import tempfile
import tomllib
import types

# bb.siggen imports them and parsing does not need them; the wheel comes without.
sys.modules["hashserv"] = types.ModuleType("hashserv")
sys.modules["hashserv.client"] = sys.modules["hashserv"].client = types.ModuleType("hashserv.client")

import bb.data_smart  # noqa: E402
import bb.fetch2  # noqa: E402
import bb.parse  # noqa: E402

LAYER = "yocto/meta-rovercast"
RECIPE = f"{LAYER}/recipes-rovercast/rovercast/rovercast_git.bb"
CLASSES = "base cargo cargo-update-recipe-crates core-image features_check packagegroup ptest-cargo systemd useradd"
# What a product says to get the kernel's options. Not the name of a recipe: openembedded-core refuses those as overrides.
KERNEL_OVERRIDE = "rovercast-kernel"
# What openembedded-core's bitbake.conf says of the paths that the recipe names.
PATHS = {
    "bindir": "/usr/bin",
    "sysconfdir": "/etc",
    "systemd_system_unitdir": "/usr/lib/systemd/system",
    "nonarch_base_libdir": "/usr/lib",
}


def problems(root):
    """What is wrong with the layer of the repository at `root`, one line each."""
    with contextlib.ExitStack() as stack:
        stand_ins = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (stand_ins / "classes").mkdir()
        for name in CLASSES.split():
            (stand_ins / f"classes/{name}.bbclass").touch()
        bb.parse.siggen = types.SimpleNamespace(finalise=lambda *_: None)
        return list(layer_problems(pathlib.Path(root).resolve(), stand_ins))


def layer_problems(root, stand_ins):
    layer = root / LAYER
    for path in [root / "yocto/kas/base.yml", layer / "README.md"]:
        if f'DISTROOVERRIDES .= ":{KERNEL_OVERRIDE}"' not in path.read_text():
            yield f"{path.relative_to(root)}: it does not say {KERNEL_OVERRIDE}"
    for path in sorted([layer / "conf/layer.conf", *layer.rglob("*.bb"), *layer.rglob("*.bbappend")]):
        shown = path.relative_to(root)
        try:
            data = parsed(path, layer, stand_ins)
            for problem in source_problems(data, root):
                yield f"{shown}: {problem}"
            if str(shown) == RECIPE:
                for problem in recipe_problems(data, root):
                    yield f"{shown}: {problem}"
        except Exception as error:  # whatever a recipe's Python can do
            yield f"{shown}: {type(error).__name__}: {error}"


def parsed(path, layer, stand_ins):
    """The file as BitBake understands it, with every variable expanded once."""
    recipe = path
    if path.suffix == ".bbappend":
        recipe = stand_ins / f"{path.stem.split('_')[0]}_1.0.bb"
        recipe.touch()
    name, _, version = recipe.stem.partition("_")
    data = bb.data_smart.DataSmart()
    for key, value in {
        **PATHS,
        "BBFILE_COLLECTIONS": "core rovercast",
        "BBPATH": f"{stand_ins}:{layer}",
        "BB_NO_NETWORK": "1",
        "BP": "${PN}-${PV}",
        "CORE_IMAGE_EXTRA_INSTALL": "",
        "D": "${WORKDIR}/image",
        "DL_DIR": f"{stand_ins}/downloads",
        "FILE": str(recipe),
        "LAYERDIR": str(layer),
        # A product that asked for the kernel fragments.
        "OVERRIDES": f"aarch64:qemuarm64:{KERNEL_OVERRIDE}",
        "PERSISTENT_DIR": f"{stand_ins}/persistent",
        "PN": name,
        "PV": version,
        "S": "${UNPACKDIR}/${BP}",
        "THISDIR": "${@os.path.dirname(d.getVar('FILE'))}",
        "TOPDIR": str(stand_ins),
        "UNPACKDIR": "${WORKDIR}/sources",
        "WORKDIR": f"{stand_ins}/work",
        "__bbclasstype": "recipe",
        "__inherit_cache": [],
    }.items():
        data.setVar(key, value)
    if name in data.getVar("OVERRIDES").split(":"):
        raise ValueError(f"an override has the name of the recipe {name}")
    if path.suffix == ".bbappend":
        data.setVar("__BBAPPEND", str(path))
    configuration = path.suffix == ".conf"
    data = bb.parse.handle(str(path if configuration else recipe), data, configuration)
    data = data if configuration else data[""]
    for key in data.keys():
        if not data.getVarFlag(key, "func", False):
            data.getVar(key)
    return data


def source_problems(data, root):
    """Crates that cannot be trusted and local files that are not there."""
    for url in (data.getVar("SRC_URI") or "").split():
        kind, _, path, _, _, parameters = bb.fetch2.decodeurl(url)
        if kind == "crate" and not data.getVarFlag("SRC_URI", f"{parameters['name']}.sha256sum"):
            yield f"no checksum for the crate {parameters['name']}"
        if kind == "file":
            folders = [folder for folder in (data.getVar("FILESEXTRAPATHS") or "").split(":") if folder]
            if not any((pathlib.Path(folder) / path).is_file() for folder in folders):
                yield f"{url} is in none of {[str(pathlib.Path(folder).resolve().relative_to(root)) for folder in folders]}"


def recipe_problems(data, root):
    """Where recipe, unit and repository say different things of one thing."""
    cargo = tomllib.loads((root / "Cargo.toml").read_text())
    package = cargo["package"]
    if data.getVar("PV") != f"{package['version']}+git":
        yield f"PV is {data.getVar('PV')} when Cargo.toml has {package['version']}"
    if data.getVar("LICENSE") != package["license"].replace(" OR ", " | "):
        yield f"LICENSE is {data.getVar('LICENSE')} when Cargo.toml has {package['license']}"
    for file in data.getVar("LIC_FILES_CHKSUM").split():
        _, _, path, _, _, parameters = bb.fetch2.decodeurl(file)
        found = hashlib.md5((root / path.lstrip("/")).read_bytes()).hexdigest()
        if parameters["md5"] != found:
            yield f"{path} has the checksum {found}"
    for feature in set(data.getVarFlags("PACKAGECONFIG") or {}) - {"defaultval"}:
        if feature not in cargo["features"]:
            yield f"PACKAGECONFIG[{feature}] is no feature of Cargo.toml"

    # cargo.bbclass installs the program.
    installed = {f"{PATHS['bindir']}/{package['name']}"}
    folders = set()
    for source, target in re.findall(r"install -D -m \d+ (\S+) (\S+)", data.getVar("do_install")):
        source = root / pathlib.Path(source).relative_to(data.getVar("S"))
        target = "/" + str(pathlib.Path(target).relative_to(data.getVar("D")))
        if not source.is_file():
            yield f"installs {source.relative_to(root)}, which is not there"
        installed.add(target)
        folders.add(str(pathlib.Path(target).parent))
    for file in data.getVar("CONFFILES:rovercast").split():
        if file not in installed:
            yield f"CONFFILES has {file}, which is not installed"

    unit = f"{PATHS['systemd_system_unitdir']}/{data.getVar('SYSTEMD_SERVICE:rovercast')}"
    if unit not in installed:
        yield f"SYSTEMD_SERVICE needs {unit}, which is not installed"
    settings = (root / "board/systemd/rovercast.service").read_text()
    for program in re.findall(r"^Exec\w+=[-@:+!]*(\S+)", settings, re.MULTILINE):
        if program not in installed:
            yield f"the unit runs {program}, which is not installed"
    for path in re.findall(r"^LoadCredential=\w[\w-]*:(\S+)", settings, re.MULTILINE):
        if str(pathlib.Path(path).parent) not in folders:
            yield f"the unit reads {path}, in a folder that is not made"
    for user in re.findall(r"^User=(\S+)", settings, re.MULTILINE):
        if user not in data.getVar("USERADD_PARAM:rovercast").split():
            yield f"the unit's user {user} is not made"


# One fault each, and what must be said of it. A check that passes everything would look the same as a layer without faults.
PLANTED = [
    (RECIPE, "EOF", 'SUMMARY = "\n', "unparsed line"),
    (RECIPE, "require rovercast-crates.inc", "require rovercast-boxes.inc", "rovercast-boxes.inc"),
    (f"{LAYER}/recipes-rovercast/rovercast/rovercast-crates.inc", "SRC_URI[tokio-", "SRC_URI[tokyo-", "no checksum for the crate tokio-"),
    (RECIPE, "board/udev/70-rovercast.rules", "board/udev/71-rovercast.rules", "71-rovercast.rules, which is not there"),
    (RECIPE, '"0.1.0+git"', '"0.0.9+git"', "PV is 0.0.9+git"),
    (RECIPE, "--user-group rovercast", "--user-group nobody", "user rovercast is not made"),
    (RECIPE, "PACKAGECONFIG[software-encoder]", "PACKAGECONFIG[rkmpp]", "no feature of Cargo.toml"),
    ("LICENSE-MIT", "EOF", "\n", "LICENSE-MIT has the checksum"),
    ("board/systemd/rovercast.service", "/usr/bin/rovercast", "/usr/sbin/rovercast", "the unit runs /usr/sbin/rovercast"),
    ("yocto/kas/base.yml", ":rovercast-kernel", ":rovercast", "does not say rovercast-kernel"),
    (f"{LAYER}/recipes-kernel/linux/linux-yocto_%.bbappend", "rovercast.cfg", "rover.cfg", "file://rover.cfg is in none of"),
]


def unnoticed(root):
    """The planted faults that nobody would be told of."""
    for number, (path, old, new, told) in enumerate(PLANTED):
        with tempfile.TemporaryDirectory() as copy:
            copy = pathlib.Path(copy)
            for part in ["yocto", "board", "Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", ".git"]:
                source = root / part
                (copy / part).symlink_to(source) if part == ".git" else (
                    shutil.copytree(source, copy / part) if source.is_dir() else shutil.copy(source, copy / part)
                )
            text = (copy / path).read_text()
            if old not in text and old != "EOF":
                yield f"planted fault {number}: {path} has no {old!r} to change"
                continue
            (copy / path).write_text(text + new if old == "EOF" else text.replace(old, new, 1))
            found = problems(copy)
            if not any(told in problem for problem in found):
                yield f"planted fault {number}: expected {told!r}, got {found}"


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    found = problems(root) or list(unnoticed(root))
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))


main()
