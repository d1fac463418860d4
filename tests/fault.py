"""What a deliberate fault is: the entries of faults.py and faults_of_*.py."""
from typing import NamedTuple


class Fault(NamedTuple):
    name: str
    file: str
    old: str    # occurs once in the file
    new: str    # FAULT stands for "this fault is switched on"
    tests: str  # filter of the tests that have to notice it


def constant(name, file, place, option, value, tests):
    """The option that stands once in `place`, replaced by a constant."""
    return Fault(name, file, place, place.replace(option, f"(FAULT ? {value} : {option})"), tests)


def ignored(name, file, condition, tests):
    """A condition on an option that is never true."""
    return Fault(name, file, condition, f"!FAULT && {condition}", tests)
