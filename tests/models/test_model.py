from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.detection.networks import description, write_model

from microcalc.domain import LIKELIHOOD_DIGITS
from microcalc.errors import InputError, MicrocalcError, RecipeError
from microcalc.models.description import CascadeDescription, parse_description, parse_pair_description
from microcalc.models.model import Models, laplacian_model, load_model, open_pair, shipped_model


def _rewrite(folder: Path, **changes: Any) -> None:
    entries = {**description(folder), **changes}
    (folder / "model.json").write_text(json.dumps({k: v for k, v in entries.items() if v is not None}))


def test_a_models_numbers_come_from_its_folder(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / "m"))
    assert (model.name, model.intent, model.scorer.spacing_mm) == ("untrained", "processed", 0.1)
    assert len(model.operating_points) == 2
    assert model.operating_point.threshold == 0.7  # the second, by default_operating_point


def test_a_description_written_and_read_is_the_same(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    first = parse_description((folder / "model.json").read_bytes(), where="model.json")
    assert parse_description(first.to_json(), where="model.json") == first
    assert json.loads(first.to_json()) == description(folder)


def test_a_changed_network_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    changed = bytearray((folder / "cnn2.onnx").read_bytes())
    changed[-1] ^= 1
    (folder / "cnn2.onnx").write_bytes(bytes(changed))
    with pytest.raises(InputError, match=r"m/cnn2\.onnx: SHA-256 .* expected"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"rejection_logit": None}, "rejection_logit"),
        ({"threshhold": 0.5}, "threshhold"),
        ({"rejection_logit": None, "survive_logits": 1.0}, "survive_logits: unknown entry"),
        ({"spacing_mm": "0.1"}, "spacing_mm"),
        ({"spacing_mm": 10.0}, "spacing_mm"),
        ({"schema": "microcalc/model/2"}, "schema"),
        ({"default_operating_point": 2}, "default_operating_point"),
        ({"operating_points": []}, "operating_points"),
        ({"operating_points": [{"threshold": 0.5, "llf": 0.5, "nlf": 0.1, "fpr": 1}]}, "fpr"),
        (
            {"mark_operating_points": [{"threshold": t, "llf": 0.5, "nlf": 1.0} for t in (0.5, 0.9)]},
            r"thresholds \[0.5, 0.9\] of mark_operating_points, expected the highest first",
        ),
        (
            {
                "clusters": {
                    "max_gap_mm": 5.0,
                    "min_members": 3,
                    "max_area_cm2": 1.0,
                    "min_likelihood": 0.5,
                    "member_likelihood": 0.6,
                    "member_gap_mm": 4.0,
                }
            },
            "clusters: .*member_gap_mm 4.0, expected at least max_gap_mm 5.0",
        ),
        ({"cnn1": {"file": "../cnn1.onnx", "margin_px": 3, "sha256": "0" * 64}}, "cnn1.file"),
    ],
)
def test_a_broken_entry_is_named_in_one_line(tmp_path: Path, changes: dict[str, Any], names: str) -> None:
    folder = write_model(tmp_path / "m")
    _rewrite(folder, **changes)
    with pytest.raises(RecipeError, match=names) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_threshold_has_the_decimals_of_the_likelihoods_that_results_state(tmp_path: Path) -> None:
    likelihood = float(np.float32(0.91635519))  # as a network gives it: with more decimals than are stated
    folder = write_model(tmp_path / "m")
    point = {"threshold": likelihood, "llf": 0.5, "nlf": 0.1}
    _rewrite(folder, mark_operating_points=[point], operating_points=[point], default_operating_point=0)
    model = load_model(folder)
    (mark,) = model.mark_operating_points
    assert mark.threshold == model.operating_point.threshold == round(likelihood, LIKELIHOOD_DIGITS) < likelihood


def test_text_that_is_no_json_is_refused_in_one_line() -> None:
    with pytest.raises(RecipeError, match=r"^m/model\.json: the text: [^\n]*$"):
        parse_description("{", where="m/model.json")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing: no such model, expected raw"):
        load_model(tmp_path / "nothing")


