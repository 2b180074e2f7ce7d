import textwrap
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from requant.coreml.description import Feature
from requant.errors import RequantError
from requant.evaluate.data import data_files, describe_data, load_data
from requant.evaluate.outputs import run_all
from requant.frameworks import only

X, N = Feature("x", "array", (3,)), Feature("n", "number")


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """Return a function that writes a loader and gives the settings for it."""
    monkeypatch.chdir(tmp_path)

    def write(body, **settings):
        text = "import numpy as np\nCALLS = []\n\n\ndef samples():\n" + textwrap.indent(textwrap.dedent(body), "    ")
        (tmp_path / "mine.py").write_text(text)
        return {"loader": "mine.py:samples", **settings}

    return write


class Doubling:
    """A model that doubles its array and adds its number."""

    inputs, outputs = (X, N), (Feature("y", "array", (3,)),)

    def make_state(self):
        return None

    def predict(self, inputs, state=None):
        return {"y": np.asarray(inputs["x"]) * 2 + inputs["n"]}


ROWS = """
for row in range(10):
    yield {"x": np.full(3, row, np.float32), "n": row}, row % 3
"""


def test_samples_are_yielded_with_several_inputs_and_targets(loader):
    outputs = run_all(Doubling(), load_data(loader(ROWS), [X, N]))
    assert outputs.names == [str(row) for row in range(10)]
    assert outputs.targets == [str(row % 3) for row in range(10)]
    assert outputs.arrays["y"][:, 0].tolist() == [3 * row for row in range(10)]


def test_samples_are_made_once_in_a_run_and_again_in_the_next(loader):
    body = """
    for row in range(4):
        with open("calls.txt", "a") as stream:
            stream.write(f"{row} ")
        yield {"x": np.full(3, row), "n": 1.0}
    """
    data = load_data(loader(body), [X, N])
    first = run_all(Doubling(), data)
    with open("calls.txt") as stream:  # noqa: PTH123
        assert stream.read() == "0 0 1 2 3 "  # the first one twice, to see whether it is the same
    assert first.targets == []
    again = run_all(Doubling(), data)
    assert np.array_equal(first.arrays["y"], again.arrays["y"])


def test_samples_can_be_asked_for_in_any_order(loader):
    data = load_data(loader(ROWS), [X, N])
    assert data.inputs(7)["n"] == 7
    assert data.inputs(2)["n"] == 2
    assert data.place_of(2) == "3"
    assert len(data.names) == 10
    assert data.names[-1] == "9"
    assert data.names[2:4] == ["2", "3"]
    assert data.targets[4] == "1"
    assert list(data.targets[:2]) == ["0", "1"]
    assert list(data.names) == [str(row) for row in range(10)]
    with pytest.raises(RequantError, match=r"mine.py:samples gave no sample 10"):
        data.inputs(10)


def test_the_first_samples_of_a_stream_are_taken(loader):
    data = load_data(loader(ROWS, samples=4), [X, N])
    assert list(data.names) == ["0", "1", "2", "3"]
    assert len(data.names) == len(data.targets) == 4
    assert len(load_data(loader(ROWS, samples=40), [X, N]).names) == 10


@pytest.mark.parametrize(
    "body",
    [
        "return [({'x': np.full(3, row), 'n': row}, float(row)) for row in range(50)]",
        """
        class Numbered:
            def __len__(self):
                return 50
            def __getitem__(self, row):
                return {'x': np.full(3, row), 'n': row}, np.int64(row)
        return Numbered()
        """,
        """
        class Counted:
            def __len__(self):
                return 50
            def __iter__(self):
                return (({'x': np.full(3, row), 'n': row}, np.array([row])) for row in range(50))
        return Counted()
        """,
    ],
)
def test_of_what_has_a_length_samples_are_drawn(loader, body):
    settings = loader(body, samples=5, seed=2)
    data = load_data(settings, [X, N])
    outputs = run_all(Doubling(), data)
    assert len(outputs.names) == 5
    assert outputs.names == outputs.targets != ["0", "1", "2", "3", "4"]
    assert outputs.arrays["y"][:, 0].tolist() == [3 * int(name) for name in outputs.names]
    assert list(load_data(settings, [X, N]).names) == outputs.names
    assert data.place_of(1) == "2 of 5"


def test_one_sample_is_held_at_a_time(loader):
    body = """
    for row in range(40):
        yield {"x": np.full(1_000_000, row, np.float32)}
    """
    data = load_data(loader(body), [Feature("x", "array", (1_000_000,))])
    tracemalloc.start()
    for index, _ in enumerate(data.names):
        data.inputs(index)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * 4e6


def test_the_files_of_a_loader_are_those_that_it_names(loader, tmp_path):
    (tmp_path / "table.txt").write_text("1")
    settings = loader(ROWS, files=["table.txt"])
    assert [str(file) for file in data_files(settings)] == ["mine.py", "table.txt"]
    record = describe_data(settings)
    assert record["path"] == "mine.py:samples"
    assert record["description"] == "the samples of mine.py:samples"
    assert set(record["sha256"]) == {"mine.py", "table.txt"}
    assert describe_data({**settings, "samples": 3})["description"] == "at most 3 samples of mine.py:samples"


