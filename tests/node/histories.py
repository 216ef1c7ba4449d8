"""Histories of a node that may be killed before any line of its code, and goes on with what is on the disc.

The node's own code runs, one step at a time and in one thread, on real files and a real queue; the worker, the
sender and the archive are stand-ins. A kill is a copy of the folder made before a line is run: the node's next
life begins with the copy, and what it told anybody after that never happened.

``History`` draws its steps and its kills at random. ``kill_before_every_line`` goes through given lives and kills
before every line in turn, which finds faults that a random history meets too rarely.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydicom import dcmread
from pydicom.dataset import Dataset
from tests.node.mammograms import VIEWS, write_exam
from tests.node.nodes import settings

from microcalc.dicom.write import file_meta
from microcalc.node import analyse
from microcalc.node.analyse import Analysis, WorkerEndedError
from microcalc.node.files import Folder
from microcalc.node.jobs import JobQueue
from microcalc.node.receive import Intake
from microcalc.node.send import Delivery
from microcalc.node.settle import settle
from microcalc.node.states import OPEN
from microcalc.node.watch import Watch
from microcalc.storage import write

MODELS = ("a" * 64, "b" * 64)
_CODE = tuple(str(Path(str(module.__file__)).parent) for module in (analyse, write))
_MEMORY = Path("/dev/shm")  # waiting for a disc is most of the time otherwise
_SR = "1.2.840.10008.5.1.4.1.1.88.50"


@dataclass(frozen=True)
class Image:
    uid: str
    content: bytes
    exam: tuple[str, str]


@cache
def images() -> tuple[Image, ...]:
    """Return ten small images: two patients under one study, and a third of another study."""
    made: list[Image] = []
    with tempfile.TemporaryDirectory() as folder:
        for patient, study, views in (("p", "1.2.3.1", VIEWS), ("q", "1.2.3.1", VIEWS[:2]), ("r", "1.2.3.2", VIEWS)):
            for file in write_exam(Path(folder), patient, views=views, shape=(16, 12)):
                dataset = dcmread(file)
                dataset.StudyInstanceUID = study
                dataset.save_as(file)
                made.append(Image(str(dataset.SOPInstanceUID), file.read_bytes(), (study, str(dataset.PatientID))))
    return tuple(made)


class Archive:
    """Where reports arrive: (UID of the report, UIDs of its images, model)."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, tuple[str, ...], str]] = []
        self.away = False

    def send(self, files: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
        for file in files:
            if not self.away:
                dataset = dcmread(file)
                self.arrived.append((str(dataset.SOPInstanceUID), *json.loads(str(dataset.ImageComments))))
            yield file, "no connection" if self.away else None


@dataclass
class FakeWorker:
    """Answers as the worker would; ``outcomes`` are what happens to the next jobs."""

    model: str
    outcomes: list[str] = field(default_factory=list)

    def ask(self, job: Mapping[str, Any], *, limit_s: float) -> Mapping[str, Any]:
        outcome = self.outcomes.pop(0) if self.outcomes else "done"
        if outcome == "ended":
            raise WorkerEndedError
        if outcome != "done":
            return {outcome: "why"}
        if job["job"] == "detect":
            assert Path(job["file"]).is_file()
            Path(job["detections"]).write_text(self.model)
            return {"seconds": 1.0}
        uids = []
        for image in job["images"]:
            assert Path(image["file"]).is_file()
            found = image["detections"]
            if found is not None and not (Path(found).is_file() and Path(found).read_text() == self.model):
                return {"unusable": [image["uid"]]}
            uids.append(image["uid"])
        uid = "2.25." + str(int(hashlib.sha256(" ".join([*sorted(uids), self.model]).encode()).hexdigest()[:30], 16))
        report = Dataset()
        report.file_meta = file_meta(_SR, uid)
        report.SOPClassUID, report.SOPInstanceUID = _SR, uid
        report.ImageComments = json.dumps([uids, self.model])
        report.save_as(Path(job["out"]) / f"{uid}.dcm", enforce_file_format=True)
        return {"reports": [uid]}


class Restless(Analysis):
    def _rest(self, seconds: float) -> None:
        pass


class Life:
    """One run of the node's code on a folder."""

    def __init__(self, root: Path, model: str, archive: Archive, clock: Callable[[], float]) -> None:
        given = settings(root, 1, report={"wait_s": 100.0}, detect={"tries": 2})
        self.folder, self.worker = Folder(root), FakeWorker(model)
        self.folder.make()
        self.queue = JobQueue(self.folder.queue)
        self.queue.start({"raw": model})
        self.intake = Intake(self.folder, self.queue, given.storage, {"raw": model}, lambda: None, clock)
        settle(self.intake)
        self.analysis = Restless(given, self.folder, self.queue, lambda: None, lambda _: None, Watch(), clock)
        self.delivery = Delivery(given, self.folder, self.queue, archive.send, Watch(), clock)

    def step(self) -> bool:
        try:
            return self.analysis._one_job(self.worker)  # type: ignore[arg-type]
        except WorkerEndedError:
            return True


class Killed:
    """While it is a context: copies the folder before the n-th line of the node's code."""

    def __init__(self, root: Path, copy: Path, line: int, told: Callable[[], int]) -> None:
        self._root, self._copy, self._left, self._told = root, copy, line, told
        self.happened: int | None = None

    def __enter__(self) -> Killed:
        if self._left:
            sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(_CODE):
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                sys.settrace(None)
                shutil.copytree(self._root, self._copy)
                self.happened = self._told()
                return None
        return self._trace


class Snapshot(NamedTuple):
    """What a killed node leaves: a copy of its folder, and how many reports had arrived by then."""

    root: Path
    arrived: int


class Snapshots:
    """While it is a context: copies the folder before each line of the node's code that finds it changed.

    Kills before two lines with the same folder and the same reports sent are the same to the node's next life.
    """

    def __init__(self, root: Path, copies: Path, archive: Archive) -> None:
        self._root, self._copies, self._archive, self._last = root, copies, archive, b""
        self.lines, self.taken = 0, list[Snapshot]()

    def __enter__(self) -> Snapshots:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        self._look()  # a kill after the last line

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(_CODE):
            return None
        if event == "line":
            self.lines += 1
            sys.settrace(None)
            self._look()
            sys.settrace(self._trace)
        return self._trace

    def _look(self) -> None:
        now = hashlib.sha256(b"%d" % len(self._archive.arrived))
        for file in sorted(self._root.rglob("*")):
            if not file.name.endswith("-shm"):  # memory that SQLite makes anew from its log
                now.update(
                    f"{file.relative_to(self._root)}\0".encode() + (file.read_bytes() if file.is_file() else b"")
                )
        if now.digest() != self._last:
            self._last = now.digest()
            root = self._copies / f"{len(self.taken)}" / "node"
            shutil.copytree(self._root, root)
            self.taken.append(Snapshot(root, len(self._archive.arrived)))


def _new_folder() -> Path:
    return Path(tempfile.mkdtemp(dir=_MEMORY if _MEMORY.is_dir() else None))


def _lines(last: int) -> st.SearchStrategy[int]:
    """Before which line the node is killed; 0: not."""
    return st.just(0) | st.integers(1, last)


class History(RuleBasedStateMachine):
    """Whatever happens, an image that was taken ends in one report, or in quarantine with its reason."""

    @initialize(first=st.integers(0, 1))
    def begin(self, first: int) -> None:
        self.folder = _new_folder()
        self.root, self.now, self.model = self.folder / "node", 1e6, first
        self.pool = images()
        self.archive, self.taken, self.lives, self.kills = Archive(), set[str](), 0, 0
        self.life: Life | None = None
        self._live(0)

    def teardown(self) -> None:
        if not hasattr(self, "life"):
            return
        self._run_to_the_end()
        for uid in self.taken:
            image = self._alive.queue.image(uid)
            assert image is not None
            named = {(report, model) for report, uids, model in self.archive.arrived if uid in uids}
            if image.state == "quarantined":
                assert self._in_quarantine(uid)
                continue
            assert image.state == "reported"
            assert named
            assert max(Counter(model for _, model in named).values()) == 1
        for _, uids, _ in self.archive.arrived:
            assert len({image.exam for image in self.pool if image.uid in uids}) == 1
        for folder in (self._alive.folder.images, self._alive.folder.found, self._alive.folder.reports):
            assert list(folder.iterdir()) == []
        self._alive.queue.close()
        shutil.rmtree(self.folder)

    # What happens

    @rule(number=st.integers(0, 9), line=_lines(250))
    def receive(self, number: int, line: int) -> None:
        image = self.pool[number]
        outcome = self._do(lambda life: life.intake.take(image.uid, image.content, sender="t"), line)
        if outcome is not None:
            assert outcome in ("taken", "known")
            self.taken.add(image.uid)

    @rule(
        outcomes=st.lists(st.sampled_from(["done", "done", "failed", "fault", "memory", "later", "ended"]), max_size=2),
        line=_lines(350),
    )
    def work(self, outcomes: list[str], line: int) -> None:
        self._alive.worker.outcomes = outcomes
        self._do(lambda life: life.step(), line)

    @rule(away=st.booleans(), line=_lines(200))
    def deliver(self, away: bool, line: int) -> None:
        self.archive.away = away
        self._do(lambda life: life.delivery._send_due(), line)

    @rule(seconds=st.sampled_from([1.0, 101.0, 101.0, -500.0]))
    def time_passes_or_is_put_back(self, seconds: float) -> None:
        self.now += seconds

    @rule(change=st.booleans(), line=_lines(400))
    def restart(self, change: bool, line: int) -> None:
        self.model ^= change
        self._live(line)

    @precondition(lambda self: bool(list(self._alive.folder.found.iterdir())))
    @rule()
    def a_worker_of_an_ended_node_writes_its_detections_late(self) -> None:
        for file in self._alive.folder.found.iterdir():
            file.write_text(MODELS[1 - self.model])

    # What holds

    @invariant()
    def no_file_is_removed_before_its_report_is_made(self) -> None:
        if not hasattr(self, "life"):
            return
        life = self._alive
        waiting = [life.folder.reports, life.folder.temporary]
        for uid in self.taken:
            image = life.queue.image(uid)
            assert image is not None
            if image.state in OPEN:
                assert life.folder.image(uid).is_file()
            elif image.state == "quarantined":
                assert self._in_quarantine(uid)
            else:
                assert image.state == "reported"
                made = [uids for _, uids, _ in self.archive.arrived]
                for folder in waiting:
                    made += [json.loads(str(dcmread(file).ImageComments))[0] for file in folder.glob("2.25.*.dcm")]
                assert any(uid in uids for uids in made)

    def _in_quarantine(self, uid: str) -> bool:
        content = next(image.content for image in self.pool if image.uid == uid)
        file = self._alive.folder.quarantine / f"{hashlib.sha256(content).hexdigest()}.dcm"
        return file.is_file() and file.with_suffix(".txt").read_text().strip() != ""

    # How

    @property
    def _alive(self) -> Life:
        assert self.life is not None
        return self.life

    def _do(self, act: Callable[[Life], Any], line: int) -> Any:
        """Let the node do something, killed before a line of its code (0: not); None where it was killed."""
        copy = self.folder / "copy"
        with Killed(self.root, copy, line, lambda: len(self.archive.arrived)) as killed:
            done = act(self._alive)
        if killed.happened is None:
            return done
        del self.archive.arrived[killed.happened :]
        self._alive.queue.close()
        self.life = None
        self._live(0, copy)
        return None

    def _live(self, line: int, copy: Path | None = None) -> None:
        """Start the node, killed before a line of the start (0: not)."""
        if self.life is not None:
            self.life.queue.close()
        if copy is not None:
            self.kills += 1
            shutil.rmtree(self.root)
            copy.rename(self.root)
        self.lives += 1
        with Killed(self.root, self.folder / "copy", line, lambda: 0) as killed:
            self.life = Life(self.root, MODELS[self.model], self.archive, lambda: self.now)
        if killed.happened is not None:
            self._live(0, self.folder / "copy")

    def _run_to_the_end(self) -> None:
        self.archive.away = False
        self._alive.worker.outcomes = []
        for _ in range(200):
            self.now += 1000.0
            if not self._alive.step() and not self._alive.delivery._send_due():
                return
        raise AssertionError("the node does not come to an end")


# Every line in turn


class Step(NamedTuple):
    """One thing that the node does: its name, what becomes of the worker's jobs, and seconds that pass before it."""

    name: str
    outcomes: tuple[str, ...] = ()
    after_s: float = 0.0
    away: bool = False
    image: int = 0


_RECEIVE = (Step("receive"), Step("receive", image=1))
LIVES: Mapping[str, tuple[Step, ...]] = {
    "one exam of two images": (
        *_RECEIVE,
        Step("work"),
        Step("work"),
        Step("work", after_s=101.0),  # reports
        Step("deliver"),
        Step("receive"),  # known
    ),
    "an image that ends its workers, and an exam that no report can be made of": (
        *_RECEIVE,
        Step("work", ("ended",)),
        Step("work"),
        Step("work", ("ended",)),
        Step("work", ("failed",), after_s=101.0),  # tries again
        Step("work", ("failed",)),  # and is parted
        Step("work", ("memory",)),
        Step("work", ("failed",)),  # quarantined
        Step("work"),
    ),
    "detections of another model, and a destination that is away": (
        *_RECEIVE,
        Step("work", ("later",)),
        Step("work", ("memory",)),
        Step("work"),
        Step("work"),
        Step("worker ends late"),
        Step("work", after_s=101.0),  # one is unusable
        Step("work"),
        Step("work"),  # and so is the other
        Step("work"),
        Step("work", after_s=101.0),
        Step("deliver", away=True),
        Step("deliver", after_s=1000.0),
    ),
}
"""Lives in which every kind of step of the node, and every failure of a worker's job, happens once."""


def kill_before_every_line(life: Sequence[Step], *, thorough: bool) -> Counter[str]:
    """Kill a node before every line of a life, let it go on, and check the end.

    Parameters
    ----------
    thorough
        Go on both with the same and with another model, in place of either in turn, and kill each of the following
        starts before every line of it too.

    Returns
    -------
    Counter
        ``lines`` run, and ``kills`` that left the folder different from the kill before.
    """
    counts: Counter[str] = Counter()
    history = History()
    history.begin(first=0)
    for step in life:
        taken = set(history.taken)
        with Snapshots(history.root, history.folder / "copies", history.archive) as snapshots:
            _take_step(history, step)
        for number, snapshot in enumerate(snapshots.taken):
            for change in (False, True) if thorough else (number % 2 == 1,):
                counts += _go_on(history, snapshot, taken, life, change=change, thorough=thorough)
        counts.update(lines=snapshots.lines)
        shutil.rmtree(history.folder / "copies")
    history.teardown()
    return counts


def _take_step(history: History, step: Step) -> None:
    history.now += step.after_s
    if step.name == "receive":
        history.receive(step.image, 0)
    elif step.name == "work":
        history.work(list(step.outcomes), 0)
    elif step.name == "worker ends late":
        history.a_worker_of_an_ended_node_writes_its_detections_late()
    else:
        history.deliver(step.away, 0)


def _go_on(
    history: History, snapshot: Snapshot, taken: set[str], life: Sequence[Step], *, change: bool, thorough: bool
) -> Counter[str]:
    """Let a node go on with what a killed one left; its senders send again what was not acknowledged."""
    counts = Counter(kills=1)
    following = History()
    following.folder = _new_folder()
    following.root, following.now, following.model = following.folder / "node", history.now, history.model ^ change
    following.pool, following.archive = history.pool, Archive()
    following.archive.arrived = history.archive.arrived[: snapshot.arrived]
    following.taken, following.lives, following.kills, following.life = set(taken), 0, 0, None
    shutil.copytree(snapshot.root, following.root)
    if thorough:
        with Snapshots(following.root, following.folder / "copies", following.archive) as starts:
            following._live(0)
        for start in starts.taken:
            counts += _go_on(following, start, taken, life, change=False, thorough=False)
        counts.update(lines=starts.lines)
    else:
        following._live(0)
    following.no_file_is_removed_before_its_report_is_made()
    for step in life:
        if step.name == "receive" and following.pool[step.image].uid not in following.taken:
            following.receive(step.image, 0)
    following.teardown()
    return counts
