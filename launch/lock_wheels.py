#!/usr/bin/env python3
"""Writes launch/requirements.lock: every wheel that launch/requirements.txt needs, direct and indirect,
with its version and SHA-256, for the Python versions below on x86-64 Linux.

Run it after a change of requirements.txt and commit both files: .venv/bin/python3 launch/lock_wheels.py
It downloads all wheels (3 GB) once per Python version and installs nothing.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

PYTHONS = ("3.11", "3.12", "3.13")
FOLDER = pathlib.Path(__file__).resolve().parent
HEADER = """\
# Made by launch/lock_wheels.py from requirements.txt: do not edit. launch/setup.sh installs from it.
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


def resolve(requirements, python):
    """{package: (version, SHA-256)} of what pip would install for that Python."""
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "report.json"
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
             "--disable-pip-version-check", "--no-input", "--only-binary=:all:", "--target", scratch,
             "--python-version", python, "--report", report, *requirements], check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {wheel["metadata"]["name"].lower().replace("_", "-"):
            (wheel["metadata"]["version"], wheel["download_info"]["archive_info"]["hashes"]["sha256"])
            for wheel in found}


def section_of_packages(sections):
    """{package: section}: the first section that needs it."""
    wanted, section = [], {}
    for name, requirements in sections.items():
        wanted += requirements
        for package in resolve(wanted, PYTHONS[0]):
            section.setdefault(package, name)
    return section


def main():
    sections = read_sections((FOLDER / "requirements.txt").read_text(encoding="utf-8"))
    everything = [line for requirements in sections.values() for line in requirements]
    section = section_of_packages(sections)
    versions, hashes = {}, {}
    for python in PYTHONS:
        for package, (version, digest) in resolve(everything, python).items():
            if versions.setdefault(package, version) != version:
                sys.exit(f"{package}: {versions[package]} and {version}, by Python version: "
                         f"pin it in requirements.txt")
            hashes.setdefault(package, {})[digest] = None
    lines = [HEADER.format(pythons=", ".join(PYTHONS))]
    for name in sections:
        lines.append(f"#[{name}]\n")
        for package in sorted(package for package in versions if section.get(package, "base") == name):
            digests = "".join(f" --hash=sha256:{digest}" for digest in hashes[package])
            lines.append(f"{package}=={versions[package]}{digests}\n")
    (FOLDER / "requirements.lock").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