def test_pictures_are_cut_and_resampled_and_other_types_are_passed_on(loader):
    features = [
        Feature("image", "picture", (6, 4)), Feature("grey", "picture", (2, 2), colour="GRAYSCALE"),
        Feature("words", "dictionary", keys="string"), Feature("text", "string"), Feature("ids", "sequence"),
        Feature("i", "integer"), Feature("left_out", "number", optional=True),
    ]  # fmt: skip
    body = """
    from PIL import Image
    yield {
        "image": Image.new("RGBA", (40, 30), (1, 2, 3, 4)), "grey": np.full((2, 2), 7.4), "words": {"a": 1.0},
        "text": "b", "ids": [1, 2], "i": np.array([3]),
    }
    """
    inputs = load_data(loader(body), features).inputs(0)
    assert inputs["image"].size == (4, 6)
    assert inputs["image"].getpixel((0, 0)) == (1, 2, 3)
    assert isinstance(inputs["grey"], Image.Image)
    assert inputs["grey"].getpixel((0, 0)) == 7
    assert (inputs["words"], inputs["text"], inputs["ids"], inputs["i"]) == ({"a": 1.0}, "b", [1, 2], 3)


@pytest.mark.parametrize(
    ("feature", "value", "message"),
    [
        (X, "np.zeros(4)", r"the input 'x' is an array of shape \(3,\), but got one of shape \(4,\)"),
        (X, "'abc'", "the input 'x' is an array of numbers, not str"),
        (Feature("x", "number"), "'abc'", "the input 'x' is a number, not str"),
        (
            Feature("x", "picture", (2, 2)),
            "np.zeros((3, 3))",
            "the input 'x' is a picture of 2 x 2 pixels, but got 3 x 3",
        ),
        (Feature("x", "string"), "3", "the input 'x' is a string, not int"),
        (Feature("x", "dictionary"), "[1]", "the input 'x' is a dictionary, not list"),
        (Feature("x", "sequence"), "1", "the input 'x' is a sequence, not int"),
    ],
)
def test_an_input_that_does_not_fit_is_named_with_its_sample(loader, feature, value, message):
    good = {
        "array": "np.zeros(3)",
        "picture": "np.zeros((2, 2))",
        "string": "'a'",
        "dictionary": "{}",
        "sequence": "[]",
    }
    body = f"yield {{'x': {good.get(feature.type, '1')}}}\nyield {{'x': {value}}}"
    data = load_data(loader(body), [feature])
    data.inputs(0)
    with pytest.raises(RequantError, match=rf"^mine.py:samples: sample 1: {message}"):
        data.inputs(1)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("yield {'y': np.zeros(3)}", "sample 0: the model has no input 'y'. Its inputs are x"),
        ("yield {}", "sample 0: the input 'x' is missing: give an array"),
        ("yield np.zeros(3)", r"sample 0 is neither a dictionary of inputs by name nor a pair .* type ndarray"),
        ("yield {'x': np.zeros(3)}, 1, 2", "sample 0 is neither .* type tuple"),
        (
            "yield {'x': np.zeros(3)}, 1\nyield {'x': np.zeros(3)}",
            "sample 1 has no target, but the first sample has one",
        ),
        (
            "yield {'x': np.zeros(3)}\nyield {'x': np.zeros(3)}, 1",
            "sample 1 has a target, but the first sample has none",
        ),
        ("yield {'x': np.zeros(3)}\nraise ValueError('broken file')", "failed at sample 1.\n(.*\n)*.*broken file"),
        ("raise ValueError('no file')", "failed at sample 0.\n(.*\n)*.*no file"),
        ("return open('nowhere')", "failed at sample 0.\n(.*\n)*.*No such file"),
        ("return {'x': np.zeros(3)}", "gave dict. It has to yield samples"),
        ("return None", "gave NoneType. It has to yield samples"),
        ("return []", "gave no sample at all"),
        ("yield from ()", "gave no sample at all"),
        ("yield {'x': np.random.default_rng().random(3)}", "gave another first sample when it was called again"),
        ("CALLS.append(1)\nyield {'x': np.zeros(3), 'n': len(CALLS)}", "gave another first sample"),
    ],
)
def test_what_is_wrong_with_a_loader_is_told(loader, body, message):
    with pytest.raises(RequantError, match=f"mine.py:samples:? {message}"):
        run_all(One(), load_data(loader(body), [X]))


class One(Doubling):
    """A model that takes one array."""

    inputs = (X,)

    def predict(self, inputs, state=None):
        return {"y": inputs["x"]}


def test_an_iterator_that_was_used_up_is_told(loader, tmp_path):
    (tmp_path / "mine.py").write_text("GIVEN = iter([{'x': [1, 2, 3]}])\n\n\ndef samples():\n    return GIVEN\n")
    with pytest.raises(RequantError, match=r"gave no sample at all|gave another first sample"):
        load_data({"loader": "mine.py:samples"}, [X])


def test_a_loader_may_import_frameworks_that_jobs_keep_out(loader, tmp_path):
    (tmp_path / "torchao.py").write_text("VALUE = 4\n")
    body = """
    import sys
    sys.path.insert(0, ".")
    import torchao
    yield {"x": [torchao.VALUE] * 3}
    """
    with only():
        data = load_data(loader(body), [X])
        assert data.inputs(0)["x"].tolist() == [4, 4, 4]
        with pytest.raises(ModuleNotFoundError):
            import torchao.nothing  # noqa: F401


def test_the_real_digits_are_what_the_idx_form_gives(loader, real_models):
    folder = real_models / "data-mnist-t10k"
    images = {"images": str(folder / "t10k-images-idx3-ubyte.gz")}
    body = f"""
    import gzip
    pixels = np.frombuffer(gzip.open({images["images"]!r}).read(), np.uint8, offset=16).reshape(-1, 28, 28)
    for picture in pixels:
        yield {{"image": picture}}
    """
    feature = Feature("image", "picture", (28, 28), colour="GRAYSCALE")
    ours, theirs = load_data(images, [feature]), load_data(loader(body, samples=3), [feature])
    for index in range(3):
        assert np.array_equal(np.asarray(ours.inputs(index)["image"]), np.asarray(theirs.inputs(index)["image"]))
