"""The examples in serve/: they parse, and call the command that there is."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from test_help import COMMANDS, parse

SERVE = Path(__file__).parent.parent / "serve"
SLURM, KUBERNETES = SERVE / "slurm" / "predict.sbatch", SERVE / "kubernetes" / "predict-job.yaml"
FLAGS = {"--zoo", "--out", "--shard", "--threads", "--quiet"}


def check(arguments: list[str], shard: str) -> None:
    """They are a call of `segbench predict` for this shard."""
    assert arguments[:2] == ["segbench", "predict"]
    assert {argument.split("=")[0] for argument in arguments if argument.startswith("--")} == FLAGS
    assert shard in " ".join(arguments).replace("=", " ").split("--shard ")[1]
    if ("segbench", "predict") in COMMANDS:
        parse(shlex.join(arguments))


@pytest.mark.parametrize(("cpus", "threads"), [("6", "6"), (None, "1")])
def test_the_slurm_script_hands_on_what_slurm_says(tmp_path, cpus, threads):
    fake = tmp_path / "segbench"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" segbench "$@"\n')
    fake.chmod(0o755)
    told = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "SCAN": "a scan.tif", "OUT": "r.zarr",
        "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8",
    } | ({"SLURM_CPUS_PER_TASK": cpus} if cpus else {})  # fmt: skip
    done = subprocess.run(["bash", str(SLURM)], env=told, capture_output=True, text=True, check=True)
    arguments = done.stdout.splitlines()
    check(arguments, "3/8")
    assert arguments[2] == "a scan.tif"
    assert arguments[arguments.index("--threads") + 1] == threads
    del told["SCAN"]
    assert (
        "name the scan"
        in subprocess.run(["bash", str(SLURM)], env=told, capture_output=True, text=True, check=False).stderr
    )


def test_the_array_counts_from_0_as_shards_do():
    assert re.search(r"^#SBATCH --array=0-\d+\b", SLURM.read_text(), re.M)


def test_the_job_has_a_pod_for_every_shard():
    text = KUBERNETES.read_text()
    pods = re.search(r"^  completions: (\d+)", text, re.M)[1]
    assert f"--shard=$(JOB_COMPLETION_INDEX)/{pods}" in text
    assert "completionMode: Indexed" in text


def test_the_job_is_yaml():
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load(KUBERNETES.read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    arguments = [*container["command"], *container["args"]]
    assert all(isinstance(argument, str) for argument in arguments)
    check(
        [argument.replace("$(JOB_COMPLETION_INDEX)", "0") for argument in arguments], f"0/{job['spec']['completions']}"
    )
    assert f"--threads={container['resources']['limits']['cpu']}" in arguments
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
