"""The models of a server: loaded, warmed up, reloaded and unloaded while requests come and go."""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Lock

import numpy as np

from segbench.cascade import Cascade, cascade_of
from segbench.engines import Engine, start
from segbench.errors import InputError, SegbenchError, UnknownNameError
from segbench.foreign import Look, look_of
from segbench.predict import Asked, Case, predict_cases
from segbench.recipe import read_toml
from segbench.serve.bounds import Bounds
from segbench.serve.logs import tell
from segbench.serve.refusal import Refusal
from segbench.serve.request import Listed
from segbench.serve.settings import Settings
from segbench.volume import Volume
from segbench.zoo import CARD, find, names
from segbench.zoo.artifact import MODEL, is_artifact
from segbench.zoo.card import Card

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What a client may call a model: nothing that leads anywhere."""
FAILED = "it could not be loaded; the server's log says why"


@dataclass(eq=False)
class Loaded:
    """A model that answers.

    Attributes:
        card: What it is.
        engine: That runs it.
        look: Says how foreign an image is, if the model has a fit of that.
        cascade: Its second network, if it has one.
        bounds: Its networks that stay compiled.
        users: Requests that were accepted for it and are not answered.
    """

    card: Card
    engine: Engine
    look: Look | None
    cascade: Cascade | None
    bounds: Bounds
    users: int = 0


@dataclass(eq=False)
class _Source:
    """Where a model comes from, and how it is with it; `where` is for `zoo.find`."""

    where: str
    name: str
    version: str
    state: str = "LOADING"
    reason: str = "it is being loaded"
    loaded: Loaded | None = field(default=None)


class Models:
    """Of one server; any thread may call.

    Args:
        settings: Which, from where, on what.
        bound: Told of each use of networks: the model's name, whether they were there.
        changed: Told of a model that has come or gone, and whether it has come.

    Raises:
        InputError: One line: a model that is not there or may not be read, or two of one name and version.
    """

    def __init__(
        self, settings: Settings, bound: Callable[[str, bool], None], changed: Callable[[Loaded, bool], None]
    ) -> None:
        self._settings, self._bound, self._changed = settings, bound, changed
        self._lock, self._loading = Condition(), Lock()
        self._sources: list[_Source] = []
        self._users = 0
        for given in dict.fromkeys(settings.models):
            where = located(given, settings.roots)
            card = find(where).card
            self._check_new(card, None)
            self._sources.append(_Source(where, card.name, card.version))

    def load_all(self) -> None:
        """Loads what was asked for at the start; a model that cannot be is logged, and the others go on."""
        for source in list(self._sources):
            with self._loading:
                self._try(source)

    def ready(self) -> bool:
        """Whether all that were asked for answer; one that was unloaded is not asked for."""
        with self._lock:
            return all(source.loaded is not None or source.state == "UNLOADED" for source in self._sources)

    def failed(self) -> str:
        """Name of a model that was asked for and could not be loaded; empty if there is none."""
        with self._lock:
            return next((source.name for source in self._sources if source.state == "UNAVAILABLE"), "")

    def get(self, name: str, version: str = "") -> Loaded:
        """A loaded model, the newest if no version is given.

        Raises:
            Refusal: "unknown"; "busy" where it is still being loaded.
        """
        with self._lock:
            return self._get(name, version)

    def answers(self, name: str, version: str = "") -> bool:
        """Whether a model that was asked for is loaded.

        Raises:
            Refusal: "unknown": nobody asked for it.
        """
        with self._lock:
            known = [source for source in self._sources if source.name == name and version in ("", source.version)]
            if not known:
                raise self._unknown(name, version)
            return any(source.loaded is not None for source in known)

    def versions(self, name: str) -> tuple[str, ...]:
        """That are loaded, the newest last."""
        with self._lock:
            return tuple(loaded.card.version for loaded in self._loaded(name))

    def all(self) -> list[Loaded]:
        """All that are loaded, by name and version."""
        with self._lock:
            return [loaded for name in sorted({s.name for s in self._sources}) for loaded in self._loaded(name)]

    def enter(self, name: str, version: str) -> Loaded:
        """As `get`, for a request, which says `leave` when it is answered: so long the model is not unloaded."""
        with self._lock:
            loaded = self._get(name, version)
            loaded.users, self._users = loaded.users + 1, self._users + 1
            return loaded

    def leave(self, loaded: Loaded) -> None:
        """A request is answered, or never will be."""
        with self._lock:
            loaded.users, self._users = loaded.users - 1, self._users - 1
            self._lock.notify_all()

    def idle(self, seconds: float) -> bool:
        """Waits until nothing is left to answer; whether that was so in time."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._users, seconds)

    def index(self) -> list[Listed]:
        """Those that were asked for, and those of the zoo and of the roots that could be."""
        with self._lock:
            found = [
                Listed(s.name, s.version, "UNAVAILABLE" if s.state == "UNLOADED" else s.state, s.reason)
                for s in self._sources
            ]
            there = {source.where for source in self._sources}
        for where, folder in self._repository():
            try:
                card = read_toml(folder / CARD, Card)
            except SegbenchError:
                continue
            if where not in there:
                found.append(Listed(card.name, card.version, "UNAVAILABLE", "it was not loaded"))
        return sorted(found, key=lambda listed: (listed.name, newer(listed.version)))

    def load(self, name: str) -> None:
        """Loads a model, or those of that name again; the old ones answer until the new ones are ready, or for good.

        Raises:
            Refusal: "unknown", or "internal" where it cannot be loaded.
        """
        with self._loading:
            with self._lock:
                wanted = [source for source in self._sources if source.name == name]
            if not wanted:
                wanted = [self._new(name)]
            good = [self._try(source) for source in wanted]
        if not all(good):
            raise Refusal("internal", f"model {name!r}: {FAILED}")

    def unload(self, name: str) -> None:
        """Takes all versions of a model out once their requests are answered, at the latest after the timeout.

        Raises:
            Refusal: "unknown".
        """
        with self._loading:
            with self._lock:
                going = [s for s in self._sources if s.name == name and s.loaded is not None]
                if not going:
                    raise self._unknown(name)
                left = [source.loaded for source in going if source.loaded is not None]
                for source in going:
                    source.loaded, source.state, source.reason = None, "UNLOADING", "its requests are being answered"
                self._lock.wait_for(lambda: not any(one.users for one in left), self._settings.timeout_s)
                for source in going:
                    source.state, source.reason = "UNLOADED", "it was unloaded"
            for one in left:
                self._changed(one, False)
                tell("unloaded", model=one.card.name, version=one.card.version)

    def _try(self, source: _Source) -> bool:
        """Loads a source, in place of what it held; whether that went well."""
        with self._lock:
            if source.loaded is None:
                source.state, source.reason = "LOADING", "it is being loaded"
        try:
            loaded = self._start(source)
        except Exception as error:  # whatever an engine raises: the server goes on with what it has
            line = isinstance(error, SegbenchError)
            tell("not loaded", logging.ERROR, error=None if line else error, model=source.name, reason=str(error))
            with self._lock:
                if source.loaded is None:
                    source.state, source.reason = "UNAVAILABLE", FAILED
            return False
        with self._lock:
            old, source.loaded, source.state, source.reason = source.loaded, loaded, "READY", ""
            source.name, source.version = loaded.card.name, loaded.card.version
        if old is not None:
            self._changed(old, False)
        self._changed(loaded, True)
        card, engine = loaded.card, loaded.engine
        tell("loaded", model=card.name, version=card.version, engine=engine.name, device=engine.device)
        return True

    def _start(self, source: _Source) -> Loaded:
        settings, model = self._settings, find(source.where)
        card = model.card
        self._check_new(card, source)
        engine = start(
            model,
            settings.engine,
            settings.precision,
            settings.threads,
            device=settings.device,
            unverified=settings.unverified,
        )
        bounds = Bounds(card, engine, settings.bound, lambda hit: self._bound(card.name, hit))
        loaded = Loaded(card, engine, look_of(model, engine), cascade_of(model, engine), bounds)
        warm_up(loaded, settings)
        return loaded

    def _new(self, name: str) -> _Source:
        """A source for a model that a client asks for: of the zoo, or a folder right below a root."""
        try:
            if not NAME.fullmatch(name):
                raise UnknownNameError("model", name[:100], names())
            where = located(name, self._settings.roots)
            card = find(where).card
            self._check_new(card, None)
        except UnknownNameError as error:
            raise Refusal(
                "unknown", f"unknown model {name[:100]!r}; the repository's index lists what there is"
            ) from error
        except SegbenchError as error:
            tell("not loaded", logging.ERROR, model=name, reason=str(error))
            raise Refusal("internal", f"model {name!r}: {FAILED}") from error
        source = _Source(where, card.name, card.version)
        with self._lock:
            self._sources.append(source)
        return source

    def _check_new(self, card: Card, source: _Source | None) -> None:
        """Refuses a name and version that another source has."""
        for other in self._sources:
            if other is not source and (other.name, other.version) == (card.name, card.version):
                raise InputError(f"model {card.name!r} {card.version} is given twice: {other.where} has it, too")

    def _get(self, name: str, version: str) -> Loaded:
        for loaded in reversed(self._loaded(name)):
            if version in ("", loaded.card.version):
                return loaded
        if any(s.name == name and version in ("", s.version) and s.state == "LOADING" for s in self._sources):
            raise Refusal("busy", f"model {name!r} is being loaded; try again", 1.0)
        raise self._unknown(name, version)

    def _loaded(self, name: str) -> list[Loaded]:
        found = [source.loaded for source in self._sources if source.name == name and source.loaded is not None]
        return sorted(found, key=lambda loaded: newer(loaded.card.version))

    def _unknown(self, name: str, version: str = "") -> Refusal:
        there = [f"{s.name} {s.version}" for s in self._sources if s.loaded is not None]
        asked = f"{name[:100]!r}{f' version {version[:40]!r}' if version else ''}"
        return Refusal("unknown", f"no model {asked} is loaded; there are: {', '.join(sorted(there)) or 'none'}")

    def _repository(self) -> Iterator[tuple[str, Path]]:
        """What can be loaded: where, and the folder of its card."""
        from segbench.resources import folder

        for name in names():
            yield name, folder("model_zoo") / name
        for root in self._settings.roots:
            for path in sorted(root.iterdir()) if root.is_dir() else ():
                card = path / MODEL if is_artifact(path) else path
                if NAME.fullmatch(path.name) and (card / CARD).is_file() and _below(path, self._settings.roots):
                    yield str(path.resolve()), card


