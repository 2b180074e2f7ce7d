import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol, types
from hypothesis import given, settings
from hypothesis import strategies as st

from requant.errors import RequantError
from tests.building import IOS16, IOS17, IOS18, numbers
from tests.runtime.running import node_kinds, run_program

A, PICTURE = numbers(2, 3, 4), numbers(2, 8, 4, 6)


def spec(*shape, dtype=types.fp32):
    return mb.TensorSpec(shape=tuple(get_new_symbol() if size is None else size for size in shape), dtype=dtype)


def integers(*values):
    return np.array(values, np.int32)


def space_to_batch(x, rows, columns):
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // rows, rows, w // columns, columns)
    return blocks.transpose(3, 5, 0, 1, 2, 4).reshape(n * rows * columns, c, h // rows, w // columns)


def depth_to_space(x, b):
    n, c, h, w = x.shape
    return x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


def pixel_shuffle(x, b):
    n, c, h, w = x.shape
    return x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // b**2, h * b, w * b)


# Operation, inputs -> what numpy computes. The picture's sizes are given once as numbers and once left open.
PICTURES = {
    "depth_to_space": (lambda x: mb.depth_to_space(x=x, block_size=2), lambda x: depth_to_space(x, 2)),
    "pixel_shuffle": (lambda x: mb.pixel_shuffle(x=x, upscale_factor=2), lambda x: pixel_shuffle(x, 2)),
    "space_to_batch": (
        lambda x: mb.space_to_batch(x=x, block_shape=[2, 3], paddings=[[1, 1], [0, 3]]),
        lambda x: space_to_batch(np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 3))), 2, 3),
    ),
    "space_to_batch, no border": (
        lambda x: mb.space_to_batch(x=x, block_shape=[2, 3], paddings=[[0, 0], [0, 0]]),
        lambda x: space_to_batch(x, 2, 3),
    ),
    "reverse": (lambda x: mb.reverse(x=x, axes=[0, -1]), lambda x: x[::-1, :, :, ::-1]),
    "reverse all": (lambda x: mb.reverse(x=x), lambda x: x[::-1, ::-1, ::-1, ::-1]),
    "sliding_windows": (
        lambda x: mb.sliding_windows(x=x, axis=-2, size=3),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, 3, 2).transpose(0, 1, 2, 4, 3),
    ),
    "sliding_windows with a stride": (
        lambda x: mb.sliding_windows(x=x, axis=3, size=2, stride=3),
        lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, 3)[:, :, :, ::3],
    ),
    "squeeze leaves what is not of size 1": (lambda x: mb.squeeze(x=x, axes=[0, 1]), lambda x: x),
    "reshape": (lambda x: mb.reshape(x=x, shape=[0, 4, -1, 6]), lambda x: x.reshape(len(x), 4, -1, 6)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name):
    function, expected = PICTURES[name]
    (found,) = run_program(function, PICTURE)
    np.testing.assert_array_equal(found, expected(PICTURE))


@pytest.mark.parametrize("name", ["reverse", "reverse all", "sliding_windows", "sliding_windows with a stride"])
def test_pictures_of_open_sizes(name):
    function, expected = PICTURES[name]
    (found,) = run_program(function, PICTURE, shapes=[spec(None, 8, None, None)])
    np.testing.assert_array_equal(found, expected(PICTURE))


@pytest.mark.parametrize("name", ["depth_to_space", "pixel_shuffle"])
def test_depth_and_space_of_an_open_batch(name):
    function, expected = PICTURES[name]
    (found,) = run_program(function, PICTURE, shapes=[spec(None, 8, 4, 6)])
    np.testing.assert_array_equal(found, expected(PICTURE))


def test_what_goes_there_and_back():
    (found,) = run_program(lambda x: mb.depth_to_space(x=mb.space_to_depth(x=x, block_size=2), block_size=2), PICTURE)
    np.testing.assert_array_equal(found, PICTURE)
    (found,) = run_program(
        lambda x: mb.pixel_shuffle(x=mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(2)), upscale_factor=2),
        PICTURE,
        target=IOS16,
    )
    np.testing.assert_array_equal(found, PICTURE)

    def blocks(x):
        apart = mb.space_to_batch(x=x, block_shape=[2, 3], paddings=[[1, 1], [2, 1]])
        return mb.batch_to_space(x=apart, block_shape=[2, 3], crops=[[1, 0], [0, 2]])

    padded = np.pad(PICTURE, ((0, 0), (0, 0), (1, 1), (2, 1)))
    np.testing.assert_array_equal(run_program(blocks, PICTURE)[0], padded[:, :, 1:, :-2])


