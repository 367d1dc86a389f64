"""What a second network costs: measures the numbers of docs/cascade.md. Weights are random, speed does not mind.

    python docs/cascade.py [--threads 4] [--rounds 5] [--slices 4] [--engine openvino] [--precision f32 bf16]

UGSM and LCGAR as `train/matphase.toml` has them; which pixels are doubted, the threshold decides: it is set to a
quantile of what the classifier says of these slices. Contenders take turns, so that a busy machine disturbs all alike.
"""

import argparse
import statistics
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import numpy as np
import torch

from segbench import nets
from segbench.cascade import Cascade, cascade_of
from segbench.engines import Engine, start
from segbench.export.graph import export
from segbench.export.second import export_doubt, export_local
from segbench.io import file_sha256
from segbench.masks import masks
from segbench.nets.doubt import Doubt
from segbench.nets.lcgar import Lcgar
from segbench.normalisation import Normalisation
from segbench.predict import predict
from segbench.predict.margin import mean_logits
from segbench.volume import Volume
from segbench.zoo import Model
from segbench.zoo.card import Card, CascadeCard, FileCard, FilesCard, InputCard, NetworkCard
from segbench.zoo.findings import TrainingCard

SHAPE, SAMPLES = (224, 256), 16
SHARES = (0.05, 0.1, 0.2, 0.3)


def made(folder: Path) -> Model:
    """Random UGSM, doubt and LCGAR as a model."""
    torch.manual_seed(0)
    recipe = tomllib.loads((Path(__file__).parent.parent / "train/matphase.toml").read_text())["first"]
    first = nets.build(recipe["network"]["kind"], **recipe["network"]["options"])
    export(first, folder / "model.onnx")
    export_doubt(Doubt(), folder / "doubt.onnx")
    export_local(Lcgar(), 3, folder / "local.onnx")
    (folder / "weights.safetensors").write_bytes(b"")
    names = {"weights": "weights.safetensors", "graph": "model.onnx", "doubt": "doubt.onnx", "local": "local.onnx"}
    files = {what: FileCard(path=name, sha256=file_sha256(folder / name)) for what, name in names.items()}
    nothing = dict.fromkeys(("recipe", "recipe_sha256", "data", "labels", "device", "torch", "finished"), "")
    numbers = dict.fromkeys(("hours", "loss", "validation_accuracy", "validation_miou"), 0.0)
    card = Card(
        name="random",
        version="0",
        title="Random weights",
        licence="MIT",
        classes=("pore", "carbon", "nickel"),
        activation="softmax",
        mean="logits",
        network=NetworkCard(kind=recipe["network"]["kind"], parameters=0),
        input=InputCard(normalisation=Normalisation(), **recipe["tile"], multiple=(1, 8, 8)),
        cascade=CascadeCard(edge=11, threshold=0.5, parameters=0),
        dropout=first.sites,
        files=FilesCard(**files),
        training=TrainingCard(seed=0, steps=0, **nothing, **numbers),
    )
    return Model(card=card, path=folder)


def without(model: Model) -> Model:
    """The first network alone."""
    files = model.card.files.model_copy(update={"doubt": None, "local": None})
    return model.model_copy(update={"card": model.card.model_copy(update={"cascade": None, "files": files})})


def doubting(model: Model, threshold: float) -> Model:
    """The same with another threshold."""
    assert model.card.cascade is not None
    cascade = model.card.cascade.model_copy(update={"threshold": threshold})
    return model.model_copy(update={"card": model.card.model_copy(update={"cascade": cascade})})


def certainties(model: Model, image: np.ndarray, engine: Engine) -> np.ndarray:
    """What the classifier says of each pixel, as probability of being wrong."""
    import onnxruntime as ort

    scaled = ((image - image.mean()) / image.std())[:, None, None, None].astype(np.float32)
    run = engine.bind(masks(model.card.dropout, 0, range(SAMPLES)))
    mean = np.concatenate([mean_logits(run(each)) for each in scaled], axis=1)
    powers = np.exp(mean - mean.max(axis=0))
    p = powers / powers.sum(axis=0)
    features = np.stack([*mean, -(p * np.log(np.maximum(p, 1e-30))).sum(axis=0)], axis=-1).reshape(-1, 4)
    said = ort.InferenceSession(str(model.doubt)).run(None, {"features": features.astype(np.float32)})[0]
    return 1 / (1 + np.exp(-said.astype(np.float64).ravel()))


def main() -> None:
    """Prints the table of docs/cascade.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slices", type=int, default=4)
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--precision", nargs="+", default=["f32", "bf16"])
    asked = parser.parse_args()
    generator = np.random.default_rng(0)
    image = generator.standard_normal((asked.slices, *SHAPE)).astype(np.float32)
    for _ in range(6):
        for axis in (1, 2):
            image = (image + np.roll(image, 1, axis) + np.roll(image, -1, axis)) / 3
    volume = Volume(image * 1000 / image.std())
    with tempfile.TemporaryDirectory() as folder:
        model = made(Path(folder))
        for precision in asked.precision:
            engine = start(model, asked.engine, precision, asked.threads)
            said = certainties(model, image, engine)
            contenders: dict[str, tuple[Model, Cascade | None]] = {"UGSM alone": (without(model), None)}
            for share in SHARES:
                other = doubting(model, float(np.quantile(said, 1 - share)))
                contenders[f"{share:.0%}"] = (other, cascade_of(other, engine))
            measured(volume, engine, contenders, asked.rounds)


def measured(volume: Volume, engine: Engine, contenders: dict[str, tuple[Model, Cascade | None]], rounds: int) -> None:
    """Times the contenders in turn; prints medians."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    doubted = {}
    for number in range(rounds + 1):
        for name, (model, cascade) in contenders.items():
            wall, processor = time.perf_counter(), time.process_time()
            found = predict(volume, model.card, engine, SAMPLES, cascade=cascade)
            spent = (time.perf_counter() - wall, time.process_time() - processor)
            if number:  # the first compiles
                times[name].append(spent)
            doubted[name] = 0.0 if found.doubted is None else float(found.doubted.mean())
    slices = volume.shape[0]
    base = [statistics.median(each) for each in zip(*times["UGSM alone"], strict=True)]
    say = sys.stdout.write
    say(f"{engine.name} {engine.version} {engine.precision}, {engine.threads} threads, {engine.device}\n")
    say("| contender | doubted | processor ms/slice | ratio | wall ms/slice | ratio | slices/s |\n")
    say("|---|---|---|---|---|---|---|\n")
    for name, each in times.items():
        wall, processor = (statistics.median(part) for part in zip(*each, strict=True))
        say(
            f"| {name} | {doubted[name]:.1%} | {1e3 * processor / slices:.0f} | {processor / base[1]:.2f} "
            f"| {1e3 * wall / slices:.0f} | {wall / base[0]:.2f} | {slices / wall:.1f} |\n"
        )


if __name__ == "__main__":
    main()