def test_a_missing_network_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    (folder / "cnn1.onnx").unlink()
    with pytest.raises(InputError, match=r"m/cnn1\.onnx: No such file"):
        load_model(folder)


def test_the_models_hash_changes_with_any_entry(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m")
    before = load_model(folder).sha256
    _rewrite(folder, rejection_logit=0.1)
    assert load_model(folder).sha256 != before


def test_a_model_for_the_other_intent_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", intent="raw")
    models = Models(str(folder))
    assert models.of("raw").name == "untrained"
    with pytest.raises(MicrocalcError, match="a model for raw images, expected one for processed images"):
        models.of("processed")


def test_log_is_for_images_of_both_intents() -> None:
    models = Models("log")
    assert models.of("raw").name == models.of("processed").name == laplacian_model().name == "log"
    assert (laplacian_model().operating_point.llf, laplacian_model().operating_point.nlf) == (
        None,
        None,
    )  # nobody measured


def test_a_model_that_is_named_is_loaded_once_and_before_the_first_image(tmp_path: Path) -> None:
    models = Models(str(write_model(tmp_path / "m", intent="raw")))
    assert models.of("raw") is models.of("raw")
    with pytest.raises(
        InputError, match=r"^nothing: no such model, expected raw, processed, cascade, log, or a model's folder$"
    ):
        Models(str(tmp_path / "nothing"))


def test_the_filter_has_no_stage_of_a_network() -> None:
    with pytest.raises(InputError, match="log: a filter without networks, expected no --stage cnn1"):
        Models("log", stage="cnn1")


def test_the_shipped_models_lie_in_the_package() -> None:
    assert shipped_model("raw").parts[-3:] == ("microcalc", "models", "raw")


def _cascade_model(folder: Path) -> Path:
    """A folder that says it holds a cascade; its file is none."""
    entries = description(write_model(folder, intent="raw"), intent="raw")
    del entries["cnn1"], entries["cnn2"], entries["rejection_logit"], entries["most_survivors"]
    (folder / "cascade.npz").write_bytes(b"stumps")
    digest = hashlib.sha256(b"stumps").hexdigest()
    entries |= {"schema": "microcalc/cascade-model/1", "cascade": {"file": "cascade.npz", "sha256": digest}}
    (folder / "model.json").write_text(json.dumps(entries))
    return folder


def test_a_cascades_description_written_and_read_is_the_same(tmp_path: Path) -> None:
    text = (_cascade_model(tmp_path / "c") / "model.json").read_text()
    first = parse_description(text, where="model.json")
    assert isinstance(first, CascadeDescription)
    assert parse_description(first.to_json(), where="model.json") == first
    assert json.loads(first.to_json()) == json.loads(text)


def test_a_cascade_is_no_pair(tmp_path: Path) -> None:
    folder = _cascade_model(tmp_path / "c")
    with pytest.raises(InputError, match=r"^c: a cascade, expected a pair of networks$"):
        open_pair(folder)
    with pytest.raises(InputError, match=r"^c: a cascade, expected no --stage cnn1$"):
        load_model(folder, stage="cnn1")
    with pytest.raises(RecipeError, match=r"model\.json: cascade: unknown entry"):
        parse_pair_description((folder / "model.json").read_bytes(), where="model.json")


def test_a_changed_cascade_is_refused(tmp_path: Path) -> None:
    folder = _cascade_model(tmp_path / "c")
    (folder / "cascade.npz").write_bytes(b"other stumps")
    with pytest.raises(InputError, match=r"c/cascade\.npz: SHA-256 .* expected"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"cascade": {"file": "../cascade.npz", "sha256": "0" * 64}}, r"cascade\.file"),
        ({"cascade": None}, "cascade"),
        ({"rejection_logit": 1.0}, "rejection_logit: unknown entry"),
    ],
)
def test_a_broken_entry_of_a_cascade_is_named(tmp_path: Path, changes: dict[str, Any], names: str) -> None:
    folder = _cascade_model(tmp_path / "c")
    entries = {**json.loads((folder / "model.json").read_text()), **changes}
    (folder / "model.json").write_text(json.dumps({k: v for k, v in entries.items() if v is not None}))
    with pytest.raises(RecipeError, match=names):
        load_model(folder)