# Shapes


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ([4, -1], (4, 6)),
        ([0, 2, -1], (2, 2, 6)),
        ([-1, 3, 0], (2, 3, 4)),
        ([1, 0, -1, 0], (1, 2, 3, 4)),  # zeros are counted from the last axis: 2 and 4 of (2, 3, 4)
        ([0, 0, 0, 0], (1, 2, 3, 4)),
        ([6, 0], (6, 4)),
    ],
)
@pytest.mark.parametrize("computed", [False, True])
def test_reshape(shape, expected, computed):
    if computed:
        (found,) = run_program(
            lambda x, s: mb.reshape(x=x, shape=s),
            A,
            integers(*shape),
            shapes=[spec(2, 3, 4), spec(len(shape), dtype=types.int32)],
            target=IOS17,
        )
    else:
        (found,) = run_program(lambda x: mb.reshape(x=x, shape=shape), A, target=IOS17)
    np.testing.assert_array_equal(found, A.reshape(expected))


def test_a_shape_that_is_computed_from_shapes():
    def function(x):
        sizes = mb.shape(x=x)
        first = mb.gather(x=sizes, indices=np.int32(0), axis=0)
        last = mb.slice_by_index(x=sizes, begin=[2], end=[3], squeeze_mask=[True])
        product = mb.mul(x=first, y=last)
        shape = mb.concat(values=[product, np.int32(3), np.int32(-1)], axis=0)
        return mb.reshape(x=mb.transpose(x=x, perm=[0, 2, 1]), shape=shape)

    for size in (2, 5):
        x = numbers(size, 3, 4)
        (found,) = run_program(function, x, shapes=[spec(None, 3, None)])
        np.testing.assert_array_equal(found, x.transpose(0, 2, 1).reshape(size * 4, 3, -1))


def test_reshape_like():
    def function(x, y, z):
        return mb.reshape_like(x=x, ref_tensors=(y, z), begins=(1, 1), ends=(3, 0), end_masks=(False, True))

    x, y, z = numbers(30, 4), numbers(9, 2, 3, 8), numbers(7, 5, 4)
    (found,) = run_program(function, x, y, z, target=IOS16)
    np.testing.assert_array_equal(found, x.reshape(2, 3, 5, 4))


def test_squeeze_and_expand_dims():
    def function(x):
        return mb.squeeze(x=mb.expand_dims(x=x, axes=[0, -1, 2]), axes=[-1, 0])

    np.testing.assert_array_equal(run_program(function, A[0])[0], A[0][:, np.newaxis])


@pytest.mark.parametrize(("sequence", "batch"), [(1, 0), (0, 2), (-1, 1)])
def test_reverse_sequence(sequence, batch):
    lengths = integers(*[2, 0, 3, 1][: A.shape[batch]])
    lengths = np.minimum(lengths, A.shape[sequence])

    def function(x, n):
        return mb.reverse_sequence(x=x, lengths=n, seq_axis=sequence, batch_axis=batch)

    (found,) = run_program(function, A, lengths, shapes=[spec(*A.shape), spec(len(lengths), dtype=types.int32)])
    expected = np.moveaxis(A, (batch, sequence), (0, 1)).copy()
    for row, length in zip(expected, lengths, strict=True):
        row[:length] = row[:length][::-1].copy()
    np.testing.assert_array_equal(found, np.moveaxis(expected, (0, 1), (batch, sequence)))


def test_a_sequence_that_is_its_own_batch_is_refused():
    with pytest.raises(RequantError, match="same axis"):
        run_program(lambda x: mb.reverse_sequence(x=x, lengths=[1, 2]), A)


# Slices

BOUND = st.integers(-6, 6)


@st.composite
def slices(draw, steps=(-3, -2, -1, 1, 2, 3)):
    """Draw begin, end, stride, the masks, and numpy's index, such that no slice is empty."""
    sizes, drawn = (4, 5), []
    for size in sizes:
        begin, end, step = draw(st.integers(-size, size - 1)), draw(BOUND), draw(st.sampled_from(steps))
        from_first, to_last, one = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
        index = begin if one else slice(None if from_first else begin, None if to_last else end, step)
        if not one and not len(range(size)[index]):
            from_first = to_last = True
            index = slice(None, None, step)
        drawn.append((begin, end, step, from_first and not one, to_last, one, index))
    return [list(column) for column in zip(*drawn, strict=True)]


