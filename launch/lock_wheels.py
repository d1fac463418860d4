#!/usr/bin/env python3
"""Writes launch/requirements.lock: every wheel that launch/requirements.txt needs, direct and indirect,
with its version and SHA-256, for the Python versions below on x86-64 Linux.

Run it after a change of requirements.txt and commit both files: .venv/bin/python3 launch/lock_wheels.py
It downloads all wheels (3 GB) once per Python version and installs nothing.

With a path it does the same for packages that are installed beside .venv/:
.venv/bin/python3 launch/lock_wheels.py tests/requirements-optional.txt
What both have gets the version of launch/requirements.lock, and what .venv/ always has is left out. The
packages of a section [source] have no wheel: their source archive is locked, without dependencies.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

PYTHONS = ("3.11", "3.12", "3.13")
FOLDER = pathlib.Path(__file__).resolve().parent
SHARED = ("jinja2=", "markupsafe=", "numpy=", "setuptools=", "typing-extensions=")  # of .venv/, used beside it too
HEADER = """\
# Made by launch/lock_wheels.py from {made_from}: do not edit. {installer} installs from it.
# Several hashes of one package are its wheels for Python {pythons}.
"""


def read_sections(text):
    """{section: [requirement]} in the order of the file."""
    sections = {}
    for line in text.splitlines():
        heading = re.match(r"#\[([a-z-]+)\]", line)
        if heading:
            current = sections.setdefault(heading[1], [])
        elif line and not line.startswith("#"):
            current.append(line)
    return sections


def resolve(requirements, python, source=False):
    """{package: (version, SHA-256)} of what pip would install for that Python."""
    names = ",".join(line.partition("==")[0] for line in requirements)
    kind = [f"--no-binary={names}", "--no-deps"] if source else ["--only-binary=:all:"]
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "report.json"
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
             "--disable-pip-version-check", "--no-input", *kind, "--target", scratch,
             "--python-version", python, "--report", report, *requirements], check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {wheel["metadata"]["name"].lower().replace("_", "-"):
            (wheel["metadata"]["version"], wheel["download_info"]["archive_info"]["hashes"]["sha256"])
            for wheel in found}


def resolve_sections(sections, python, constraints):
    """What pip would install of all sections together; [source] by itself."""
    wheels = [line for name, lines in sections.items() if name != "source" for line in lines]
    found = resolve(wheels + constraints, python)
    if "source" in sections:
        found |= resolve(sections["source"], python, source=True)
    return found


def section_of_packages(sections, constraints):
    """{package: section}: the first section that needs it."""
    wanted, section = {}, {}
    for name, requirements in sections.items():
        wanted[name] = requirements
        for package in resolve_sections(wanted, PYTHONS[0], constraints):
            section.setdefault(package, name)
    return section


def hashes_of_packages(sections, constraints):
    """{package: version}, {package: {SHA-256}} over the Python versions."""
    versions, hashes = {}, {}
    for python in PYTHONS:
        for package, (version, digest) in resolve_sections(sections, python, constraints).items():
            if versions.setdefault(package, version) != version:
                sys.exit(f"{package}: {versions[package]} and {version}, by Python version: "
                         f"pin it in the requirements")
            hashes.setdefault(package, {})[digest] = None
    return versions, hashes


def installed_before():
    """Requirements of launch/requirements.lock that other packages meet, and the packages always there."""
    locked = read_sections((FOLDER / "requirements.lock").read_text(encoding="utf-8"))
    pins = {name: [line.split()[0] for line in lines] for name, lines in locked.items()}
    shared = [pin for pin in pins["base"] + pins["libtorch"] if pin.startswith(SHARED)]
    return shared, {pin.partition("==")[0] for pin in pins["base"]}


def write_lock(path, lock, made_from, installer, constraints, left_out):
    sections = read_sections(path.read_text(encoding="utf-8"))
    section = section_of_packages(sections, constraints)
    versions, hashes = hashes_of_packages(sections, constraints)
    lines = [HEADER.format(pythons=", ".join(PYTHONS), made_from=made_from, installer=installer)]
    first = next(iter(sections))
    for name in sections:
        lines.append(f"#[{name}]\n")
        members = {package for package in versions if section.get(package, first) == name} - left_out
        for package in sorted(members):
            digests = "".join(f" --hash=sha256:{digest}" for digest in hashes[package])
            lines.append(f"{package}=={versions[package]}{digests}\n")
    lock.write_text("".join(lines), encoding="utf-8")


def main():
    if len(sys.argv) == 1:
        path, installer, constraints, left_out = FOLDER / "requirements.txt", "launch/setup.sh", [], set()
    else:
        path, installer = pathlib.Path(sys.argv[1]), "tests/optional.sh"
        constraints, left_out = installed_before()
    write_lock(path, path.with_suffix(".lock"), path.name, installer, constraints, left_out)


if __name__ == "__main__":
    main()
