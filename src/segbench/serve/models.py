"""The models of a server: loaded, warmed up, reloaded and unloaded while requests come and go."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Lock

from segbench.errors import InputError, SegbenchError
from segbench.serve.loaded import Loaded
from segbench.serve.loaded import loaded as ready
from segbench.serve.logs import tell
from segbench.serve.refusal import Refusal
from segbench.serve.repository import located, newer, repository
from segbench.serve.request import Listed
from segbench.serve.settings import Settings
from segbench.zoo import find
from segbench.zoo.card import Card

FAILED = "it could not be loaded; the server's log says why"


@dataclass(eq=False)
class _Source:
    """Where a model comes from, and how it is with it.

    Attributes:
        where: For `zoo.find`.
        name: Of its card.
        version: Of its card.
        asked: The server was started with it, and no client has unloaded it since.
        state: As in `Listed`.
        reason: Why it is not ready.
        loaded: What answers.
    """

    where: str
    name: str
    version: str
    asked: bool
    state: str = "LOADING"
    reason: str = "it is being loaded"
    loaded: Loaded | None = None


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
            self._sources.append(_Source(where, card.name, card.version, asked=True))

    def load_all(self) -> None:
        """Loads what was asked for at the start; a model that cannot be is logged, and the others go on."""
        for source in list(self._sources):
            with self._loading:
                self._try(source)

    def ready(self) -> bool:
        """Whether all that the server was started with answer; what clients load and unload changes nothing."""
        with self._lock:
            return all(source.loaded is not None for source in self._sources if source.asked)

    def failed(self) -> str:
        """Name of a model that was asked for and could not be loaded; empty if there is none."""
        with self._lock:
            return next((source.name for source in self._sources if source.asked and source.state == "UNAVAILABLE"), "")

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
            found = [Listed(source.name, source.version, source.state, source.reason) for source in self._sources]
            there = {source.where for source in self._sources}
        for where, card in repository(self._settings.roots):
            if where not in there:
                found.append(Listed(card.name, card.version, "UNAVAILABLE", "it was not loaded"))
        return sorted(found, key=lambda listed: (listed.name, newer(listed.version)))

    def load(self, name: str) -> None:
        """Loads the newest version of a model that there is, and those again that were loaded or asked for.

        The old ones answer until the new ones are ready, or for good.

        Raises:
            Refusal: "unknown", or "internal" where one cannot be loaded.
        """
        with self._loading:
            with self._lock:
                wanted = [source for source in self._sources if source.name == name]
            wanted += self._newest(name, wanted)
            if not wanted:
                raise Refusal("unknown", f"unknown model {name[:100]!r}; the repository's index lists what there is")
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
                    source.asked = False
                self._lock.wait_for(lambda: not any(one.users for one in left), self._settings.timeout_s)
                for source in going:
                    source.state, source.reason = "UNAVAILABLE", "it was unloaded"
            for one in left:
                self._changed(one, False)
                tell("unloaded", model=one.card.name, version=one.card.version)

    def _try(self, source: _Source) -> bool:
        """Loads a source, in place of what it held; whether that went well."""
        with self._lock:
            if source.loaded is None:
                source.state, source.reason = "LOADING", "it is being loaded"
        try:
            model = find(located(source.where, self._settings.roots))  # links may have changed
            self._check_new(model.card, source)
            loaded = ready(model, self._settings, self._bound)
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

    def _newest(self, name: str, known: list[_Source]) -> list[_Source]:
        """A source for the newest model of a name in the index, if it is newer than those that are known."""
        there = [(where, card) for where, card in repository(self._settings.roots) if card.name == name]
        where, card = max(there, key=lambda each: newer(each[1].version), default=("", None))
        newest = [newer(source.version) for source in known]
        if card is None or where in {s.where for s in known} or max(newest, default=[]) >= newer(card.version):
            return []
        source = _Source(where, card.name, card.version, asked=False)
        with self._lock:
            self._sources.append(source)
        return [source]

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
