"""bfloat16 is taken only where the processor multiplies it itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.training import toy

from microcalc.cnn import precision
from microcalc.cnn.precision import fast_precision, processor_flags
from microcalc.training.networks import describe_precision, settle_precision
from microcalc.training.recipe import Recipe, load_recipe, shipped_recipes


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the processor's flags are read from; no limit on oneDNN."""
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(precision, "_CPUINFO", file)
    for name in precision._LIMIT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return file


def _processor(file: Path, flags: str) -> None:
    file.write_text(f"processor\t: 0\nvmx flags\t: none\nflags\t\t: fpu {flags} rdtscp\nbugs\t\t: none\n")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx2", "float32"),
        ("avx2 avx512f avx512bw avx512_vnni", "float32"),
        ("avx2 avx512f avx512_bf16", "bfloat16"),
        ("avx2 amx_bf16 amx_tile", "bfloat16"),
        ("avx512_bf16_of_another_name", "float32"),
    ],
)
def test_bfloat16_is_taken_where_the_processor_multiplies_it_itself(cpuinfo: Path, flags: str, expected: str) -> None:
    _processor(cpuinfo, flags)
    assert fast_precision("cpu")[0] == expected


def test_a_machine_that_does_not_say_what_its_processor_can_do_trains_in_float32(cpuinfo: Path) -> None:
    assert processor_flags(cpuinfo) == set()
    assert fast_precision("cpu")[0] == "float32"
    cpuinfo.write_text("Features : fp asimd bf16\n")  # not x86
    assert fast_precision("cpu")[0] == "float32"


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("", "bfloat16"),
        ("DEFAULT", "bfloat16"),
        ("AVX512_CORE_BF16", "bfloat16"),
        ("avx512_core_amx", "bfloat16"),
        ("AVX512_CORE", "float32"),
        ("AVX2", "float32"),
    ],
)
def test_a_limit_on_the_library_that_multiplies_is_heeded(
    cpuinfo: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: str
) -> None:
    _processor(cpuinfo, "avx512_bf16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert fast_precision("cpu")[0] == expected


def _with(first: str, second: str) -> Recipe:
    recipe = toy.recipe()
    update = {
        "cnn1": recipe.cnn1.model_copy(update={"precision": first}),
        "cnn2": recipe.cnn2.model_copy(update={"precision": second}),
    }
    return recipe.model_copy(update=update)


def test_auto_is_settled_and_what_a_recipe_says_outright_is_obeyed(cpuinfo: Path) -> None:
    _processor(cpuinfo, "avx2")
    settled = settle_precision(_with("auto", "bfloat16"), "cpu")
    assert (settled.cnn1.precision, settled.cnn2.precision) == ("float32", "bfloat16")
    assert "does not multiply bfloat16" in describe_precision(_with("auto", "auto"), _with("float32", "float32"), "cpu")
    assert describe_precision(_with("float32", "float32"), _with("float32", "float32"), "cpu") == (
        "training in float32: as the recipe says"
    )


def test_a_run_that_goes_on_on_another_processor_keeps_the_precision_it_began_with(cpuinfo: Path) -> None:
    _processor(cpuinfo, "avx512_bf16")
    asked = _with("auto", "auto")
    begun = settle_precision(asked, "cpu")
    _processor(cpuinfo, "avx2")
    resumed = settle_precision(asked, "cpu", begun=begun)
    assert resumed == begun
    assert describe_precision(asked, resumed, "cpu") == "training in bfloat16: as the run began"
    other = begun.model_copy(update={"seed": 99})  # another recipe's run: refused later, and no model for this one
    assert settle_precision(asked, "cpu", begun=other).cnn1.precision == "float32"


def test_the_shipped_recipes_leave_the_precision_to_the_processor() -> None:
    for name in shipped_recipes():
        recipe = load_recipe(name)
        assert (recipe.cnn1.precision, recipe.cnn2.precision) == ("auto", "auto")
