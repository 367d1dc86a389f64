"""OpenVINO's IR: an ONNX graph written as .xml and .bin, the same bytes each time, and its .xml read back.

Reading needs no OpenVINO: the .xml says which operations there are and what goes in and out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import onnx

from segbench.errors import EngineError, InputError
from segbench.export.operators import IR

_ENDS = ("Parameter", "Result")
_TYPES = {"FP32": "float32", "I32": "int32"}


@dataclass(frozen=True)
class Port:
    """What goes into a graph or comes out.

    Attributes:
        dtype: As NumPy calls it.
        shape: None where a size is open.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Read:
    """What an .xml says.

    Attributes:
        operations: Types of all layers.
        unknown: Those that are not in `segbench.export.operators.IR`.
        reached: By input the outputs that depend on it.
    """

    operations: tuple[str, ...]
    unknown: tuple[str, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    reached: Mapping[str, frozenset[str]]


def write(model: onnx.ModelProto, path: Path, notes: Mapping[str, str]) -> None:
    """Writes `path`, an .xml, and the .bin beside it.

    Args:
        model: In float32, or rounded with QuantizeLinear and DequantizeLinear.
        path: Of the .xml.
        notes: What the .xml says under rt_info, segbench.

    Raises:
        EngineError: OpenVINO refuses the graph.
    """
    import openvino as ov

    try:
        read = ov.Core().read_model(model.SerializeToString())
        _name(read, {name for node in model.graph.node for name in (node.name, *node.output)})
        for key, value in notes.items():
            read.set_rt_info(value, ["segbench", key])
        ov.save_model(read, path, compress_to_fp16=False)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO refuses the graph ({str(error).strip().splitlines()[-1]})") from error


def _name(model: Any, known: set[str]) -> None:  # noqa: ANN401  (OpenVINO has no types)
    """Names what OpenVINO numbers through a process by its place instead: the same graph gives the same bytes."""
    for place, operation in enumerate(model.get_ordered_ops()):
        kept = operation.get_type_name() in ("Parameter", "Result") or operation.get_friendly_name() in known
        if not kept:
            operation.set_friendly_name(f"{operation.get_type_name()}/{place}")


def read(path: Path) -> Read:
    """What the .xml says.

    Raises:
        InputError: It is no IR.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f"{path}: not an IR ({error})") from error
    layers = list(root.iter("layer"))
    strange = {
        f"{layer.get('type')} of {layer.get('version')}"
        for layer in layers
        if layer.get("type") not in IR or not (layer.get("version") or "").startswith("opset")
    }
    top = [] if (found := root.find("layers")) is None else list(found)
    inputs, outputs = ({layer.get("id"): _port(layer) for layer in top if layer.get("type") == kind} for kind in _ENDS)
    edges = [(edge.get("from-layer"), edge.get("to-layer")) for edge in root.findall("edges/edge")]
    reached = {}
    for place, port in inputs.items():
        below, left = {place}, [place]
        while left:
            last = left.pop()
            new = {to for start, to in edges if start == last} - below
            below |= new
            left += new
        reached[port.name] = frozenset(outputs[place].name for place in below & set(outputs))
    operations = tuple(layer.get("type") or "" for layer in layers)
    return Read(operations, tuple(sorted(strange)), tuple(inputs.values()), tuple(outputs.values()), reached)


def _port(layer: ElementTree.Element) -> Port:
    port = next(layer.iter("port"))
    name = port.get("names") if layer.get("type") == "Parameter" else layer.get("output_names")
    sizes = [int(dim.text or 0) for dim in port.iter("dim")]
    dtype = port.get("precision") or ""
    return Port(name or "", _TYPES.get(dtype, dtype), tuple(None if size < 0 else size for size in sizes))
