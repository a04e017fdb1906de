"""What the guide to one's own study shows runs as it stands."""

import re
from pathlib import Path

import pytest

from metastable.heads.contrasts import contrasts_of
from metastable.models.encoders import load_tokenizer
from metastable.study import Study
from metastable.study.own_options import options_for

GUIDE = (Path(__file__).parents[1] / "docs" / "your_own_study.md").read_text(encoding="utf-8")


@pytest.fixture
def code():
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    return block


def test_ten_lines_make_a_study_of_a_file(code, tmp_path, monkeypatch):
    header, *rows = re.search(r"```text\n(condition,text\n.*?)```", GUIDE, flags=re.DOTALL).group(1).splitlines()
    (tmp_path / "metaphors.csv").write_text("\n".join([header, *rows, *(row[:-1] + "s!" for row in rows)]))
    monkeypatch.chdir(tmp_path)
    assert len(code.splitlines()) <= 10
    names: dict[str, object] = {}
    exec(code, names)
    study = names["STUDY"]
    assert isinstance(study, Study)
    sequences = study.build(options_for(study), load_tokenizer()).sequences
    (contrast,) = contrasts_of(study, sequences)
    assert (contrast.a.name, contrast.n_a, contrast.n_b) == ("literal", 2, 2)
    assert study.claims[0].direction == "less"


def test_the_table_names_every_field_of_a_study():
    told = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in GUIDE.splitlines() if "|" in line[:2])))
    assert told == set(Study.__dataclass_fields__)
