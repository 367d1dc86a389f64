"""The short calls of the gRPC service: what is read of each, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass

from tritonclient.grpc import service_pb2

from segbench import __version__
from segbench.serve import grpc_messages as messages
from segbench.serve.refusal import Refusal
from segbench.serve.request import Service
from segbench.serve.settings import Settings
from segbench.serve.triton import config

EXTENSIONS = ("model_configuration", "model_repository", "statistics")
Message = messages.Message
Answers = Callable[[Service, Settings, Message], Message]


@dataclass(frozen=True)
class Call:
    """A method but for `ModelInfer`.

    Attributes:
        kind: Class of the request's message; None where nothing of it is of interest, so that it is not read.
        answer: Makes the answer; may take its time and raise `Refusal`.
        open: Whether it is answered without a token: probes have none.
        control: Whether it loads or unloads, which takes long.
    """

    kind: type[Message] | None
    answer: Answers
    open: bool = False
    control: bool = False


def _live(service: Service, settings: Settings, request: Message) -> Message:
    return service_pb2.ServerLiveResponse(live=True)


def _ready(service: Service, settings: Settings, request: Message) -> Message:
    return service_pb2.ServerReadyResponse(ready=service.ready())


def _server(service: Service, settings: Settings, request: Message) -> Message:
    return service_pb2.ServerMetadataResponse(name="segbench", version=__version__, extensions=EXTENSIONS)


def _model_ready(service: Service, settings: Settings, request: Message) -> Message:
    return service_pb2.ModelReadyResponse(ready=service.model_ready(request.name, request.version))


def _metadata(service: Service, settings: Settings, request: Message) -> Message:
    return messages.metadata(service.describe(request.name, request.version))


def _config(service: Service, settings: Settings, request: Message) -> Message:
    described = service.describe(request.name, request.version)
    return service_pb2.ModelConfigResponse(config=config(described, settings))


def _statistics(service: Service, settings: Settings, request: Message) -> Message:
    return messages.statistics(service.statistics(request.name, request.version))


def _index(service: Service, settings: Settings, request: Message) -> Message:
    _one_repository(request)
    return messages.index(service.index(), request.ready)


def _load(service: Service, settings: Settings, request: Message) -> Message:
    _one_repository(request)
    if request.parameters:  # a configuration or files of the client's own
        raise Refusal("unsupported", "models are loaded as they lie in the repository, without parameters")
    service.load(request.model_name)
    return service_pb2.RepositoryModelLoadResponse()


def _unload(service: Service, settings: Settings, request: Message) -> Message:
    _one_repository(request)  # its parameter is about dependents, which no model has
    service.unload(request.model_name)
    return service_pb2.RepositoryModelUnloadResponse()


def _one_repository(request: Message) -> None:
    if request.repository_name:
        raise Refusal("unknown", "there is one repository, and it has no name")


CALLS = {
    "ServerLive": Call(None, _live, open=True),
    "ServerReady": Call(None, _ready, open=True),
    "ServerMetadata": Call(None, _server),
    "ModelReady": Call(service_pb2.ModelReadyRequest, _model_ready),
    "ModelMetadata": Call(service_pb2.ModelMetadataRequest, _metadata),
    "ModelConfig": Call(service_pb2.ModelConfigRequest, _config),
    "ModelStatistics": Call(service_pb2.ModelStatisticsRequest, _statistics),
    "RepositoryIndex": Call(service_pb2.RepositoryIndexRequest, _index),
    "RepositoryModelLoad": Call(service_pb2.RepositoryModelLoadRequest, _load, control=True),
    "RepositoryModelUnload": Call(service_pb2.RepositoryModelUnloadRequest, _unload, control=True),
}
SERVICE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
