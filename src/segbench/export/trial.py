"""A part of an artifact on trial: linted, run, compared with PyTorch's answer, shown to be alive, scored."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segbench.errors import EngineError, InputError, SegbenchError
from segbench.export.accuracy import SAMPLES, Yardstick, first_alone, samples_of, where
from segbench.export.checks import masks_alike
from segbench.export.kinds import SECOND
from segbench.export.lint import lint
from segbench.export.parity import compare
from segbench.export.profile import Profile, Tolerance, tolerance_of
from segbench.export.runners import NotHereError, Run, runner
from segbench.masks import SAMPLES as MOST
from segbench.masks import SEEDS
from segbench.zoo import Model
from segbench.zoo.artifact import Check, Kind, Part
from segbench.zoo.proof import drawn_of
from segbench.zoo.reference import Array, Reference

OUTPUTS: dict[Kind, dict[str, str]] = {  # output -> where the reference has it
    "masked": {"logits": "logits"},
    "deterministic": {"logits": "deterministic"},
    "seeded": {"logits": "logits"},
    "aggregated": {"mean": "mean", "entropy": "entropy", "mutual_information": "mutual_information"},
    "doubt": {"logits": "doubt"},
    "patch": {"logits": "local"},
    "dense": {"logits": "local"},
}
ALIVE = 1e-3  # least mean difference of two samples, in standard deviations; a dead network's is 0
ALIVE_MEAN = 1e-4  # of two means of a few samples each
INPUTS: dict[Kind, dict[str, str]] = {  # likewise, of graphs that take no image of a scan
    "doubt": {"features": "features"},
    "patch": {"patches": "patches", "context": "context"},
    "dense": {"image": "seen"},
}
GRAPHS = (".onnx", ".xml")


@dataclass(frozen=True)
class Trial:
    """One part, and what it is held to.

    Attributes:
        folder: Of the artifact.
        part: What is run.
        model: Card and graph, as they lie in the artifact.
        reference: What PyTorch gave.
        profile: Tolerances by precision.
        device: "cpu" or "cuda".
        yardstick: Volumes to score on; None leaves scoring out.
    """

    folder: Path
    part: Part
    model: Model
    reference: Reference
    profile: Profile
    device: str
    yardstick: Yardstick | None

    def checks(self) -> Iterator[Check]:
        """All checks, one after the other; a part that cannot be run has only the first two."""
        if self.part.path.endswith(GRAPHS):
            yield self._told("lint", self._lint)
        try:
            tolerance = tolerance_of(self.profile, self.part.precision)
            run = runner(self.folder, self.part, self.device)
        except NotHereError as error:
            yield self._check("outputs", "not run", f"not run: {error}")
            return
        except SegbenchError as error:
            yield self._check("outputs", "failed", str(error))
            return
        yield self._told("outputs", lambda: self._outputs(run, tolerance))
        yield self._told("repeat", lambda: self._repeat(run))
        if self.part.kind in ("seeded", "aggregated"):
            yield self._told("masks", lambda: self._masks(run))
        if self.part.kind in SECOND:
            return
        if self.part.kind != "deterministic" and self.model.card.dropout:
            yield self._told("liveness", lambda: self._liveness(run))
        if self.yardstick is not None:
            yield self._told("accuracy", lambda: self._accuracy(run, tolerance))

    def _told(self, name: str, look: Callable[[], Check]) -> Check:
        try:
            return look()
        except NotHereError as error:
            return self._check(name, "not run", f"not run: {error}")
        except SegbenchError as error:
            return self._check(name, "failed", str(error))

    def _check(self, name: str, status: str, said: str, numbers: Mapping[str, float] | None = None) -> Check:
        return Check.model_validate(
            {"name": name, "part": self.part.path, "status": status, "said": said, "numbers": numbers or {}}
        )

    def _inputs(self, seed: int | None = None) -> dict[str, Array]:
        """The reference's, or those of another seed."""
        reference = self.reference
        if self.part.kind in SECOND:
            return {name: self._of_reference(where) for name, where in INPUTS[self.part.kind].items()}
        inputs: dict[str, Array] = {"image": reference.image}
        if self.part.kind == "masked":
            samples = reference.samples.tolist()
            inputs["masks"] = reference.masks if seed is None else drawn_of(self.model.card.dropout, seed, samples)
        elif self.part.kind != "deterministic":
            inputs["seed"] = reference.seed if seed is None else np.array([seed], np.int32)
            inputs["samples"] = reference.samples
        return inputs

    def _of_reference(self, name: str) -> Array:
        array: Array | None = getattr(self.reference, name)
        if array is None:
            raise InputError(f"the reference has no {name} of a second network: segbench zoo reference FOLDER makes it")
        return array

    def _run(self, run: Run, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs, which are of the right names and shapes."""
        found = run(inputs)
        shapes = {name: self._of_reference(where).shape for name, where in OUTPUTS[self.part.kind].items()}
        if self.part.kind in ("seeded", "aggregated"):
            shapes["masks"] = self.reference.masks.shape
        for name, shape in shapes.items():
            if name not in found:
                raise EngineError(f"it gives {', '.join(found)} and no {name}")
            if found[name].shape != shape:
                raise EngineError(f"its {name} has shape {found[name].shape}, not {shape}")
        return found

    def _lint(self) -> Check:
        faults = lint(self.folder / self.part.path, self.part.kind, self.part.runtime)
        if faults:
            return self._check("lint", "failed", "; ".join(faults))
        return self._check("lint", "passed", f"nothing random, and only what {self.part.runtime} takes")

    def _outputs(self, run: Run, tolerance: Tolerance) -> Check:
        found = self._run(run, self._inputs())
        names = OUTPUTS[self.part.kind]
        each = [compare(n, found[n], self._of_reference(where), tolerance) for n, where in names.items()]
        wrong = [difference for difference in each if not difference.passed]
        numbers = {key: value for difference in each for key, value in difference.numbers.items()}
        said = "; ".join(str(difference) for difference in wrong or each)
        return self._check("outputs", "failed" if wrong else "passed", f"differs: {said}" if wrong else said, numbers)

    def _repeat(self, run: Run) -> Check:
        first = {name: array.tobytes() for name, array in run(self._inputs()).items()}
        again = {name: array.tobytes() for name, array in run(self._inputs()).items()}
        apart = [name for name in first if first[name] != again[name]]
        if apart:
            return self._check("repeat", "failed", f"equal inputs gave another {', '.join(apart)} the second time")
        return self._check("repeat", "passed", "equal inputs give equal bits")

    def _masks(self, run: Run) -> Check:
        """At the reference's seed, and where seed and samples are as large as they may be."""
        whose = "drawn in the graph"
        checked = masks_alike(self._run(run, self._inputs())["masks"], self.reference.masks, whose, self.part.path)
        if checked.status == "failed":
            return checked
        samples = [MOST - 1 - number * (MOST // 3) for number in range(len(self.reference.samples))]
        far = {"seed": np.array([SEEDS - 1], np.int32), "samples": np.array(samples, np.int32)}
        found = self._run(run, self._inputs() | far)["masks"]
        expected = drawn_of(self.model.card.dropout, SEEDS - 1, samples)
        beyond = masks_alike(found, expected, f"{whose} at the largest seed", self.part.path)
        return beyond if beyond.status == "failed" else checked

    def _liveness(self, run: Run) -> Check:
        name = next(iter(OUTPUTS[self.part.kind]))
        first = self._run(run, self._inputs())[name].astype(np.float64)
        other = self._run(run, self._inputs(int(self.reference.seed[0]) + 1))[name].astype(np.float64)
        least = (ALIVE if name == "logits" else ALIVE_MEAN) * float(getattr(self.reference, name).std())
        apart = {"two seeds": float(np.abs(first - other).mean())}
        if len(first) > 1:
            apart["two samples"] = min(float(np.abs(a - b).mean()) for a, b in zip(first, first[1:], strict=False))
        numbers = {f"{what.split()[1]}_differ_by": value for what, value in apart.items()}
        dead = [f"{what} give the same {name} (apart by {value:.2g})" for what, value in apart.items() if value < least]
        if dead:
            return self._check("liveness", "failed", f"dropout is dead or frozen: {' and '.join(dead)}", numbers)
        said = ", ".join(f"{what} differ by {value:.2g}" for what, value in apart.items())
        return self._check("liveness", "passed", f"dropout is alive: {said} on average", numbers)

    def _accuracy(self, run: Run, tolerance: Tolerance) -> Check:
        assert self.yardstick is not None
        kind = self.part.kind
        try:
            expected = self.yardstick.reference(kind)
        except EngineError as error:
            raise NotHereError(f"the reference cannot run ({error})") from error
        found = self.yardstick.part(kind, run, self.part.runtime)
        fell, rose = expected.accuracy - found.accuracy, found.nll - expected.nll
        numbers = {f"{name}{of}": getattr(score, name) for of, score in (("", found), ("_reference", expected))
                   for name in ("accuracy", "nll", "ece")}  # fmt: skip
        alone = ", the first network alone" if first_alone(kind) and self.model.card.cascade is not None else ""
        said = (
            f"{where(self.model.card)}{alone}, {f'T = {SAMPLES}' if samples_of(kind) else 'no dropout'}: "
            f"accuracy {found.accuracy:.5f} (reference {expected.accuracy:.5f}), NLL {found.nll:.5f} "
            f"({expected.nll:.5f}), ECE {found.ece:.5f} ({expected.ece:.5f})"
        )
        if fell <= tolerance.accuracy and rose <= tolerance.nll:
            return self._check("accuracy", "passed", said, numbers)
        limit = f"accuracy may fall by {tolerance.accuracy:g} and NLL rise by {tolerance.nll:g}"
        return self._check("accuracy", "failed", f"{said}: {limit}", numbers)
