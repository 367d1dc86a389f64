"""What is asked of the machine."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from segbench.hardware import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        b"x" * (64 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(1), faults(10))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_pages_of_freed_arrays_are_kept():
    """Faults of the first large array, and of ten after it, which take its place."""

    def faults(asked):
        said = subprocess.run([sys.executable, "-c", FAULTS, asked], capture_output=True, text=True, check=True)
        return [int(count) for count in said.stdout.split()]

    first, later = faults("keep")
    assert later < first / 4
    first, later = faults("as it is")
    assert later > 5 * first  # else this test could not fail