@settings(max_examples=30, deadline=None)
@given(slices(), st.booleans(), st.booleans())
def test_slice_by_index(drawn, computed, open_sizes):
    begin, end, stride, begin_mask, end_mask, squeeze_mask, index = drawn
    masks = {"begin_mask": begin_mask, "end_mask": end_mask, "squeeze_mask": squeeze_mask, "stride": stride}
    x, vectors = numbers(4, 5), [spec(2, dtype=types.int32) for _ in range(2)]
    first = spec(None, None) if open_sizes else spec(4, 5)
    if computed:
        (found,) = run_program(
            lambda x, b, e: mb.slice_by_index(x=x, begin=b, end=e, **masks),
            x, integers(*begin), integers(*end), shapes=[first, *vectors],
        )  # fmt: skip
    else:
        (found,) = run_program(lambda x: mb.slice_by_index(x=x, begin=begin, end=end, **masks), x, shapes=[first])
    np.testing.assert_array_equal(found, np.atleast_1d(x[tuple(index)]))


@settings(max_examples=30, deadline=None)
@given(slices(), st.booleans())
def test_slice_update(drawn, computed):
    begin, end, stride, begin_mask, end_mask, squeeze_mask, index = drawn
    x = numbers(4, 5)
    part = np.asarray(x[tuple(index)] + 10)
    if not part.ndim:
        return  # MIL has no update without axes
    masks = {"begin_mask": begin_mask, "end_mask": end_mask, "squeeze_mask": squeeze_mask, "stride": stride}
    if computed:
        vectors = [spec(2, dtype=types.int32) for _ in range(2)]
        (found,) = run_program(
            lambda x, u, b, e: mb.slice_update(x=x, update=u, begin=b, end=e, **masks),
            x, part, integers(*begin), integers(*end),
            shapes=[spec(4, 5), spec(*part.shape), *vectors], target=IOS18,
        )  # fmt: skip
    else:
        (found,) = run_program(
            lambda x, u: mb.slice_update(x=x, update=u, begin=begin, end=end, **masks), x, part, target=IOS18
        )
    expected = x.copy()
    expected[tuple(index)] = part
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("stride", "index"), [([1, 2], np.s_[1:3, 1::2]), ([1, 1], np.s_[1:3, 3:5])])
def test_slice_update_of_open_sizes(stride, index):
    x, part = numbers(4, 5), numbers(2, 2, seed=1)

    def function(x, u):
        return mb.slice_update(x=x, update=u, begin=[1, index[1].start], end=[3, 5], stride=stride)

    (found,) = run_program(function, x, part, shapes=[spec(None, None), spec(2, 2)], target=IOS18)
    expected = x.copy()
    expected[index] = part
    np.testing.assert_array_equal(found, expected)


def test_an_update_without_gaps_is_put_between_what_surrounds_it():
    kinds = node_kinds(
        lambda x, u, b, e: mb.slice_update(x=x, update=u, begin=b, end=e, end_mask=[True, False, True]),
        spec(2, 9, 4), spec(2, 1, 4), spec(3, dtype=types.int32), spec(3, dtype=types.int32), target=IOS18,
    )  # fmt: skip
    assert "Concat" in kinds
    assert not {"ScatterElements", "Range"} & set(kinds)


@pytest.mark.parametrize(
    ("begin", "size", "index"),
    [
        ([1, 2], [2, 3], np.s_[1:3, 2:5]),
        ([-3, 0], [2, -1], np.s_[1:3, 0:]),
        ([-2, -1], [2, 1], np.s_[2:, 4:]),
        ([0, -4], [-1, -1], np.s_[:, 1:]),
    ],
)
@pytest.mark.parametrize("computed", [False, True])
@pytest.mark.parametrize("open_sizes", [False, True])
def test_slice_by_size(begin, size, index, computed, open_sizes):
    x, vectors = numbers(4, 5), [spec(2, dtype=types.int32) for _ in range(2)]
    first = spec(None, None) if open_sizes else spec(4, 5)
    if computed:
        (found,) = run_program(
            lambda x, b, s: mb.slice_by_size(x=x, begin=b, size=s),
            x, integers(*begin), integers(*size), shapes=[first, *vectors],
        )  # fmt: skip
    else:
        (found,) = run_program(lambda x: mb.slice_by_size(x=x, begin=begin, size=size), x, shapes=[first])
    np.testing.assert_array_equal(found, x[index])
