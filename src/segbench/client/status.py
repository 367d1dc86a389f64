"""How a server is, and what it has."""

from dataclasses import dataclass

from segbench.client.server import Server, refused
from segbench.errors import RemoteError


@dataclass(frozen=True)
class Model:
    """A model of the server's repository.

    Attributes:
        name: Of the model.
        version: Of it.
        state: "READY", or why not: "LOADING", "UNLOADING", "UNAVAILABLE".
        reason: Why it is not ready; empty where it is.
    """

    name: str
    version: str
    state: str
    reason: str = ""


@dataclass(frozen=True)
class Status:
    """A server that answers.

    Attributes:
        url: Where.
        ready: Whether all its models are, and no stop has begun.
        name: Of the software.
        version: Of it.
        models: Loaded or not.
    """

    url: str
    ready: bool
    name: str
    version: str
    models: tuple[Model, ...]


def status(server: Server) -> Status:
    """Asks.

    Raises:
        RemoteError: It cannot be reached, wants a token, or is no such server.
    """
    ready = server.ask("GET", "/v2/health/ready")
    if ready.status not in (200, 503):
        raise refused(ready, server.url)
    told, index = server.ask("GET", "/v2"), server.ask("POST", "/v2/repository/index")
    for reply in (told, index):
        if reply.status != 200:
            raise refused(reply, server.url)
    try:
        said = told.json(server.url)
        models = tuple(
            Model(each["name"], each.get("version", ""), each.get("state", ""), each.get("reason", ""))
            for each in index.json(server.url)
        )
        return Status(server.url, ready.status == 200, said["name"], said["version"], models)
    except (KeyError, TypeError, AttributeError) as error:
        raise RemoteError(f"{server.url}: the answer is not what Open Inference Protocol v2 says", 200) from error
