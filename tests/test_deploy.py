"""The files of ``deploy/`` for clusters: the Slurm script runs, and the Kubernetes jobs are what they should be."""

import os
import shlex
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from microcalc import cli
from microcalc.execution.shard import Shard

_DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
_SLURM = _DEPLOY / "slurm" / "detect.sbatch"
_JOBS = sorted((_DEPLOY / "kubernetes").glob("*.yaml"))
_JOB_KEYS = {"completionMode", "completions", "parallelism", "backoffLimitPerIndex", "backoffLimit", "template"}
_CONTAINER_KEYS = {
    "name", "image", "imagePullPolicy", "command", "args", "resources", "securityContext", "volumeMounts",
}  # fmt: skip


def _slurm(tmp_path: Path, environment: Mapping[str, str], code: int = 0) -> tuple[int, list[str], str]:
    """Run the script with a microcalc that writes its arguments; return its exit code, these, and its errors."""
    program = tmp_path / "bin" / "microcalc"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/arguments"\nexit {code}\n')
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    apptainer = program.with_name("apptainer")
    apptainer.write_text('#!/bin/sh\nwhile [ "$1" != microcalc ]; do shift; done\nexec "$@"\n')
    apptainer.chmod(program.stat().st_mode)
    variables = {"PATH": f"{program.parent}:{os.environ['PATH']}", **environment}
    done = subprocess.run(["bash", str(_SLURM)], env=variables, capture_output=True, text=True, check=False)
    arguments = tmp_path / "arguments"
    return done.returncode, arguments.read_text().splitlines() if arguments.exists() else [], done.stderr


@pytest.mark.parametrize("container", [{}, {"CONTAINER": "microcalc.sif"}])
def test_a_task_of_the_array_does_its_shard_and_the_last_job_completes(
    container: dict[str, str], tmp_path: Path
) -> None:
    given = {"IMAGES": "/data/my images", "OUT": str(tmp_path / "out"), "SLURM_CPUS_PER_TASK": "4", **container}
    call = ["detect", "/data/my images", "--out", str(tmp_path / "out"), "--workers", "4"]
    options = {"OPTIONS": "--model raw --no-overlay", "SHARDS": "16"}
    assert _slurm(tmp_path, given | options | {"SLURM_ARRAY_TASK_ID": "3"}) == (
        0, [*call, "--shard", "3/16", "--model", "raw", "--no-overlay"], "",
    )  # fmt: skip
    assert _slurm(tmp_path, given) == (0, call, "")
    cli.app.parse_args([*call, "--shard", "3/16"], exit_on_error=False, print_error=False)


def test_the_shards_of_the_array_are_all_the_shards() -> None:
    text = _SLURM.read_text()
    assert "#SBATCH --array=0-99\n" in text
    assert "SHARDS=${SHARDS:-100}\n" in text


@pytest.mark.parametrize(("code", "of_the_job"), [(1, 0), (2, 2), (137, 137)])
def test_images_that_cannot_be_used_fail_no_job(code: int, of_the_job: int, tmp_path: Path) -> None:
    given = {"IMAGES": "i", "OUT": "o", "SLURM_ARRAY_TASK_ID": "0"}
    assert _slurm(tmp_path, given, code)[0] == of_the_job


def test_a_variable_that_is_missing_is_named(tmp_path: Path) -> None:
    code, arguments, errors = _slurm(tmp_path, {"OUT": "o"})
    assert (code, arguments) == (1, [])
    assert "IMAGES: is not set, expected the folder or the table of the images" in errors


@pytest.mark.parametrize("file", _JOBS, ids=lambda file: file.name)
def test_a_job_has_known_keys_and_a_command_of_ours(file: Path) -> None:
    job: dict[str, Any] = yaml.safe_load(file.read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert set(job["spec"]) <= _JOB_KEYS
    pod = job["spec"]["template"]["spec"]
    assert set(pod) == {"restartPolicy", "containers", "volumes"}
    assert pod["restartPolicy"] == "Never"  # the only one with backoffLimitPerIndex
    (container,) = pod["containers"]
    assert set(container) <= _CONTAINER_KEYS
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    (command,) = container["args"]
    words = shlex.split(command.replace("$JOB_COMPLETION_INDEX", "99"))
    assert words[0] == "microcalc"
    assert words[-6:] == ["||", "[", "$?", "-eq", "1", "]"]
    cli.app.parse_args(words[1 : words.index("||")], exit_on_error=False, print_error=False)


def test_the_indexes_of_the_kubernetes_job_are_the_shards() -> None:
    job = yaml.safe_load((_DEPLOY / "kubernetes" / "detect.yaml").read_text())
    assert job["spec"]["completionMode"] == "Indexed"
    (command,) = job["spec"]["template"]["spec"]["containers"][0]["args"]
    last = job["spec"]["completions"] - 1
    assert Shard.parse(shlex.split(command.replace("$JOB_COMPLETION_INDEX", str(last)))[8]) == Shard(last, last + 1)
