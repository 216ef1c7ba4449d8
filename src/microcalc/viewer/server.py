"""What the page asks of its server, and the answers."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from microcalc.datasets.table import AnnotationRow, ImageRow
from microcalc.errors import InputError, MicrocalcError, OutputError
from microcalc.images.open import unforeseen
from microcalc.viewer.agreement import agreed_and_different, agreement_entry
from microcalc.viewer.annotations import AnnotationFolder
from microcalc.viewer.catalogue import Catalogue, DetectionFiles, ViewedImage, without_identity
from microcalc.viewer.findings import findings_of
from microcalc.viewer.grouping import grouped
from microcalc.viewer.marks import annotation_entry, marks_on, measured_curves, model_points, points_entry, truth_entry
from microcalc.viewer.shown import LAYERS, ShownImages
from microcalc.viewer.training import training_entry

_TYPES: Final[Mapping[str, str]] = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Viewer:
    """What the server shows.

    Attributes
    ----------
    annotations
        Where the reader annotates; None: they only look.
    """

    catalogue: Catalogue
    images: ShownImages
    annotations: AnnotationFolder | None = None
    show_identity: bool = False
    _curves: dict[str, dict[str, Any]] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        """Return the addresses that are answered, and by what."""
        image = "/api/images/{key}"
        return [
            Route("/", _page),
            Route("/page/{name}", _page),
            Route("/api/catalogue", self._answer(self._catalogue)),
            Route(image, self._answer(self._image)),
            Route(image + "/layers/{layer}", self._answer(self._layer)),
            Route(image + "/tiles/{layer}/{level:int}/{column:int}/{row:int}", self._answer(self._tile)),
            Route(image + "/marks", self._answer(self._marks)),
            Route("/api/detectors/{key}/curves", self._answer(self._measured)),
            Route("/api/detectors/{key}/findings", self._answer(self._findings)),
            Route("/api/training", self._answer(self._training)),
            Route("/api/changes", self._answer(self._changes)),
            Route("/api/export", self._answer(self._export)),
            Route("/api/agreement", self._answer(self._agreement)),
            Route(image + "/annotations", self._answer(self._annotations)),
            Route(image + "/annotations", self._answer(self._annotate), methods=["POST"]),
            Route(image + "/state", self._answer(self._mark), methods=["POST"]),
            Route(image + "/clusters", self._answer(self._group), methods=["POST"]),
            Route(image + "/settle", self._answer(self._settle), methods=["POST"]),
            Route("/api/undo", self._answer(self._undo), methods=["POST"]),
            Route("/api/redo", self._answer(self._redo), methods=["POST"]),
        ]

    def app(self) -> Starlette:
        """Return the application, without its guard."""
        return Starlette(routes=self.routes())

    def _answer(self, handler: Callable[[Mapping[str, Any], Any], Any]) -> Callable[[Request], Any]:
        """Return an endpoint that calls a handler in a thread, and answers errors in one line."""
        from starlette.concurrency import run_in_threadpool

        async def endpoint(request: Request) -> Response:
            try:
                body = await request.json() if request.method == "POST" else None
                if body is not None and not isinstance(body, dict):
                    raise InputError("expected a JSON object")
                answer = await run_in_threadpool(handler, request.path_params, body)
            except HTTPException:
                raise
            except OutputError as error:
                return JSONResponse({"error": self.hide_identity(str(error))}, 507)
            except MicrocalcError as error:
                return JSONResponse({"error": self.hide_identity(str(error))}, 422)
            except (ValueError, RecursionError, UnicodeError):
                return JSONResponse({"error": "not JSON, or a number that is none"}, 422)
            except Exception as error:  # its own words could quote a header
                from pathlib import Path

                return JSONResponse({"error": str(unforeseen(Path("server"), error))}, 500)
            return answer if isinstance(answer, Response) else JSONResponse(answer)

        return endpoint

    def _catalogue(self, _path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        catalogue, notes = self.catalogue, self.annotations
        key_of = {image.row.image: image.key for image in catalogue.images}
        marked = {} if notes is None else notes.marked()
        return {
            "exams": [
                {
                    "key": exam.key, "name": exam.name, "priors": [asdict(prior) for prior in exam.priors],
                    "images": [_image_entry(image, marked) for image in exam.images],
                }
                for exam in catalogue.exams
            ],
            "detectors": [
                {"key": d.key, "name": self.hide_identity(d.name), "images": len(d.files)} for d in catalogue.detectors
            ],
            "links": [asdict(link) | {"image": key_of[link.image]} for link in catalogue.links],
            "training": self._runs(),
            "problems": [self.hide_identity(problem) for problem in catalogue.problems],
            "has_truth": self._has_truth,
            "judges": sorted({row.judge for row in catalogue.table.annotations}) if self._has_truth else [],
            "annotating": None if notes is None else {
                "judge": notes.judge, "folder": str(notes.folder.absolute()), "readers": notes.readers(),
            },
        }  # fmt: skip

    def _image(self, path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        return self.images.describe(self._image_of(path))

    def _layer(self, path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        return self.images.describe(self._image_of(path), _layer_of(path))

    def _tile(self, path: Mapping[str, Any], _body: Any) -> Response:
        codes = self.images.tile(self._image_of(path), _layer_of(path), path["level"], path["column"], path["row"])
        return Response(codes, media_type="application/octet-stream")

    def _marks(self, path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        row = self._image_of(path).row
        truth = self.catalogue.table.rows_of(row) if self.annotations is None else ()
        matched = truth if self._has_truth else None
        detectors = [marks_on(detector, row, matched) for detector in self.catalogue.detectors]
        for entry in detectors:
            model = entry.get("model")
            entry["name"] = self.hide_identity(entry["name"])
            entry["points"] = points_entry(model_points(model["sha256"], self.catalogue.models)) if model else None
        return {"detectors": detectors, "truth": truth_entry(truth) if self._has_truth else None}

    def _measured(self, path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        detector = self._detector_of(path)
        if not self._has_truth:
            return {}
        if detector.key not in self._curves:
            self._curves[detector.key] = measured_curves(detector, self.catalogue.table)
        return self._curves[detector.key]

    def _training(self, _path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        return {"runs": self._runs()}

    def _runs(self) -> list[dict[str, Any]]:
        entries = [training_entry(run) for run in self.catalogue.runs]
        return [entry | {"name": self.hide_identity(entry["name"])} for entry in entries]

    def _findings(self, path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        detector, keys = self._detector_of(path), {image.row.image: image.key for image in self.catalogue.images}
        found = findings_of(detector, self.catalogue.table, keys, with_truth=self._has_truth)
        return found | {"problems": [self.hide_identity(problem) for problem in found["problems"]]}

    def _changes(self, _path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        notes = self._notes()
        return {"version": notes.version(), "marked": self._keyed(notes.marked()), "problem": notes.fold()}

    def _annotations(self, path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        return self._state(self._image_of(path).row)

    def _annotate(self, path: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
        row, notes = self._image_of(path).row, self._notes()
        put, remove, note = body.get("put", []), body.get("remove", []), body.get("note", {})
        if not isinstance(put, list) or not isinstance(remove, list) or not isinstance(note, dict):
            raise InputError("expected lists put and remove, and an object note")
        if not all(isinstance(entries, dict) for entries in put):
            raise InputError("expected annotations as objects")
        saved = notes.change(row.image, put, remove, note)
        return self._state(row) | {"saved": saved}

    def _mark(self, path: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
        row = self._image_of(path).row
        saved = self._notes().mark(row.image, str(body.get("action")))
        return self._state(row) | {"saved": saved}

    def _undo(self, _path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        return self._undone(redo=False)

    def _redo(self, _path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        return self._undone(redo=True)

    def _undone(self, *, redo: bool) -> dict[str, Any]:
        saved, name = self._notes().undo(redo=redo)
        image = next((image for image in self.catalogue.images if image.row.image == name), None)
        return {"saved": saved, "image": None if image is None else image.key}

    def _group(self, path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        row, notes = self._image_of(path).row, self._notes()
        changed = grouped(notes.state(row.image)["rows"], row)
        if changed:
            notes.change(row.image, [annotation_entry(r) for r in changed], (), {"by": "cluster rule"})
        return self._state(row)

    def _export(self, _path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        """Answer with what the table of annotations holds, and what of it the reader does not see."""
        notes = self._notes()
        return notes.contents() | {"table": shlex.quote(str(notes.folder.absolute()))}

    def _agreement(self, _path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        notes = self._notes()
        key_of = {image.row.image: image.key for image in self.catalogue.images}
        return agreement_entry(notes, self.catalogue.table, key_of)

    def _settle(self, path: Mapping[str, Any], _body: Any) -> dict[str, Any]:
        row, notes = self._image_of(path).row, self._notes()
        agreed, different = agreed_and_different(notes, row)
        own = {(r.row, r.column) for r in notes.rows_by(notes.judge) if r.image == row.image}
        new = [annotation_entry(r) | {"id": ""} for r in agreed if (r.row, r.column) not in own]
        if new:
            notes.change(row.image, new, (), {"by": "agreement of the readers"})
        return self._state(row) | {"different": [[annotation_entry(r) for r in pair] for pair in different]}

    def _state(self, row: ImageRow) -> dict[str, Any]:
        state = self._notes().state(row.image)
        rows: list[AnnotationRow] = state["rows"]
        return {"annotations": [annotation_entry(r) for r in rows], "mark": state["mark"], "version": state["version"]}

    @property
    def _has_truth(self) -> bool:
        return self.annotations is None and bool(self.catalogue.table.annotations)

    def _notes(self) -> AnnotationFolder:
        if self.annotations is None:
            raise InputError("the viewer was started without --out, expected it for annotating")
        return self.annotations

    def _image_of(self, path: Mapping[str, Any]) -> ViewedImage:
        image = self.catalogue.image(path["key"])
        if image is None:
            raise HTTPException(404)
        return image

    def _detector_of(self, path: Mapping[str, Any]) -> DetectionFiles:
        detector = next((d for d in self.catalogue.detectors if d.key == path["key"]), None)
        if detector is None:
            raise HTTPException(404)
        return detector

    def _keyed(self, marked: Mapping[str, str]) -> dict[str, str]:
        return {image.key: marked[image.row.image] for image in self.catalogue.images if image.row.image in marked}

    def hide_identity(self, text: str) -> str:
        """Return a text without words that identify a patient, unless these are to be shown."""
        if self.show_identity:
            return text
        words = {w for image in self.catalogue.images for w in (image.row.patient, *image.facts.identity)}
        return without_identity(text, words, "…")


def _image_entry(image: ViewedImage, marked: Mapping[str, str]) -> dict[str, Any]:
    row, facts = image.row, image.facts
    return {
        "key": image.key, "name": image.name, "view": row.view or facts.view or "",
        "laterality": row.laterality or facts.laterality or "", "intent": row.intent, "mark": marked.get(row.image, ""),
    }  # fmt: skip


def _layer_of(path: Mapping[str, Any]) -> Any:
    if path["layer"] not in LAYERS:
        raise HTTPException(404)
    return path["layer"]


async def _page(request: Request) -> Response:
    """Answer with a file of the page; no other file has an address."""
    name = request.path_params.get("name", "index.html")
    files = {file.name: file for file in (resources.files("microcalc") / "viewer" / "page").iterdir()}
    kind = _TYPES.get(name.rpartition(".")[2])
    if name not in files or kind is None:
        raise HTTPException(404)
    return Response(files[name].read_bytes(), headers={"Content-Type": kind})
