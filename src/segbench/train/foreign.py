"""What a model's training scans look like, fitted to them: the volumes of its recipe, augmented as in training.

Nothing else is seen: no benchmark, no real scan, nothing foreign.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tomli_w

from segbench.data import pool
from segbench.data.augmentation import Shape, augment, crop
from segbench.data.pool import Sample
from segbench.engines import ENGINES, runtime_for
from segbench.errors import EngineError, InputError
from segbench.foreign import known, of_volume
from segbench.foreign.descriptors import SMALLEST, describe
from segbench.foreign.encoder import Encoder, encoder
from segbench.foreign.look import encoded
from segbench.foreign.windows import EDGE
from segbench.io import file_sha256, write_bytes
from segbench.normalisation import Normalisation, fit
from segbench.recipe import read_toml
from segbench.resources import folder
from segbench.train.recipe import Recipe
from segbench.train.sources import DataRecipe
from segbench.volume import Float32, Volume
from segbench.zoo import CARD, Model, find
from segbench.zoo.card import Card, FileCard
from segbench.zoo.findings import ForeignCard
from segbench.zoo.page import page

FILE, README = "foreign.npz", "README.md"
SEED = 9
THRESHOLD = 0.99  # one training scan in a hundred is called foreign
Float64 = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]  # what is done, steps done, steps in all


def add(path: Path, recipe_file: Path | None = None, progress: Progress | None = None) -> Card:
    """Fits a model's look to its training scans and pins it in its card; the model's hash stays.

    Args:
        path: Folder of the model.
        recipe_file: That it was trained with; found by the card where it is one of the project's.
        progress: Called as volumes are made and looked at.

    Raises:
        InputError: No model, not the recipe that its card names, or training volumes too small to look at.
        EngineError: No runtime for its graph is installed.
    """
    model = find(str(path))
    recipe = _recipe(model, recipe_file)
    runtime = runtime_for("")
    if runtime is None:
        raise EngineError(
            f"the network's features are computed by ONNX Runtime or OpenVINO: {ENGINES['onnxruntime'][2]}"
        )
    see = encoder(model, runtime)
    looked = list(_looked(model, recipe, see, progress or (lambda what, done, of: None)))
    described, tile = np.stack([grey for grey, _, _ in looked]), np.array([part for _, _, part in looked])
    deep = [found for _, found, _ in looked if found is not None]
    known.write(model.path / FILE, known.fit(described, np.stack(deep) if deep else None, tile))
    count = int(np.count_nonzero(~tile))
    fitted = ForeignCard(
        threshold=min(THRESHOLD, count / (count + 1)),  # of a few scans: farther off than all of them
        features=len(deep[0]) if deep else 0,
        on=f"{count} augmented scans of the recipe's volumes, {3 * count // 4} of them single slices",
    )
    pinned = FileCard(path=FILE, sha256=file_sha256(model.path / FILE))
    files = model.card.files.model_copy(update={"foreign": pinned})
    card = model.card.model_copy(update={"files": files, "foreign": fitted})
    write_bytes(model.path / README, page(card))
    write_bytes(model.path / CARD, tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)))
    return card


def _recipe(model: Model, file: Path | None) -> Recipe:
    trained = model.card.training
    found = file or folder("train") / trained.recipe
    if not found.is_file():
        raise InputError(
            f"{found}: no such recipe; give the one that {model.card.name} was trained with: --recipe FILE"
        )
    if file_sha256(found) != trained.recipe_sha256:
        raise InputError(
            f"{found}: not the recipe that {model.card.name} was trained with, by its hash; give that: --recipe FILE"
        )
    recipe = read_toml(found, Recipe)
    if not isinstance(recipe.data, DataRecipe):
        raise InputError(f"{model.card.name}: what is foreign is fitted to volumes; it was trained on slices")
    return recipe


def scans(
    sample: Sample, recipe: Recipe, normalisation: Normalisation, rng: np.random.Generator, within: np.random.Generator
) -> Iterator[tuple[Float32, bool]]:
    """Windows [N, Y, X] of a training volume as four scans: the whole, two slices and a small one.

    Each is cut, scaled and augmented as in training, and then normalised by itself, as a scan is that is predicted. The
    first two are also looked at as tiles are: a part of two thirds of their edges, normalised with the whole; these
    are True.
    """
    edge, how = min(sample.image.shape), recipe.augmentation.model_copy(update={"flat": 0.0})
    small = min(edge, EDGE)
    shapes: tuple[Shape, ...] = ((edge,) * 3, (1, edge, edge), (1, edge, edge), (1, small, small))
    for number, shape in enumerate(shapes):
        drawn = how.drawn(rng)
        image, _ = crop(sample.image, sample.label, shape, drawn, rng)
        volume = Volume(augment(image, drawn, rng))
        scaling = fit(normalisation, volume)
        seen = of_volume(volume, scaling)
        if seen is None:
            raise InputError(
                f"training volumes of {edge} voxels are too small to look at; at least {SMALLEST} are needed"
            )
        yield seen, False
        if number < 2:
            tile = of_volume(_part(volume, within), scaling)
            if tile is not None:
                yield tile, True


def _part(volume: Volume, rng: np.random.Generator) -> Volume:
    """A random box of two thirds of the edges."""
    edges = [n if n == 1 else max(SMALLEST, 2 * n // 3) for n in volume.shape]
    starts = [int(rng.integers(0, n - edge + 1)) for n, edge in zip(volume.shape, edges, strict=True)]
    return Volume(volume.data[tuple(slice(a, a + edge) for a, edge in zip(starts, edges, strict=True))])


def _looked(
    model: Model, recipe: Recipe, see: Encoder | None, progress: Progress
) -> Iterator[tuple[Float64, Float64 | None, bool]]:
    data, normalisation = recipe.data, model.card.input.normalisation
    assert isinstance(data, DataRecipe)  # `_recipe` saw to it
    plan = pool.plan(data.domains, data.volumes_per_domain, data.randomised, data.first_seed, data.wide)
    paths = pool.make(plan, data.size, pool.cache(), lambda done, of, name: progress(f"making {name}", done, of))
    for number, ((domain, _), path) in enumerate(zip(plan, paths, strict=True)):
        sample = pool.read(path, domain.name, normalisation, data.labels)
        drawn, within = (np.random.default_rng([SEED, number, *more]) for more in ((), (1,)))
        for seen, tile in scans(sample, recipe, normalisation, drawn, within):
            yield describe(seen), None if see is None else encoded(seen, see), tile
        progress("looking at training scans", number + 1, len(paths))
