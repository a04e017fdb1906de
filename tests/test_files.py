import hashlib

import pytest

from metastable.errors import InputError
from metastable.files import require_writable, sha256_of, write_text, written_whole


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "heads.csv"
    write_text(path, "old")

    def fail():
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_replaces_the_old_file_and_others_may_read_it(tmp_path):
    path = tmp_path / "new" / "report.md"
    write_text(path, "one\n")
    write_text(path, "twó\n")
    assert path.read_bytes() == "twó\n".encode()
    assert path.stat().st_mode & 0o400
    assert list(path.parent.iterdir()) == [path]


def test_sha256(tmp_path):
    path = tmp_path / "norms.csv"
    path.write_bytes(b"null\n")
    assert sha256_of(path) == hashlib.sha256(b"null\n").hexdigest()


def test_a_file_in_the_way_is_told_with_its_option(tmp_path):
    (tmp_path / "reports").write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot write to .*reports/x .*by --out"):
        require_writable(tmp_path / "reports" / "x", "--out")
