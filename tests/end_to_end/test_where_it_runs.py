"""The same results wherever work runs: here, in processes, on a Dask cluster, in shards; and what a cluster bears."""

import hashlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from unittest.mock import Mock

import dask
import numpy as np
import pytest
from distributed import LocalCluster
from PIL import Image
from tests.training import toy
from tests.waiting import wait_until

from microcalc import cli
from microcalc.datasets.inserted import insert_data_set
from microcalc.datasets.table import ImageRow, Table
from microcalc.datasets.table_files import read_table, write_table
from microcalc.errors import ClusterError, InputError, WorkerDiedError
from microcalc.execution import cluster as cluster_module
from microcalc.execution import connection
from microcalc.execution.cluster import Cluster
from microcalc.execution.executor import SERIAL, Executor, Processes
from microcalc.execution.shard import Shard
from microcalc.simulate.placement import Insertion

_TIMES = re.compile(r'"seconds": .*|(?<=,)[0-9.]+(?=,,[0-9])|"summary.csv": .*')


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A Dask cluster of two workers, and the address of its scheduler."""
    options = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}  # a free port for its pages
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})  # else it ends what restarts slowly
    with patient, LocalCluster(n_workers=2, threads_per_worker=1, **options) as made:
        yield made.scheduler_address


def _describe(item: Path) -> tuple[str, str]:
    logging.getLogger("microcalc.somewhere").info("item %s", item.name)
    if item.name == "bad":
        raise InputError("bad: an odd one, expected another")
    return str(item), os.environ["OMP_NUM_THREADS"]


def _die_at_two(item: int) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def _touch_when_told(file: Path) -> None:
    """Touch the file; any but the first is touched as soon as there is one with the name ``go`` beside it."""
    while file.name != "0" and not (file.parent / "go").exists():
        time.sleep(0.02)
    file.touch()


def test_a_cluster_gives_one_outcome_for_each_item_and_its_log(cluster: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "microcalc"):
        outcomes = {o.item.name: o for o in Cluster(cluster).run(_describe, [Path("a"), Path("/b"), Path("bad")])}
    assert outcomes["a"].result() == (str(Path("a").absolute()), "1")  # a worker may have another current folder
    assert outcomes["b"].result() == ("/b", "1")
    assert isinstance(outcomes["bad"].error, InputError)
    assert sorted(caplog.messages) == ["item a", "item b", "item bad"]


def test_few_items_are_in_hand_and_closing_cancels_them(cluster: str, tmp_path: Path) -> None:
    taken: list[Path] = []

    def files() -> Iterator[Path]:
        for number in range(10_000):
            taken.append(tmp_path / str(number))
            yield taken[-1]

    outcomes = Cluster(cluster).run(_touch_when_told, files())
    next(outcomes)
    outcomes.close()
    assert len(taken) < 100
    (tmp_path / "go").touch()
    list(Cluster(cluster).run(_touch_when_told, [tmp_path / "after"]))  # comes after all that still waited
    touched = [file for file in taken if file.exists()]
    assert 1 <= len(touched) < 10  # what the workers had begun


def test_a_worker_with_other_code_is_refused_with_both_named(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "build", lambda: "microcalc 9.9")
    with pytest.raises(ClusterError, match=r"the worker has microcalc .* \(code .*\), expected microcalc 9.9 as here"):
        next(Cluster(cluster).run(_die_at_two, [1]))


def test_a_scheduler_that_is_lost_is_one_error_and_so_is_one_that_is_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_LOOK_S", 0.1)
    file, command = tmp_path / "scheduler.json", [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    with subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL) as scheduler:
        try:
            wait_until(lambda: file.is_file() and file.read_text().rstrip().endswith("}"))
            with caplog.at_level(logging.INFO, "microcalc"), Cluster(str(file)) as executor:
                outcomes = executor.run(_die_at_two, [1])
                monkeypatch.setattr(cluster_module._LOG, "info", lambda _: scheduler.kill())  # no worker: it waits
                with pytest.raises(
                    ClusterError, match=r"connection to the Dask scheduler was lost.* command continues"
                ):
                    next(outcomes)
        finally:
            scheduler.kill()
    monkeypatch.setattr(connection, "_CONNECT_S", 0.5)
    with pytest.raises(ClusterError, match=r"no connection to a Dask scheduler .*, expected one that runs"):
        next(Cluster(str(file)).run(_die_at_two, [1]))


def test_a_scheduler_that_is_lost_while_an_item_runs_alone_is_the_same_error() -> None:
    client = Mock()
    client.map.return_value = [Mock()]
    client.run_on_scheduler.side_effect = OSError("closed")
    with pytest.raises(ClusterError, match=r"connection to the Dask scheduler was lost.* command continues"):
        cluster_module._Work(client, _die_at_two).run_alone(2)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("somewhere:8786", "neither an address nor a file"),
        ("absent.json", "neither an address"),
        ("", "states no address"),
    ],
)
def test_what_names_no_scheduler_is_refused_before_any_work(
    address: str, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("[]")
    _pictures(tmp_path / "in", 1)
    code = _detect(tmp_path, "--cluster", address or tmp_path / "notes.txt")
    assert (code, found in capsys.readouterr().err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_detection_gives_the_same_bytes_everywhere(cluster: str, tmp_path: Path) -> None:
    _pictures(tmp_path / "in", 3)
    trees = []
    for where in (["--workers", "1"], ["--workers", "2"], ["--cluster", cluster]):
        assert _detect(tmp_path, *where) == 0
        trees.append(_tree(tmp_path / "out"))
        (tmp_path / "out").rename(tmp_path / f"out-{len(trees)}")
    for number in (2, 0, 1):
        assert _detect(tmp_path, "--workers", "1", "--shard", f"{number}/3") == 0
    assert _detect(tmp_path, "--workers", "1") == 0
    assert trees[0] == trees[1] == trees[2] == _tree(tmp_path / "out")


def test_each_shard_of_a_table_opens_its_own_images_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = _pictures(tmp_path / "in", 4)
    write_table(Table(tuple(ImageRow(f.stem, f, "processed", (0.2, 0.2)) for f in files)), tmp_path / "in")
    opened: list[Path] = []
    digest = hashlib.file_digest

    def noted(file: BufferedReader, how: str) -> object:
        opened.append(Path(file.name))
        return digest(file, how)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    for number in range(2):
        opened.clear()
        arguments = ["detect", tmp_path / "in", "--model", "log", "--max-candidates", 5, "--shard", f"{number}/2"]
        assert cli.run([str(a) for a in (*arguments, "--out", tmp_path / "out")]) == 0
        assert {f for f in opened if f in files} == {f for f in files if Shard(number, 2).has(f.stem)}


def test_insertion_gives_the_same_bytes_everywhere_and_continues(cluster: str, tmp_path: Path) -> None:
    source = _pictures(tmp_path / "in", 2)
    table = Table(tuple(ImageRow(f.stem, f, "processed", (0.2, 0.2), system="GE") for f in source))

    def insert(name: str, executor: Executor = SERIAL, shard: Shard | None = None) -> dict[str, str]:
        insertion = Insertion(clusters=1, min_d_prime=0)
        insert_data_set(table, tmp_path / name, insertion=insertion, twins=True, executor=executor, shard=shard)
        return _tree(tmp_path / name)

    here = insert("here")
    assert here == insert("processes", Processes(2)) == insert("cluster", Cluster(cluster))
    for number in range(3):
        assert "images.csv" not in insert("shards", shard=Shard(number, 3))
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "shards").glob("*.png")}
    assert insert("shards") == here
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "shards").glob("*.png")} == before  # not made again
    assert len(read_table(tmp_path / "shards").images) == len(before)


def test_training_mines_the_same_negatives_everywhere(cluster: str, tmp_path: Path) -> None:
    toy.make_table(tmp_path / "table")
    arguments = ["train", "--recipe", toy.recipe_file(tmp_path), "--data", tmp_path / "table", "--out"]

    def train(out: Path, *where: str) -> None:
        assert cli.run([str(argument) for argument in (*arguments, out, *where)]) == 0

    def mined(out: Path) -> dict[str, bytes]:
        files = (out / "mined.npy", *sorted((out / "mining").iterdir()), *sorted((out / "model").glob("*.onnx")))
        return {file.name: file.read_bytes() for file in files}

    train(tmp_path / "one", "--workers", "1")
    expected = mined(tmp_path / "one")
    assert len(np.load(tmp_path / "one" / "mined.npy")) > 0
    assert len(expected) == 1 + 3 + 2  # three training images, two networks
    places = {"two": ["--workers", "2"], "dask": ["--cluster", cluster], "shards": ["--workers", "1"]}
    for name, where in places.items():
        out = tmp_path / name
        shutil.copytree(tmp_path / "one", out)  # as it is when CNN1 is trained, but no image is normalised or mined
        for made in ("normalised", "mining", "model", "cnn2"):
            shutil.rmtree(out / made)
        for made in ("mined.npy", "cnn2.onnx", "cnn2_dense.onnx"):
            (out / made).unlink()
        for number in range(2 if name == "shards" else 0):
            train(out, *where, "--shard", f"{number}/2")
        assert not (out / "mining").exists()
        train(out, *where)
        assert mined(out) == expected


# The last on the cluster: none waits for workers that start again.
def test_an_item_that_always_kills_its_worker_is_named_and_no_other(cluster: str) -> None:
    outcomes = {o.item: o for o in Cluster(cluster, deaths=0).run(_die_at_two, range(9))}
    assert sorted(outcomes) == list(range(9))
    assert [item for item, o in outcomes.items() if o.error is not None] == [2]
    with pytest.raises(WorkerDiedError, match=r"died 1 time, and once more while it ran alone"):
        outcomes[2].result()


def _detect(folder: Path, *where: object) -> int:
    described = ("--pixel-spacing", 0.2, "--intent", "processed", "--model", "log", "--max-candidates", 5)
    return cli.run(["detect", *map(str, (folder / "in", "--out", folder / "out", *described, *where))])


def _pictures(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{number}.png" for number in range(count)]
    for number, file in enumerate(files):
        rows, columns = np.mgrid[:260, :200]
        breast = np.hypot(rows - 130, columns) < 110
        noise = np.random.default_rng(number).normal(0, 4, breast.shape)
        Image.fromarray(np.where(breast, 140 - columns / 5 + noise, 0).clip(0, 255).astype(np.uint8)).save(file)
    return files


def _tree(folder: Path) -> dict[str, str]:
    """Return the content of the files below a folder, without seconds, and the hash of what holds them."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {
        str(f.relative_to(folder)): hashlib.sha256(_TIMES.sub("", f.read_text("latin-1")).encode()).hexdigest()
        for f in files
    }
