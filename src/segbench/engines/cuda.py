"""The few functions of the CUDA runtime that an engine on a card needs, by ctypes: no PyTorch, CuPy or PyCUDA."""

import ctypes
import importlib.util
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from segbench.errors import EngineError

LIBRARIES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so")
TO_CARD, FROM_CARD = 1, 2  # cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost
MAJOR, MINOR = 75, 76  # cudaDevAttrComputeCapabilityMajor, -Minor
NAME, PROPERTIES = (
    256,
    4096,
)  # bytes: cudaDeviceProp begins with the name, and is far shorter than this in every version
Array = npt.NDArray[Any]


class NoCardError(EngineError):
    """This machine has no NVIDIA card that can be used."""


@dataclass(frozen=True)
class Card:
    """An NVIDIA card.

    Attributes:
        name: As its driver says it.
        capability: Compute capability, (major, minor).
    """

    name: str
    capability: tuple[int, int]


class Memory:
    """Memory of the card; freed with the object.

    Attributes:
        address: On the card.
        size: Bytes.
    """

    def __init__(self, cuda: "Cuda", size: int) -> None:
        self.size, pointer = size, ctypes.c_void_p()
        cuda.call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(max(size, 1)))
        self.address = pointer.value or 0
        weakref.finalize(self, cuda.free, self.address)


class Cuda:
    """The runtime with one stream, on the first card that it shows (CUDA_VISIBLE_DEVICES chooses).

    Attributes:
        card: What everything here runs on.
        stream: Address of the stream.

    Raises:
        NoCardError: There is no CUDA runtime, driver or card.
    """

    def __init__(self) -> None:
        self._library = _load()
        self.card = self._card()
        stream = ctypes.c_void_p()
        self.call("cudaStreamCreate", ctypes.byref(stream))
        self.stream = stream.value or 0

    def call(self, function: str, *arguments: Any) -> None:  # noqa: ANN401  (what ctypes takes)
        """Calls a function and looks at what it returns.

        Raises:
            EngineError: CUDA reports an error.
        """
        code = getattr(self._library, function)(*arguments)
        if code:
            raise EngineError(f"{function}: {self._said(code)}")

    def free(self, address: int) -> None:
        """Gives memory back; what fails then is of no use to anybody."""
        self._library.cudaFree(ctypes.c_void_p(address))

    def upload(self, array: Array, memory: Memory) -> None:
        """Starts copying a contiguous array to the card; it must stay as it is until `wait`."""
        self._copy(memory.address, array.ctypes.data, array.nbytes, TO_CARD)

    def download(self, memory: Memory, array: Array) -> None:
        """Starts copying from the card; the array is filled after `wait`."""
        self._copy(array.ctypes.data, memory.address, array.nbytes, FROM_CARD)

    def wait(self) -> None:
        """Until all that was started is done."""
        self.call("cudaStreamSynchronize", ctypes.c_void_p(self.stream))

    def _copy(self, to: int, source: int, size: int, kind: int) -> None:
        self.call(
            "cudaMemcpyAsync", ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(size),
            ctypes.c_int(kind), ctypes.c_void_p(self.stream),
        )  # fmt: skip

    def _said(self, code: int) -> str:
        text = self._library.cudaGetErrorString
        text.restype = ctypes.c_char_p
        return (text(code) or b"").decode() or f"error {code}"

    def _card(self) -> Card:
        count = ctypes.c_int()
        code = self._library.cudaGetDeviceCount(ctypes.byref(count))
        if code or not count.value:
            raise NoCardError(f"no card: {self._said(code) if code else 'CUDA finds no NVIDIA card here'}")
        properties, numbers = ctypes.create_string_buffer(PROPERTIES), []
        self.call("cudaGetDeviceProperties", properties, 0)
        for attribute in (MAJOR, MINOR):
            value = ctypes.c_int()
            self.call("cudaDeviceGetAttribute", ctypes.byref(value), attribute, 0)
            numbers.append(value.value)
        name = properties.raw[:NAME].split(b"\0")[0].decode()
        return Card(name, (numbers[0], numbers[1]))


def _load() -> Any:  # noqa: ANN401  (a library)
    for place in _places():
        try:
            return ctypes.CDLL(place)
        except OSError:
            continue
    raise NoCardError(
        f"no card: this machine has no CUDA runtime ({LIBRARIES[0]}); where there is a card: "
        "pip install nvidia-cuda-runtime"
    )


def _places() -> Iterator[str]:
    """Where the library may be: as the system knows it, or inside pip's packages of NVIDIA."""
    yield from LIBRARIES
    there = importlib.util.find_spec("nvidia")
    for folder in there.submodule_search_locations or () if there else ():
        yield from (str(path) for path in sorted(Path(folder).glob("*/lib/libcudart.so*"), reverse=True))
