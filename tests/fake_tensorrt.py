"""A TensorRT and a CUDA runtime without a card, as strict as the real ones about what is called when.

The names are those of the real package, and nothing here is not there (`test_tensorrt.py` compares them where
TensorRT-RTX is installed). An "engine file" is the graph with what it was built for, and ONNX Runtime computes it.
Nothing that is asynchronous happens before the stream is waited for.
"""

import ctypes
import enum
import json
import sys
import types
from importlib.machinery import ModuleSpec

import numpy as np
import onnx
import onnxruntime as ort

MAGIC = b"fake engine\n"
REFUSED = {"Bernoulli", "Dropout", "RandomUniformLike"}


class WrongError(AssertionError):
    """The real one would crash, hang or compute garbage."""


class Cuda:
    """What `ctypes.CDLL` of libcudart gives, for memory of the processor."""

    def __init__(self, name=b"NVIDIA Fake 1", capability=(8, 9), cards=1):
        self.name, self.capability, self.cards = name, capability, cards
        self.memory, self.queue, self.freed = {}, [], []
        self.cudaGetErrorString = lambda code: f"error {code}".encode()

    def cudaGetDeviceCount(self, count):  # noqa: N802
        count._obj.value = self.cards
        return 0 if self.cards else 100

    def cudaGetDeviceProperties(self, properties, device):  # noqa: N802
        properties[: len(self.name) + 1] = self.name + b"\0"
        return 0

    def cudaDeviceGetAttribute(self, value, attribute, device):  # noqa: N802
        value._obj.value = self.capability[{75: 0, 76: 1}[attribute]]
        return 0

    def cudaStreamCreate(self, stream):  # noqa: N802
        stream._obj.value = 77
        return 0

    def cudaMalloc(self, pointer, size):  # noqa: N802
        block = ctypes.create_string_buffer(b"\xff" * size.value, size.value)
        pointer._obj.value = ctypes.addressof(block)
        self.memory[pointer._obj.value] = block
        return 0

    def cudaFree(self, pointer):  # noqa: N802
        self.freed.append(pointer.value)
        del self.memory[pointer.value]
        return 0

    def cudaMemcpyAsync(self, to, source, size, kind, stream):  # noqa: N802
        if stream.value != 77:
            return 400
        on_card = to if kind.value == 1 else source
        if size.value > len(self.memory[on_card.value]):
            return 1
        self.queue.append(lambda: ctypes.memmove(to.value, source.value, size.value))
        return 0

    def cudaStreamSynchronize(self, stream):  # noqa: N802
        while self.queue:
            self.queue.pop(0)()
        return 0

    def array(self, address, shape, dtype):
        """What lies at an address; only the start of a block is known."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if address not in self.memory or size > len(self.memory[address]):
            raise WrongError(f"{size} bytes at {address} are not allocated")
        return np.frombuffer(self.memory[address], dtype, int(np.prod(shape))).reshape(shape)


def package(name, version, cuda):
    """A module of that name with the part of TensorRT's Python API that segbench uses."""
    made = types.ModuleType(name)
    made.__spec__ = ModuleSpec(name, None)
    made.__version__, made.cuda, made.configs = version, cuda, []
    own = API if name == "tensorrt_rtx" else {key: value for key, value in API.items() if key != "ComputeCapability"}
    for key, value in own.items():
        setattr(made, key, type(key, (value,), {"trt": made}) if key in BOUND else value)
    made.nptype = lambda kind: {DataType.FLOAT: np.float32, DataType.INT32: np.int32}[kind]
    return made


class ILogger:
    ERROR, INTERNAL_ERROR, WARNING = "error", "internal error", "warning"


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.Enum):
    TF32 = 0
    VERSION_COMPATIBLE = 1


class HardwareCompatibilityLevel(enum.Enum):
    NONE = 0
    AMPERE_PLUS = 1
    SAME_COMPUTE_CAPABILITY = 2


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class ComputeCapability(enum.Enum):
    CURRENT = 1
    SM86 = 86
    SM89 = 89
    SM120 = 120


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class DataType(enum.Enum):
    FLOAT = 0
    INT32 = 3


class ITimingCache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return self.content


class IOptimizationProfile:
    def __init__(self):
        self.spans = {}

    def set_shape(self, input, min, opt, max):
        if not len(min) == len(opt) == len(max) or any(not a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
            raise ValueError("shapes are not in order")
        self.spans[input] = (tuple(min), tuple(opt), tuple(max))


class INetworkDefinition:
    def __init__(self, flags):
        self.flags, self.model = flags, None


class ParserError:
    def __init__(self, number, node):
        self._number, self._node = number, node

    def code(self):
        return "ErrorCode.UNSUPPORTED_NODE"

    def desc(self):
        return "no importer"

    def node(self):
        return self._number

    def node_name(self):
        return self._node.name

    def node_operator(self):
        return self._node.op_type


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._errors = network, []

    def parse(self, model):
        loaded = onnx.load_from_string(model)
        found = enumerate(loaded.graph.node)
        self._errors = [ParserError(number, node) for number, node in found if node.op_type in REFUSED]
        self._network.model = loaded
        return not self._errors

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]


