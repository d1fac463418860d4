"""Checks that the program was linked and compiled with what cmake/Warnings.cmake asks for.

elf_hardening.py PROGRAM [BUILD_TYPE]. Exits with 1 and a line for each protection that is missing.
"""
import struct
import sys

PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 2, 0x6474E551, 0x6474E552
DT_FLAGS, DT_FLAGS_1 = 30, 0x6FFFFFFB
BIND_NOW, NOW = 8, 1
EXECUTABLE = 1
POSITION_INDEPENDENT = 3  # ET_DYN
SHT_DYNSYM = 11


def program_headers(elf):
    """(type, flags, offset, size in the file) of each segment."""
    offset, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for i in range(count):
        kind, flags, start = struct.unpack_from("<IIQ", elf, offset + i * size)
        length, = struct.unpack_from("<Q", elf, offset + i * size + 32)
        yield kind, flags, start, length


def dynamic_entries(elf, start, length):
    return dict(struct.iter_unpack("<qQ", elf[start:start + length // 16 * 16]))


def dynamic_symbols(elf):
    """Names of the functions that other libraries give."""
    offset, = struct.unpack_from("<Q", elf, 40)
    size, count = struct.unpack_from("<HH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, offset + i * size) for i in range(count)]
    names = set()
    for _, kind, _, _, start, length, link, *_ in sections:
        if kind != SHT_DYNSYM:
            continue
        texts = sections[link][4]
        for name, *_ in struct.iter_unpack("<IBBHQQ", elf[start:start + length]):
            names.add(elf[texts + name:elf.index(b"\0", texts + name)].decode())
    return names


def missing(elf, build_type):
    segments = list(program_headers(elf))
    kinds = {kind: (flags, start, length) for kind, flags, start, length in segments}
    entries = dynamic_entries(elf, *kinds[PT_DYNAMIC][1:])
    names = dynamic_symbols(elf)
    if PT_GNU_RELRO not in kinds:
        yield "RELRO: -z relro"
    if not (entries.get(DT_FLAGS, 0) & BIND_NOW or entries.get(DT_FLAGS_1, 0) & NOW):
        yield "BIND_NOW: -z now"
    if PT_GNU_STACK not in kinds or kinds[PT_GNU_STACK][0] & EXECUTABLE:
        yield "a stack that is not executable: -z noexecstack"
    if struct.unpack_from("<H", elf, 16)[0] != POSITION_INDEPENDENT:
        yield "addresses that differ from run to run: -pie"
    if "__stack_chk_fail" not in names:
        yield "the stack protector: -fstack-protector-strong"
    if build_type == "Release" and not any(n.startswith("__") and n.endswith("_chk") for n in names):
        yield "checked copies: -D_FORTIFY_SOURCE=3"


def main():
    with open(sys.argv[1], "rb") as file:
        elf = file.read()
    faults = list(missing(elf, sys.argv[2] if len(sys.argv) > 2 else "Release"))
    for fault in faults:
        print(f"{sys.argv[1]} lacks {fault}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
