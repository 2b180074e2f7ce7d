import numpy as np
import pytest

from requant.errors import RequantError
from requant.quantize.custom import checked, load_table_function
from tests.building import numbers

WEIGHTS = numbers(3, 4)
TABLE = np.float32([-1, 0, 0.5, 2])
INDICES = np.arange(12).reshape(3, 4) % 4


def call(result, bits=2):
    function = result if callable(result) else lambda bits, weights: result
    return checked(function, "luts.py:mine")(bits, WEIGHTS)


def refused(result, bits=2):
    with pytest.raises(RequantError) as caught:
        call(result, bits)
    message = str(caught.value)
    assert message.startswith("luts.py:mine ")
    return message.removeprefix("luts.py:mine ")


@pytest.mark.parametrize("table", [TABLE, TABLE.tolist(), TABLE.reshape(4, 1), TABLE.astype(np.float64), [0, 1, 2, 3]])
@pytest.mark.parametrize(
    "indices", [INDICES, INDICES.reshape(-1), INDICES.tolist(), INDICES.astype(np.float64), INDICES.astype(np.uint8)]
)
def test_what_fits_is_taken(table, indices):
    found = call((table, indices))
    assert (found.table.dtype, found.indices.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(found.table, np.reshape(table, -1))
    np.testing.assert_array_equal(found.indices, INDICES)


def test_the_function_gets_the_bits_and_a_copy_of_the_weights():
    seen = {}

    def function(bits, weights):
        seen.update(bits=bits, dtype=weights.dtype, shape=weights.shape)
        weights[:] = 0
        return [TABLE, INDICES]

    call(function)
    assert seen == {"bits": 2, "dtype": np.float32, "shape": (3, 4)}
    np.testing.assert_array_equal(WEIGHTS, numbers(3, 4))


@pytest.mark.parametrize("result", [None, TABLE, (TABLE,), (TABLE, INDICES, 0), "ab", {"table": TABLE}, 3])
def test_what_is_not_a_pair_is_refused(result):
    assert refused(result) == f"has to return two arrays, table and indices, not {type(result).__name__}."


@pytest.mark.parametrize("table", [["a", "b", "c", "d"], [[1, 2], [3]], object(), [None, {}, 1, 2]])
def test_a_table_that_is_not_made_of_numbers_is_refused(table):
    assert refused((table, INDICES)) == "returned a table that is not made of numbers."


@pytest.mark.parametrize("table", [TABLE[:3], np.zeros(5), np.zeros((1, 4)), np.zeros((2, 2)), np.zeros((4, 2)), 1.0])
def test_a_table_of_another_size_is_refused(table):
    assert refused((table, INDICES)) == (f"returned a table of shape {np.shape(table)}; at 2 bits it has to be (4,).")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_table_with_a_number_that_is_not_finite_is_refused(number):
    assert refused(([0, 1, number, 2], INDICES)) == "returned a table with numbers that are not finite."


@pytest.mark.parametrize("indices", [INDICES[:2], INDICES.T, np.zeros(11), 0, INDICES.reshape(1, 12)])
def test_indices_of_another_shape_are_refused(indices):
    assert refused((TABLE, indices)) == f"returned indices of shape {np.shape(indices)} for weights of shape (3, 4)."


@pytest.mark.parametrize(
    "indices",
    [INDICES + 0.5, np.full((3, 4), np.nan), np.full((3, 4), "a"), INDICES.astype(bool), INDICES.astype(complex)],
)
def test_indices_that_are_not_whole_are_refused(indices):
    assert refused((TABLE, indices)) == "returned indices that are not whole numbers."


def test_indices_that_are_no_array_are_refused():
    assert refused((TABLE, [[0, 1], [2]])) == "returned indices that are not an array of whole numbers."


@pytest.mark.parametrize(("low", "high"), [(0, 4), (-1, 3), (0, 256), (0, np.inf)])
def test_indices_out_of_range_are_refused(low, high):
    indices = np.full((3, 4), low, np.float64)
    indices[1, 1] = high
    message = refused((TABLE, indices))
    assert message == f"returned indices from {float(low)} to {float(high)}; at 2 bits they have to be from 0 to 3."


def test_an_error_in_the_function_is_shown_with_its_line():
    def function(bits, weights):
        raise ValueError("the bits are wrong")

    message = refused(function)
    assert message.startswith("failed at 2 bits.")
    assert "ValueError: the bits are wrong" in message
    assert 'raise ValueError("the bits are wrong")' in message


def test_a_function_is_loaded_from_its_file(tmp_path):
    path = tmp_path / "luts.py"
    path.write_text("import numpy as np\ndef halves(bits, w):\n    return np.arange(2**bits) / 2, np.zeros(w.shape)\n")
    found = load_table_function(f"{path}:halves")(3, WEIGHTS)
    np.testing.assert_array_equal(found.table, np.arange(8) / 2)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RequantError, match=r"luts.py does not exist; custom_lut wants the function mine in it"):
        load_table_function(f"{tmp_path / 'luts.py'}:mine")


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("def mine(:\n", "SyntaxError"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_file_that_can_not_be_imported_is_named_with_the_reason(tmp_path, code, shown):
    (tmp_path / "luts.py").write_text(code)
    with pytest.raises(RequantError, match=f"(?s)luts.py can't be imported.*{shown}"):
        load_table_function(f"{tmp_path / 'luts.py'}:mine")


@pytest.mark.parametrize("code", ["", "mine = 3\n"])
def test_a_missing_function_is_named(tmp_path, code):
    (tmp_path / "luts.py").write_text(code)
    with pytest.raises(RequantError, match=r"luts.py has no function mine"):
        load_table_function(f"{tmp_path / 'luts.py'}:mine")
