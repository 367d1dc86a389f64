"""What a server is told: a TOML file, the command line over it."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from segbench.recipe import Strict, read_toml

MIB = 2**20
LONGEST_S = 1e6  # about what the clocks of threads take
Edge = Annotated[int, Field(ge=1)]
PATHS = ("token_file", "certificate", "key", "client_ca")


class Settings(Strict):
    """All of a server's settings; `serve/server.toml` explains them to people.

    Attributes:
        models: Names of zoo models, or folders and artifacts below `roots`; loaded at the start.
        roots: Folders that models may be read below; zoo models need none.
        host: Address to bind to. Other than loopback only with a token file or mutual TLS.
        http_port: 0 for any free one; None, in a file false, for no HTTP.
        grpc_port: 0 for any free one; None, in a file false, for no gRPC.
        token_file: File of one token a line; a client sends one as "Authorization: Bearer".
        certificate: PEM file of the server's certificate chain, for TLS.
        key: PEM file of its private key.
        client_ca: PEM file of who signs clients' certificates, for mutual TLS.
        engine: See `segbench.engines.start`.
        precision: Of the convolutions.
        threads: Of the processor; all by default.
        device: "cpu" or "cuda".
        unverified: Serve artifacts that segbench verify has not passed here.
        samples: Monte-Carlo samples of a request that does not say.
        max_samples: That a request may ask for.
        max_batch: Most images of waiting requests that run as one batch.
        max_delay_ms: How long a request waits for others to share a batch with.
        max_queue: Requests that may wait; the next one is refused as busy.
        max_queue_mib: Their images' size together, in MiB.
        max_request_mib: Of one request, decompressed, in MiB.
        max_answer_mib: Of one answer, in MiB.
        timeout_s: That a request may wait and run.
        drain_s: That a stop waits for what was accepted.
        bound: Networks that stay compiled for each model; those of one seed, number of samples and shape of tile are
            one, and take up to a GiB.
        rate: Requests a second for each client; None for no limit.
        burst: Requests that a client may send at once above its rate.
        control: Let clients load and unload models.
        warmup: Edges (Z, Y, X) of the image of the inference that comes before readiness.
        allow_origin: Origins of web pages that may ask; none by default.
    """

    models: tuple[str, ...] = Field(default=("vnet-battery",), min_length=1)
    roots: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    http_port: int | None = Field(default=8000, ge=0, le=65535)
    grpc_port: int | None = Field(default=8001, ge=0, le=65535)
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    engine: str = "auto"
    precision: str = "f32"
    threads: int | None = Field(default=None, ge=1)
    device: str = "cpu"
    unverified: bool = False
    samples: int = Field(default=16, ge=0)
    max_samples: int = Field(default=64, ge=0)
    max_batch: int = Field(default=8, ge=1)
    max_delay_ms: float = Field(default=0.0, ge=0, le=10_000)
    max_queue: int = Field(default=64, ge=1)
    max_queue_mib: int = Field(default=1024, ge=1)
    max_request_mib: int = Field(default=256, ge=1)
    max_answer_mib: int = Field(default=1024, ge=1)
    timeout_s: float = Field(default=300.0, gt=0, le=LONGEST_S)
    drain_s: float = Field(default=60.0, ge=0, le=LONGEST_S)
    bound: int = Field(default=4, ge=1)
    rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    burst: int = Field(default=32, ge=1)
    control: bool = False
    warmup: tuple[Edge, Edge, Edge] = (64, 64, 64)
    allow_origin: tuple[str, ...] = ()

    @field_validator("http_port", "grpc_port", mode="before")
    @classmethod
    def _closed(cls, value: object) -> object:
        """TOML has no word for nothing, and False would pass for port 0."""
        return None if value is False else value

    @model_validator(mode="after")
    def _as_many_as_it_takes(self) -> "Settings":
        if self.samples > self.max_samples:
            raise ValueError(f"samples is {self.samples} and max_samples {self.max_samples}: requests would be refused")
        return self


def read_settings(path: Path) -> Settings:
    """Settings of a TOML file; paths in it start from its folder.

    Raises:
        InputError: One line that names the file, the key and what is wrong with it.
    """
    found = read_toml(path, Settings)
    here = path.resolve().parent
    placed = {name: here / value for name in PATHS if (value := getattr(found, name)) is not None}
    return found.model_copy(update=placed | {"roots": tuple(here / root for root in found.roots)})