class IBuilderConfig:
    def __init__(self):
        self.profiles, self.set, self.limits, self.cache = [], {BuilderFlag.TF32}, {}, None
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.builder_optimization_level = 3
        self.num_compute_capabilities, self.capabilities = 0, {}

    def set_flag(self, flag):
        self.set.add(flag)

    def clear_flag(self, flag):
        self.set.discard(flag)

    def set_memory_pool_limit(self, pool, size):
        self.limits[pool] = size

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, content):
        return ITimingCache(content)

    def set_timing_cache(self, cache, ignore_mismatch):
        if ignore_mismatch or b"another" in cache.content:
            return False
        self.cache = cache
        return True

    def get_timing_cache(self):
        return self.cache

    def set_compute_capability(self, capability, index):
        if index >= self.num_compute_capabilities:
            return False
        self.capabilities[index] = capability
        return True


class Builder:
    def __init__(self, logger):
        self._logger = logger

    def create_network(self, flags):
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        if network.flags != 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED:
            raise WrongError("not strongly typed")
        (profile,) = config.profiles
        for value in network.model.graph.input:
            edges = [dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim]
            for span in profile.spans.get(value.name, ()):
                fits = len(span) == len(edges) and all(e in (-1, s) for e, s in zip(edges, span, strict=True))
                if not fits:
                    raise WrongError(f"profile of {value.name}: {span} in {edges}")
            if -1 in edges and value.name not in profile.spans:
                self._logger.log(ILogger.ERROR, f"Network has dynamic inputs, but no profile sets {value.name}")
                return None
        if config.cache is not None:
            config.cache.content += b"t"
        self.trt.configs.append(config)
        about = {
            "version": self.trt.__version__,
            "brings code": BuilderFlag.VERSION_COMPATIBLE in config.set,
            "spans": profile.spans,
        }
        return MAGIC + json.dumps(about).encode() + b"\n" + network.model.SerializeToString()


class Runtime:
    def __init__(self, logger):
        self._logger, self.engine_host_code_allowed = logger, False

    def deserialize_cuda_engine(self, serialized_engine):
        if not serialized_engine.startswith(MAGIC):
            self._logger.log(ILogger.ERROR, "Serialization\n assertion failed: magic tag")
            return None
        about, graph = serialized_engine.removeprefix(MAGIC).split(b"\n", 1)
        said = json.loads(about)
        if said["brings code"] and not self.engine_host_code_allowed:
            self._logger.log(ILogger.ERROR, "the plan holds host code, which is not allowed")
            return None
        return ICudaEngine(self.trt, said["spans"], graph)


class ICudaEngine:
    def __init__(self, trt, spans, graph):
        self._trt, self._spans, model = trt, spans, onnx.load_from_string(graph)
        self._session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self._values = {value.name: (TensorIOMode.INPUT, value) for value in model.graph.input}
        self._values |= {value.name: (TensorIOMode.OUTPUT, value) for value in model.graph.output}

    @property
    def num_io_tensors(self):
        return len(self._values)

    def get_tensor_name(self, index):
        return list(self._values)[index]

    def get_tensor_mode(self, name):
        return self._values[name][0]

    def get_tensor_dtype(self, name):
        return {1: DataType.FLOAT, 6: DataType.INT32}[self._values[name][1].type.tensor_type.elem_type]

    def create_execution_context(self):
        return IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine):
        self._engine, self._shapes, self._addresses = engine, {}, {}

    def set_input_shape(self, name, shape):
        least, _, most = self._engine._spans[name]
        if len(shape) != len(least) or any(not a <= b <= c for a, b, c in zip(least, shape, most, strict=True)):
            return False
        self._shapes[name] = tuple(shape)
        return True

    def infer_shapes(self):
        return [name for name, (mode, _) in self._engine._values.items() if mode is TensorIOMode.INPUT
                and name not in self._shapes]  # fmt: skip

    def get_tensor_shape(self, name):
        if name in self._shapes:
            return self._shapes[name]
        if self.infer_shapes():
            raise WrongError("the shape of an output before those of the inputs")
        samples = self._shapes["masks"][0] if "masks" in self._shapes else 1
        classes = self._engine._values[name][1].type.tensor_type.shape.dim[1].dim_value
        return (samples, classes, *self._shapes["image"][2:])

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        engine, cuda = self._engine, self._engine._trt.cuda
        if stream != 77:
            raise WrongError("another stream")
        if self.infer_shapes() or set(self._addresses) != set(engine._values):
            raise WrongError("a shape or an address is not set")
        shapes = {name: self.get_tensor_shape(name) for name in engine._values}
        addresses = dict(self._addresses)

        def run():
            at = {name: cuda.array(addresses[name], shapes[name], engine._trt.nptype(engine.get_tensor_dtype(name)))
                  for name in shapes}  # fmt: skip
            given = {name: at[name] for name, (mode, _) in engine._values.items() if mode is TensorIOMode.INPUT}
            for output, value in zip(engine._session.get_outputs(), engine._session.run(None, given), strict=True):
                at[output.name][...] = value

        cuda.queue.append(run)
        return True


BOUND = {"Builder", "Runtime"}
API = {
    kind.__name__: kind
    for kind in (
        ILogger, NetworkDefinitionCreationFlag, BuilderFlag, HardwareCompatibilityLevel, MemoryPoolType,
        ComputeCapability, TensorIOMode, DataType, ITimingCache, IOptimizationProfile, INetworkDefinition, ParserError,
        OnnxParser, IBuilderConfig, Builder, Runtime, ICudaEngine, IExecutionContext,
    )
}  # fmt: skip


def install(monkeypatch, name="tensorrt", version="11.4.0.106", **card):
    """Puts the package and its card in place of what is installed; gives (package, CUDA)."""
    cuda = Cuda(**card)
    made = package(name, version, cuda)
    monkeypatch.setitem(sys.modules, name, made)
    monkeypatch.setattr("segbench.engines.cuda._load", lambda: cuda)
    return made, cuda