def located(given: str, roots: tuple[Path, ...]) -> str:
    """What `zoo.find` takes for a name or folder that was given, if it may be read.

    Raises:
        UnknownNameError: It is neither a zoo model nor a folder.
        InputError: It, or a file in it, lies outside the roots once links are followed.
    """
    if given in names():
        return given
    for path in (*(root / given for root in roots), Path(given)):
        if path.is_dir():
            if not _below(path, roots):
                raise InputError(f"{given}: models are read from the zoo and below the roots only; give --root")
            return str(path.resolve())
    raise UnknownNameError("model", given, names())


def _below(path: Path, roots: tuple[Path, ...]) -> bool:
    """Whether a folder and all in it lie below a root, links followed."""
    real = [root.resolve() for root in roots]
    return all(any(each.resolve().is_relative_to(root) for root in real) for each in (path, *path.rglob("*")))


def newer(version: str) -> list[tuple[int, str]]:
    """Sorts versions by their numbers: 0.10 is newer than 0.9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.\-+]", version)]


def warm_up(loaded: Loaded, settings: Settings) -> None:
    """One inference of noise, so that what is compiled at the first one is compiled before anybody waits for it."""
    core = loaded.card.input.core
    z, y, x = (min(edge, of) for edge, of in zip(settings.warmup, core, strict=True))
    image = np.random.default_rng(0).standard_normal((z, y, x), dtype=np.float32)
    asked = Asked(loaded.card, settings.samples, 0, threads=loaded.engine.threads)
    case = Case(Volume(image), asked, loaded.look, loaded.cascade)
    predict_cases([case], loaded.bounds.get(settings.samples, 0, case.grid.shape), lambda _: None)
    if case.refused is not None:
        raise case.refused
    case.found()
