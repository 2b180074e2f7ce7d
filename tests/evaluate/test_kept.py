import os

import pytest

from requant.evaluate.kept import trim_outputs


@pytest.fixture
def files(tmp_path):
    """Return a float model's outputs of 100 bytes and three variants' of 50, the oldest last by name."""
    paths = [tmp_path / name for name in ("float.npz", "a.npz", "b.npz", "c.npz")]
    for age, path in enumerate(paths):
        path.write_bytes(bytes(100 if age == 0 else 50))
        os.utime(path, (1000 - age, 1000 - age))
    return paths


@pytest.mark.parametrize(
    ("budget", "gone"), [(250, []), (249, ["c"]), (200, ["c"]), (150, ["c", "b"]), (0, ["c", "b", "a"])]
)
def test_the_oldest_go_until_the_rest_fits_and_the_float_models_stay(files, budget, gone):
    removed = trim_outputs(files[1:], files[:1], budget)
    assert [path.stem for path in removed] == gone
    assert [path for path in files if not path.exists()] == sorted(removed)


def test_what_does_not_exist_counts_for_nothing(files, tmp_path):
    assert trim_outputs([*files[1:], tmp_path / "none.npz"], files[:1], 250) == []
