"""Raised programs: coremltools has to read them, and they have to give what they gave."""

import itertools

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb  # noqa: N813
from coremltools.converters.mil.mil import get_new_symbol, types
from coremltools.converters.mil.mil.input_type import TensorInputType
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

from requant.coreml.model import Model
from requant.coreml.program import all_operations, block_of, constant_values, functions
from requant.coreml.raising import CHANGES, raise_program, raised
from requant.coreml.systems import OPSETS
from requant.errors import RequantError
from requant.runtime import open_model
from tests.building import (
    FLOAT16,
    IOS15,
    IOS16,
    IOS17,
    IOS18,
    all_weights,
    as_model,
    load_milproto,
    numbers,
    package,
    program,
    some_weights,
)
from tests.runtime.running import without_limits

TARGETS = (IOS15, IOS16, IOS17, IOS18)
X = numbers(2, 3, 4, 5)


def outputs(model, *inputs):
    runner = open_model(model, "onnxruntime")
    found = runner.predict(dict(zip([f.name for f in runner.inputs], inputs, strict=True)), runner.make_state())
    return [found[feature.name] for feature in runner.outputs]


def read_by_coremltools(model, folder):
    """Return the operations of a program as coremltools reads it, with the operator set of its own version."""
    mlmodel = package(model, folder)
    loaded = load_milproto(model.spec, model.spec.specificationVersion, mlmodel.weights_dir)
    return [operation for function in loaded.functions.values() for operation in function.operations]


def kinds(model):
    return [operation.type for operation in all_operations(model.spec) if operation.type != "const"]


def check(model, folder, *inputs, to=9):
    """Raise a program, and return it and the names of what was rewritten."""
    before = model.spec.SerializeToString(deterministic=True)
    raising = raise_program(model, to)
    assert model.spec.SerializeToString(deterministic=True) == before
    assert raising.model.spec.specificationVersion == to
    assert {OPSETS[f.opset] for f in functions(raising.model.spec).values()} == {to}
    assert all(len(f.block_specializations) == 1 for f in functions(raising.model.spec).values())
    read_by_coremltools(raising.model, folder)
    for ours, theirs in zip(outputs(raising.model, *inputs), outputs(model, *inputs), strict=True):
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype
        np.testing.assert_array_equal(ours, theirs)
    return raising


# Every family, on one input (2, 3, 4, 5); each gives a tensor, or several.
PLAIN = {
    "activation": lambda x: mb.relu(x=mb.leaky_relu(x=mb.elu(x=x, alpha=0.7), alpha=0.1)),
    "hard sigmoid": lambda x: mb.sigmoid_hard(x=mb.scaled_tanh(x=x, alpha=1.5, beta=0.5), alpha=0.3, beta=0.4),
    "linear activation": lambda x: mb.linear_activation(x=x, alpha=2.0, beta=1.0),
    "clamped_relu": lambda x: mb.clamped_relu(x=x, alpha=0.1, beta=0.5),
    "thresholded": lambda x: mb.thresholded_relu(x=mb.relu6(x=x), alpha=0.4),
    "softplus": lambda x: mb.softplus_parametric(x=x, alpha=abs(numbers(3)) + 1, beta=abs(numbers(3, seed=1)) + 1),
    "prelu": lambda x: mb.prelu(x=x, alpha=numbers(3)),
    "softmax": lambda x: mb.softmax(x=mb.gelu(x=mb.silu(x=x)), axis=-2),
    "conv": lambda x: mb.conv(x=x, weight=numbers(6, 3, 3, 3), bias=numbers(6), pad_type="same"),
    "depthwise": lambda x: mb.conv(
        x=x, weight=numbers(3, 1, 2, 2), groups=3, strides=[2, 1], pad=[1, 0, 0, 1], pad_type="custom"
    ),
    "conv_transpose": lambda x: mb.conv_transpose(x=x, weight=numbers(3, 4, 3, 3), bias=numbers(4), strides=[2, 2]),
    "linear": lambda x: mb.linear(x=mb.reshape(x=x, shape=[6, 20]), weight=numbers(7, 20), bias=numbers(7)),
    "matmul": lambda x: mb.matmul(x=x, y=x, transpose_y=True),
    "matmul of a constant": lambda x: mb.matmul(x=x, y=numbers(5, 6)),
    "einsum": lambda x: mb.einsum(values=(mb.transpose(x=x, perm=[0, 3, 2, 1]), x), equation="nchw,nwhu->nchu"),
    "batch_norm": lambda x: mb.batch_norm(x=x, mean=numbers(3), variance=abs(numbers(3)), gamma=numbers(3)),
    "instance_norm": lambda x: mb.instance_norm(x=x, gamma=numbers(3), beta=numbers(3)),
    "layer_norm": lambda x: mb.layer_norm(x=x, axes=[-1], gamma=numbers(5), beta=numbers(5)),
    "other norms": lambda x: mb.l2_norm(x=mb.local_response_norm(x=x, size=3), epsilon=1e-3),
    "pools": lambda x: (
        mb.avg_pool(x=x, kernel_sizes=[2, 2], pad_type="valid"),
        mb.max_pool(x=x, kernel_sizes=[3, 3], strides=[1, 2], pad_type="same"),
    ),
    "reductions": lambda x: (
        mb.reduce_sum(x=x, axes=[1], keep_dims=True),
        mb.reduce_mean(x=x, axes=[-1]),
        mb.reduce_argmax(x=x, axis=1),
        mb.reduce_argmin(x=x, axis=-1, keep_dims=True),
        mb.reduce_log_sum_exp(x=x, axes=[2, 3]),
    ),
    "unary": lambda x: mb.exp(x=mb.sin(x=mb.tanh(x=mb.abs(x=x)))),
    "unary with epsilon": lambda x: (
        mb.log(x=mb.abs(x=x)), mb.rsqrt(x=mb.abs(x=x), epsilon=0.1), mb.inverse(x=x, epsilon=0.2),
    ),
    "clip": lambda x: mb.clip(x=x, alpha=-0.5, beta=0.5),
    "casts": lambda x: (mb.cast(x=x, dtype="int32"), mb.cast(x=mb.cast(x=x, dtype="bool"), dtype="int32")),
    "binary": lambda x: mb.maximum(x=mb.mul(x=mb.sub(x=x, y=numbers(4, 5)), y=x), y=mb.real_div(x=x, y=3.0)),
    "logic": lambda x: mb.select(cond=mb.greater_equal(x=x, y=0.0), a=x, b=mb.square(x=x)),
    "topk": lambda x: tuple(mb.topk(x=x, k=2, axis=1)),
    "argsort": lambda x: mb.argsort(x=x, axis=2, ascending=True),
    "reshape with zeros": lambda x: mb.reshape(x=x, shape=[2, 0, -1, 5]),
    "shapes": lambda x: mb.squeeze(x=mb.transpose(x=mb.expand_dims(x=x, axes=[1]), perm=[1, 0, 4, 3, 2]), axes=[0]),
    "reverse": lambda x: mb.reverse(x=x, axes=[1, 3]),
    "reverse_sequence": lambda x: mb.reverse_sequence(x=x, lengths=[2, 3], seq_axis=3, batch_axis=0),
    "slices": lambda x: (
        mb.slice_by_index(x=x, begin=[0, -2, 1, 0], end=[2, 3, -1, 5], stride=[1, 1, 1, 2]),
        mb.slice_by_size(x=x, begin=[0, 1, 0, 2], size=[2, 2, -1, 1]),
    ),
    "windows": lambda x: mb.sliding_windows(x=x, axis=3, size=3, stride=2),
    "joins": lambda x: (mb.concat(values=[x, x], axis=1), mb.stack(values=[x, x], axis=0)),
    "split": lambda x: tuple(mb.split(x=x, split_sizes=[1, 2], axis=1)),
    "tile and pad": lambda x: mb.pad(x=mb.tile(x=x, reps=[1, 2, 1, 1]), pad=[1, 2, 0, 1], mode="reflect"),
    "space": lambda x: mb.space_to_depth(x=mb.pad(x=x, pad=[0, 1], mode="constant", constant_val=2.0), block_size=2),
    "pixel_shuffle": lambda x: mb.pixel_shuffle(x=mb.concat(values=[x, x, x, x], axis=1), upscale_factor=2),
    "cumsum": lambda x: mb.cumsum(x=x, axis=2, exclusive=True),
    "one_hot": lambda x: mb.one_hot(indices=mb.reduce_argmax(x=x, axis=1), one_hot_vector_size=3),
    "fill": lambda x: mb.add(x=x, y=mb.fill(shape=[4, 5], value=0.3)),
    "band_part": lambda x: mb.band_part(x=x, lower=1, upper=0),
    "resize_bilinear": lambda x: (
        mb.resize_bilinear(x=x, target_size_height=7, target_size_width=9, sampling_mode="ALIGN_CORNERS"),
        mb.resize_bilinear(x=x, target_size_height=7),
    ),
    "nearest": lambda x: (
        mb.resize_nearest_neighbor(x=x, target_size_height=7, target_size_width=9),
        mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=3),
    ),
    "upsample_bilinear": lambda x: (
        mb.upsample_bilinear(x=x, scale_factor_height=2, scale_factor_width=2),
        mb.upsample_bilinear(x=x, scale_factor_height=2, scale_factor_width=2, align_corners=False),
    ),
    "crop": lambda x: mb.crop(x=x, crop_height=[1, 1], crop_width=[0, 2]),
    "resample": lambda x: mb.resample(
        x=x, coordinates=numbers(2, 3, 3, 2), sampling_mode="bilinear", padding_mode="constant", padding_value=0.0,
        coordinates_mode="normalized_minus_one_to_one", align_corners=True,
    ),
    "affine": lambda x: mb.affine(
        x=x, transform_matrix=numbers(2, 6), output_height=3, output_width=3, sampling_mode="bilinear",
        padding_mode="constant", padding_value=0.0, coordinates_mode="normalized_minus_one_to_one", align_corners=True,
    ),
    "counted indices": lambda x: mb.gather(x=x, indices=[2, 0], axis=1),
    "found indices": lambda x: mb.gather(
        x=numbers(3, 8), indices=mb.expand_dims(x=mb.reduce_argmax(x=x, axis=1), axes=[0])
    ),
    "points": lambda x: mb.scatter_nd(data=x, indices=[[0, 1], [1, 2]], updates=numbers(2, 4, 5), mode="update"),
}  # fmt: skip
SEQUENCES = {
    "lstm": lambda x: tuple(
        mb.lstm(x=x, initial_h=np.zeros((2, 6), np.float32), initial_c=np.zeros((2, 6), np.float32),
                weight_ih=numbers(24, 5), weight_hh=numbers(24, 6, scale=0.3), bias=numbers(24), output_sequence=True)
    ),
    "gru": lambda x: tuple(
        mb.gru(x=x, initial_h=np.zeros((2, 6), np.float32), weight_ih=numbers(18, 5),
               weight_hh=numbers(18, 6, scale=0.3), bias=numbers(18), output_sequence=True)
    ),
    "rnn": lambda x: tuple(
        mb.rnn(x=x, initial_h=np.zeros((2, 6), np.float32), weight_ih=numbers(6, 5), weight_hh=numbers(6, 6),
               bias=numbers(6), activation="relu")
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_what_means_the_same_is_not_touched(name, tmp_path):
    model = program(PLAIN[name], X.shape, plain=True)
    raising = check(model, tmp_path, X)
    assert raising.rewritten == ()
    before, after = (block_of(functions(m.spec)["main"]) for m in (model, raising.model))
    assert before.SerializeToString(deterministic=True) == after.SerializeToString(deterministic=True)
    assert raising.model.files == model.files


@pytest.mark.parametrize("name", PLAIN)
def test_coremltools_builds_the_same_for_the_newer_system(name):
    ours = raised(program(PLAIN[name], X.shape, plain=True), 9)
    theirs = program(PLAIN[name], X.shape, target=IOS18, plain=True)
    assert kinds(ours) == kinds(theirs)
    for a, b in zip(outputs(ours, X), outputs(theirs, X), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", SEQUENCES)
def test_recurrent_operations_are_not_touched(name, tmp_path):
    x = numbers(4, 2, 5)
    assert check(program(SEQUENCES[name], x.shape, plain=True), tmp_path, x).rewritten == ()


@pytest.mark.parametrize("precision", [ct.precision.FLOAT32, FLOAT16])
@pytest.mark.parametrize(("target", "to"), itertools.combinations(TARGETS, 2))
def test_every_pair_of_systems(target, to, precision, tmp_path):
    model = some_weights(target=target, precision=precision)
    x = numbers(1, 8, 8, 8)
    raising = check(model, tmp_path, x, to=to.value if hasattr(to, "value") else to)
    assert raising.rewritten == ()
    assert raising.model.files == model.files


# Indices that count from the end.


CONSTANT = {
    "gather": (lambda x: mb.gather(x=x, indices=[-1, 0, -3], axis=1), lambda x: x[:, [2, 0, 0]]),
    "gather of one": (lambda x: mb.gather(x=x, indices=-2, axis=-1), lambda x: x[..., 3]),
    "gather_along_axis": (
        lambda x: mb.gather_along_axis(x=x, indices=np.full((2, 3, 4, 1), -1, np.int32), axis=3),
        lambda x: x[..., 4:],
    ),
    "gather_nd": (
        lambda x: mb.gather_nd(x=x, indices=[[-1, -1], [0, -3], [1, 1]]),
        lambda x: np.stack([x[1, 2], x[0, 0], x[1, 1]]),
    ),
    "scatter": (
        lambda x: mb.scatter(data=x, indices=[-1], updates=numbers(2, 1, 4, 5), axis=1, mode="update"),
        lambda x: np.concatenate([x[:, :2], numbers(2, 1, 4, 5)], 1),
    ),
    "scatter_along_axis": (
        lambda x: mb.scatter_along_axis(
            data=x, indices=np.full((2, 1, 4, 5), -3, np.int32), updates=numbers(2, 1, 4, 5), axis=1, mode="update"
        ),
        lambda x: np.concatenate([numbers(2, 1, 4, 5), x[:, 1:]], 1),
    ),
    "scatter_nd": (
        lambda x: mb.scatter_nd(data=x, indices=[[-1, -2]], updates=numbers(1, 4, 5), mode="add"),
        lambda x: x + np.pad(numbers(1, 4, 5)[None], ((1, 0), (1, 1), (0, 0), (0, 0))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("to", [8, 9])
@pytest.mark.parametrize("name", CONSTANT)
def test_constant_indices_from_the_end_are_counted_from_zero(name, to, tmp_path):
    function, expected = CONSTANT[name]
    raising = check(program(function, X.shape, plain=True), tmp_path, X, to=to)
    assert len(raising.rewritten) == 1
    np.testing.assert_array_equal(outputs(raising.model, X)[0], expected(X))
    (operation,) = (o for o in all_operations(raising.model.spec) if o.type in CHANGES)
    known = constant_values(block_of(functions(raising.model.spec)["main"]), raising.model)
    assert (np.asarray(known[operation.inputs["indices"].arguments[0].name]) >= 0).all()


def test_the_same_set_of_indices_is_left_for_others():
    def function(x):
        shared = mb.const(val=np.array([-1, 0], np.int32), name="shared")
        return mb.add(x=mb.gather(x=x, indices=shared, axis=1), y=mb.cast(x=mb.reduce_sum(x=shared), dtype="fp32"))

    model = raised(program(function, X.shape, plain=True), 8)
    np.testing.assert_array_equal(outputs(model, X)[0], X[:, [2, 0]] - 1)


def test_iOS_16_leaves_indices_alone(tmp_path):  # noqa: N802
    model = program(CONSTANT["gather"][0], X.shape, plain=True)
    assert check(model, tmp_path, X, to=7).rewritten == ()


def given(*shape, dtype=types.int32):
    return mb.TensorSpec(shape=shape, dtype=dtype)


COMPUTED = {
    "gather": (lambda x, i: mb.gather(x=x, indices=i, axis=2), np.array([-1, 3, -4, 0], np.int32)),
    "batches": (lambda x, i: mb.gather(x=x, indices=i, axis=1, batch_dims=1), np.array([[-1], [1]], np.int32)),
    "gather_along_axis": (
        lambda x, i: mb.gather_along_axis(x=x, indices=i, axis=1),
        np.array([-1, 2], np.int32).repeat(20).reshape(2, 1, 4, 5),
    ),
    "gather_nd": (lambda x, i: mb.gather_nd(x=x, indices=i), np.array([[-1, -1, 0], [0, -2, -4]], np.int32)),
    "points of batches": (
        lambda x, i: mb.gather_nd(x=x, indices=i, batch_dims=1), np.array([[[-1, -4]], [[0, 2]]], np.int32),
    ),
    "scatter": (
        lambda x, i: mb.scatter(data=x, indices=i, updates=numbers(2, 3, 2, 5), axis=2, mode="add"),
        np.array([-1, 1], np.int32),
    ),
    "scatter_along_axis": (
        lambda x, i: mb.scatter_along_axis(data=x, indices=i, updates=numbers(2, 3, 4, 1), axis=3, mode="update"),
        np.full((2, 3, 4, 1), -2, np.int32),
    ),
    "scatter_nd": (
        lambda x, i: mb.scatter_nd(data=x, indices=i, updates=numbers(2, 5), mode="update"),
        np.array([[-1, 0, -1], [0, -3, 2]], np.int32),
    ),
}  # fmt: skip


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("name", COMPUTED)
def test_computed_indices_are_guarded(name, opened, tmp_path):
    function, indices = COMPUTED[name]
    target = IOS16 if "batches" in name else IOS15
    shape = tuple(get_new_symbol() if opened and not name.startswith("scatter") else n for n in X.shape)
    if name in ("gather_along_axis", "batches", "points of batches") and opened:
        shape = (*X.shape[:1], *shape[1:]) if name != "gather_along_axis" else (2, get_new_symbol(), 4, 5)
    model = program(function, mb.TensorSpec(shape=shape), given(*indices.shape), target=target, plain=True)
    raising = check(without_limits(model), tmp_path, X, indices)
    assert len(raising.rewritten) == 1
    assert [kind for kind in kinds(raising.model) if kind != "const"].count("select") == 1


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_left_out_means_the_same(name):
    """The values that coremltools puts in for parameters that are left out."""
    before, after = (
        [
            operation
            for operation in mb.program([mb.TensorSpec(X.shape)], opset_version=target)(PLAIN[name])["main"].operations
            if operation.op_type != "const"
        ]
        for target in (IOS15, IOS18)
    )
    for old, new in zip(before, after, strict=True):
        assert old.op_type == new.op_type
        for key, value in old.inputs.items():
            if hasattr(value, "val") and value.val is not None:
                np.testing.assert_array_equal(value.val, new.inputs[key].val)
        assert [output.sym_type for output in old.outputs] == [output.sym_type for output in new.outputs]


def test_the_guard_is_the_one_that_coremltools_puts_in():
    def function(x, i):
        return mb.gather(x=x, indices=i, axis=1)

    indices = np.array([-1, 0], np.int32)
    ours = raised(program(function, X.shape, given(2), plain=True), 8)
    theirs = program(function, X.shape, given(2), target=IOS17)
    assert kinds(ours) == kinds(theirs) == ["greater_equal", "add", "select", "gather"]
    np.testing.assert_array_equal(outputs(ours, X, indices)[0], outputs(theirs, X, indices)[0])


def test_indices_of_two_bytes_are_guarded(tmp_path):
    def function(x, i):
        return mb.gather(x=x, indices=mb.cast(x=i, dtype="int16"), axis=1)

    with pytest.raises(NotImplementedError, match="int16"):  # no operation of iOS 16 makes them, only constants are
        program(function, X.shape, given(2), target=IOS16, plain=True)
    model = program(
        lambda x: mb.gather(x=x, indices=np.array([-1, 0], np.int16), axis=1), X.shape, target=IOS16, plain=True
    )
    assert len(check(model, tmp_path / "fixed", X).rewritten) == 1
    opened = program(
        lambda x: mb.gather(x=x, indices=np.array([-1, 0], np.int16), axis=1),
        mb.TensorSpec((2, get_new_symbol(), 4, 5)), target=IOS16, plain=True,
    )  # fmt: skip
    raising = check(without_limits(opened), tmp_path / "open", X)
    assert kinds(raising.model) == ["cast", "shape", "slice_by_index", "greater_equal", "add", "select", "gather"]


# Bounds that meet.


@pytest.mark.parametrize("bounds", [(0.5, 0.5), (1.0, -1.0)])
@pytest.mark.parametrize("dtype", [types.fp32, types.fp16])
def test_clip_with_bounds_that_leave_one_number(bounds, dtype, tmp_path):
    def function(x):
        kind = np.float16 if dtype == types.fp16 else np.float32
        return mb.clip(x=x, alpha=kind(bounds[0]), beta=kind(bounds[1]), name="bound")

    model = program(function, mb.TensorSpec(X.shape, dtype), target=IOS16, plain=True)
    raising = check(model, tmp_path, X.astype(np.float16).astype(np.float32))
    assert raising.rewritten == ("bound",)
    assert kinds(raising.model) == ["maximum", "minimum"]
    np.testing.assert_array_equal(outputs(raising.model, X)[0], np.full(X.shape, bounds[1]))


# Boxes.

CORNERS = np.array([[0, 0, 3, 4], [1, 0.5, 2.5, 2.5], [-0.5, 1, 2, 4.2]], np.float32)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("target", [IOS15, IOS16])
def test_boxes_of_all_pictures(batch, constant, target, tmp_path):
    boxes, pictures = CORNERS.reshape(3, 1, 4, 1, 1), X[:batch]
    options = {"target_height": 3, "target_width": 2, "sampling_mode": "ALIGN_CORNERS", "name": "cut"}
    if constant:
        model = program(lambda x: mb.crop_resize(x=x, roi=boxes, **options), pictures.shape, target=target, plain=True)
        inputs = (pictures,)
    else:
        model = program(
            lambda x, roi: mb.crop_resize(x=x, roi=roi, **options),
            pictures.shape,
            boxes.shape,
            target=target,
            plain=True,
        )
        inputs = (pictures, boxes)
    raising = check(model, tmp_path, *inputs, to=8)
    assert raising.rewritten == ("cut",)

    def native(x):
        cut = [
            mb.crop_resize(x=x, boxes=CORNERS[i : i + 1], box_indices=[b], **{**options, "name": f"cut_{i}_{b}"})
            for i, b in itertools.product(range(3), range(batch))
        ]
        return mb.reshape(x=mb.concat(values=cut, axis=0), shape=[3, batch, 3, 3, 2])

    theirs = program(native, pictures.shape, target=IOS17, plain=True)
    np.testing.assert_array_equal(outputs(raising.model, *inputs)[0], outputs(theirs, pictures)[0])


@pytest.mark.parametrize("dtype", [types.fp32, types.fp16])
@pytest.mark.parametrize("normalized", [False, True])
def test_boxes_that_name_their_picture(normalized, dtype, tmp_path):
    corners = CORNERS / [3, 4, 3, 4] if normalized else CORNERS
    boxes = np.hstack([np.zeros((3, 1)), corners]).astype(np.float32).reshape(3, 1, 5, 1, 1)
    options = {
        "target_height": 4, "target_width": 5, "sampling_mode": "OFFSET_CORNERS", "spatial_scale": 0.75,
        "normalized_coordinates": normalized, "pad_value": 7.0 if dtype == types.fp32 else np.float16(7), "name": "cut",
    }  # fmt: skip
    model = program(
        lambda x, roi: mb.squeeze(x=mb.crop_resize(x=x, roi=roi, **options), axes=[1]),
        mb.TensorSpec((1, 3, 4, 5), dtype), mb.TensorSpec(boxes.shape, dtype), target=IOS16, plain=True,
    )  # fmt: skip
    raising = check(model, tmp_path, X[:1], boxes)
    assert raising.rewritten == ("cut",)
    native = program(
        lambda x, boxes: mb.crop_resize(x=x, boxes=boxes, box_indices=[0, 0, 0], **options),
        mb.TensorSpec((1, 3, 4, 5), dtype), mb.TensorSpec((3, 4), dtype), target=IOS17, plain=True,
    )  # fmt: skip
    theirs = outputs(native, X[:1], corners.astype(np.float32))[0]
    np.testing.assert_array_equal(outputs(raising.model, X[:1], boxes)[0], theirs)


@pytest.mark.parametrize(
    ("pictures", "boxes", "message"),
    [
        ((2, 3, 4, 5), (None, 1, 4, 1, 1), "how many boxes it cuts is not known"),
        ((None, 3, 4, 5), (2, 1, 4, 1, 1), "how many pictures it cuts boxes from is not known"),
        ((2, 3, 4, 5), (2, 1, 5, 1, 1), "its result is declared for 2 pictures each"),
    ],
)
def test_boxes_that_can_not_be_told_apart_are_refused(pictures, boxes, message):
    shapes = [tuple(get_new_symbol() if size is None else size for size in shape) for shape in (pictures, boxes)]
    model = program(
        lambda x, roi: mb.crop_resize(x=x, roi=roi, name="cut"), *map(mb.TensorSpec, shapes), target=IOS15, plain=True
    )
    with pytest.raises(RequantError, match="the operation cut of type crop_resize") as caught:
        raised(model, 9)
    assert message in str(caught.value)
    assert "in the operator set CoreML7 (iOS 17)" in str(caught.value)
    assert "Convert the original again with that deployment target" in str(caught.value)
    assert raised(model, 7).spec.specificationVersion == 7


# Suppression.


def candidates(count, classes, batch=2):
    generator = np.random.default_rng([count, classes])
    centres, sizes = generator.uniform(0, 10, (batch, count, 2)), generator.uniform(1, 6, (batch, count, 2))
    return np.concatenate([centres, sizes], -1).astype(np.float32), generator.normal(
        size=(batch, count, classes)
    ).astype(np.float32)


@pytest.mark.parametrize(
    ("most", "threshold", "per_class", "classes"),
    itertools.product([4, 25], [-3.4e38, -0.2, 0.5, 10.0], [True, False, None], [1, 3]),
)
def test_suppression(most, threshold, per_class, classes, tmp_path):
    boxes, scores = candidates(20, classes)

    def function(boxes, scores):
        more = {} if per_class is None else {"per_class_suppression": per_class}
        return mb.non_maximum_suppression(
            boxes=boxes, scores=scores, iou_threshold=0.3, score_threshold=threshold, max_boxes=most, name="nms", **more
        )

    model = program(function, boxes.shape, scores.shape, plain=True)
    raising = check(model, tmp_path, boxes, scores)
    assert len(raising.rewritten) == 1
    assert raising.rewritten == (next(o for o in all_operations(model.spec) if len(o.outputs) == 4).outputs[0].name,)


def test_suppression_by_hand(tmp_path):
    boxes = np.array([[[0, 0, 2, 2], [0.2, 0, 2, 2], [9, 9, 1, 1], [5, 5, 1, 1]]], np.float32)
    scores = np.array([[[0.9], [0.8], [0.6], [0.1]]], np.float32)

    def function(boxes, scores):
        return mb.non_maximum_suppression(
            boxes=boxes, scores=scores, iou_threshold=0.5, score_threshold=0.5, max_boxes=3
        )

    found = outputs(raised(program(function, boxes.shape, scores.shape, plain=True), 8), boxes, scores)
    np.testing.assert_array_equal(found[0], [[[0, 0, 2, 2], [9, 9, 1, 1], [0, 0, 0, 0]]])
    np.testing.assert_array_equal(found[1], np.array([[[0.9], [0.6], [0]]], np.float32))
    np.testing.assert_array_equal(found[2], [[0, 2, -1]])
    np.testing.assert_array_equal(found[3], [2])


def test_suppression_in_float16(tmp_path):
    boxes, scores = (array.astype(np.float16).astype(np.float32) for array in candidates(12, 2, batch=1))

    def function(boxes, scores):
        return mb.non_maximum_suppression(
            boxes=boxes, scores=scores, iou_threshold=np.float16(0.3), score_threshold=np.float16(0.1), max_boxes=5
        )

    specs = [mb.TensorSpec(array.shape, types.fp16) for array in (boxes, scores)]
    assert len(check(program(function, *specs, target=IOS16, plain=True), tmp_path, boxes, scores).rewritten) == 1


# Blocks, functions, names.


def in_place(model):
    """Return a program as other writers have it: constants in place where they are read, operations without a name."""
    spec = model.copy_spec()
    block = block_of(spec.mlProgram.functions["main"])
    held = {o.outputs[0].name: o.attributes["val"] for o in block.operations if o.type == "const"}
    others = [o for o in block.operations if o.type != "const"]
    for operation in others:
        del operation.attributes["name"]
        for argument in operation.inputs.values():
            for binding in argument.arguments:
                if binding.name in held:
                    binding.value.CopyFrom(held[binding.name])
    copies = [type(o).FromString(o.SerializeToString()) for o in others]
    del block.operations[:]
    block.operations.extend(copies)
    return Model(spec)


IN_PLACE = {
    "clip": (lambda x: mb.clip(x=x, alpha=1.0, beta=0.5), [X]),
    "gather": (lambda x: mb.gather(x=x, indices=[-1, 0], axis=1), [X]),
    "gather_nd": (lambda x, i: mb.gather_nd(x=x, indices=i), [X, np.array([[-1, -2]], np.int32)]),
    "crop_resize": (lambda x: mb.crop_resize(x=x, roi=CORNERS[:2].reshape(2, 1, 4, 1, 1), target_height=2), [X]),
    "non_maximum_suppression": (
        lambda boxes, scores: mb.non_maximum_suppression(
            boxes=boxes, scores=scores, iou_threshold=0.3, score_threshold=0.1, max_boxes=5
        ),
        list(candidates(9, 2)),
    ),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_constants_in_place_and_operations_without_a_name(name, tmp_path):
    function, inputs = IN_PLACE[name]
    specs = [mb.TensorSpec(a.shape, types.int32 if a.dtype == np.int32 else types.fp32) for a in inputs]
    model = in_place(program(function, *specs, plain=True))
    assert kinds(model) == [name]
    assert len(check(model, tmp_path, *inputs).rewritten) == 1


@pytest.mark.parametrize("target", TARGETS)
def test_the_set_of_iOS_26(target):  # noqa: N802 - coremltools registers no operations of its own for it
    model = raised(program(CONSTANT["gather"][0], X.shape, target=target, plain=True), 10)
    assert [f.opset for f in functions(model.spec).values()] == ["CoreML9"]
    np.testing.assert_array_equal(outputs(model, X)[0], X[:, [2, 0, 0]])


def test_nested_blocks(tmp_path):
    def function(x):
        def body(i, total):
            picked = mb.gather(x=total, indices=mb.sub(x=i, y=3), axis=1)
            return mb.add(x=i, y=1), mb.add(x=total, y=mb.expand_dims(x=picked, axes=[1]))

        _, total = mb.while_loop(_cond=lambda i, total: mb.less(x=i, y=3), _body=body, loop_vars=(0, mb.identity(x=x)))
        last = lambda: mb.gather(x=total, indices=-1, axis=1)  # noqa: E731
        return mb.cond(
            pred=mb.greater(x=mb.reduce_sum(x=x), y=0.0),
            _true_fn=last,
            _false_fn=lambda: mb.gather(x=x, indices=0, axis=1),
        )

    model = program(function, X.shape, plain=True)
    for sign in (1, -1):
        assert len(check(model, tmp_path / str(sign), np.float32(sign) * X).rewritten) == 2


def test_new_names_are_new_and_the_same_each_time(tmp_path):
    def function(x):
        taken = mb.relu(x=x, name="cut_flat")
        return mb.crop_resize(x=taken, roi=CORNERS.reshape(3, 1, 4, 1, 1), name="cut")

    model = program(function, (1, 3, 4, 5), plain=True)
    first, second = (raised(model, 9).spec.SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    names = [output.name for o in all_operations(check(model, tmp_path, X[:1]).model.spec) for output in o.outputs]
    assert len(names) == len(set(names))


def test_functions_that_are_newer_stay():
    spec = program(lambda x: mb.gather(x=x, indices=-1, axis=1, name="y"), X.shape, plain=True).copy_spec()
    newer = program(lambda x: mb.gather(x=x, indices=-1, axis=1, name="y"), X.shape, target=IOS18, plain=True).spec
    spec.mlProgram.functions["other"].CopyFrom(newer.mlProgram.functions["main"])
    spec.specificationVersion = 9
    after = raise_program(Model(spec), 8)
    assert {name: f.opset for name, f in functions(after.model.spec).items()} == {"main": "CoreML7", "other": "CoreML8"}
    assert after.model.spec.mlProgram.functions["other"] == spec.mlProgram.functions["other"]
    assert after.model.spec.specificationVersion == 9
    assert after.rewritten == ("y",)


def test_a_program_at_its_version_is_the_same():
    model = some_weights(target=IOS17)
    for version in (6, 7, 8):
        assert raised(model, version).spec == model.spec


def test_what_has_no_operator_set():
    with pytest.raises(RequantError, match="is no ML Program"):
        raised(all_weights(), 8)
    with pytest.raises(RequantError, match="specification version 5 has no operator set; there are 6, 7, 8"):
        raised(some_weights(), 5)


# Compressed constants.


def compressed(kind):
    """Return a function with one compressed constant (5, 3) in the form of iOS 16, and what it stands for."""
    codes = np.arange(15, dtype=np.uint8) % 4
    table, shape = np.array([1, 2, 4, 8], np.float32), np.array([5, 3], np.uint32)
    bits = np.unpackbits(codes[:, None], axis=1, count=2, bitorder="little").reshape(-1)
    nonzero = np.array([3, 5, 7], np.float32)
    mask = np.zeros(15, np.uint8)
    mask[[0, 7, 14]] = 1
    sparse = np.zeros(15, np.float32)
    sparse[[0, 7, 14]] = nonzero
    return {
        "lut": (
            lambda: mb.constexpr_lut_to_dense(indices=np.packbits(bits, bitorder="little"), lut=table, shape=shape),
            table[codes],
        ),
        "lut of bytes": (
            lambda: mb.constexpr_lut_to_dense(indices=codes * 60, lut=np.arange(256, dtype=np.float32), shape=shape),
            (codes * 60).astype(np.float32),
        ),
        "sparse": (
            lambda: mb.constexpr_sparse_to_dense(
                nonzero_data=nonzero, mask=np.packbits(mask, bitorder="little"), shape=shape
            ),
            sparse,
        ),
        "cast": (
            lambda: mb.constexpr_cast(source_val=codes.astype(np.float16).reshape(5, 3), output_dtype="fp32"),
            codes.astype(np.float32),
        ),
        "affine": (
            lambda: mb.constexpr_affine_dequantize(
                quantized_data=codes.reshape(5, 3), zero_point=np.uint8(1), scale=np.float32(0.5), axis=0
            ),
            (codes.astype(np.float32) - 1) / 2,
        ),
    }[kind]


@pytest.mark.parametrize("kind", ["lut", "lut of bytes", "sparse", "cast", "affine"])
def test_compressed_constants_take_the_form_of_ios18(kind, tmp_path):
    function, expected = compressed(kind)
    model = program(lambda x: mb.add(x=x, y=function()), (5, 3), target=IOS16, plain=True)
    assert raise_program(model, 8).rewritten == ()
    after = check(model, tmp_path, np.zeros((5, 3), np.float32)).model
    np.testing.assert_array_equal(outputs(after, np.zeros((5, 3), np.float32))[0], expected.reshape(5, 3))
    (operation,) = (o for o in all_operations(after.spec) if o.type.startswith("constexpr_"))
    is_input = kind != "affine"
    assert bool(operation.inputs) == is_input
    assert (set(operation.attributes) == {"name"}) == is_input
    loaded = read_by_coremltools(after, tmp_path / "again")
    (found,) = (o.materialized_val_inference() for o in loaded if o.op_type.startswith("constexpr_"))
    np.testing.assert_array_equal(found, expected.reshape(5, 3))


def test_coremltools_writes_the_same_table_for_ios18():
    """The parts of a table, as coremltools' own builder writes them for iOS 18, to the bit."""
    function, _ = compressed("lut")
    ours = raised(program(lambda x: mb.add(x=x, y=function()), (5, 3), target=IOS16, plain=True), 9)
    kind = types.nptype_from_builtin(types.string_to_builtin("uint2"))

    def native(x):
        table = np.array([1, 2, 4, 8], np.float32).reshape(1, 1, 4, 1)
        return mb.add(
            x=x, y=mb.constexpr_lut_to_dense(indices=(np.arange(15) % 4).astype(kind).reshape(5, 3), lut=table)
        )

    theirs = program(native, (5, 3), target=IOS18, plain=True)
    a, b = (next(o for o in all_operations(m.spec) if o.type.startswith("constexpr_")) for m in (ours, theirs))
    assert a.inputs["lut"].arguments[0].value == b.inputs["lut"].arguments[0].value
    assert a.inputs["indices"].arguments[0].value.type == b.inputs["indices"].arguments[0].value.type
    assert a.outputs[0].type == b.outputs[0].type


@pytest.mark.parametrize("kind", ["lut", "sparse"])
def test_the_form_of_ios16_is_not_read_in_a_newer_set(kind):
    """The reason for the rewriting: coremltools itself can't read the old form there."""
    function, _ = compressed(kind)
    spec = program(lambda x: mb.add(x=x, y=function()), (5, 3), target=IOS16, plain=True).copy_spec()
    body = spec.mlProgram.functions["main"]
    body.block_specializations["CoreML8"].CopyFrom(block_of(body))
    body.opset = "CoreML8"
    with pytest.raises(ValueError, match="Unknown input 'shape'"):
        load_milproto(spec, 9, "")


# Nothing else has changed: what the registered operations say, reviewed. A newer coremltools with more fails here.

REVIEWED = {  # the new set only takes more types, or has an optional parameter whose default is the old meaning
    "batch_norm", "cast", "clamped_relu", "conv", "conv_transpose", "elu", "expand_dims", "gru", "instance_norm",
    "inverse", "l2_norm", "layer_norm", "leaky_relu", "linear", "linear_activation", "local_response_norm", "log",
    "lstm", "matmul", "prelu", "reduce_argmax", "reduce_argmin", "resample", "reshape", "reshape_like", "reverse",
    "reverse_sequence", "rnn", "rsqrt", "scaled_tanh", "sigmoid_hard", "slice_by_index", "slice_by_size",
    "sliding_windows", "softplus_parametric", "squeeze", "thresholded_relu", "topk", "transpose", "upsample_bilinear",
}  # fmt: skip
NEW_DEFAULTS = {
    "gru": {"reset_after", "input_bias"},
    "reduce_argmax": {"output_dtype"},
    "reduce_argmin": {"output_dtype"},
    "topk": {"sort", "return_indices", "output_indices_dtype"},
    "upsample_bilinear": {"half_pixel_centers"},
}


def versions(kind):
    found = [SSAOpRegistry.core_ops[kind].get(target) for target in TARGETS]
    return [(a, b) for a, b in itertools.pairwise(found) if a is not None and a is not b]


def test_every_operation_that_differs_between_the_sets_is_known():
    assert {kind for kind in SSAOpRegistry.core_ops if versions(kind)} == REVIEWED | set(CHANGES)


@pytest.mark.parametrize("kind", sorted(REVIEWED))
def test_a_newer_set_takes_all_that_the_older_one_takes(kind):
    for old, new in versions(kind):
        before, after = old.input_spec.input_types, new.input_spec.input_types
        assert set(before) <= set(after)
        assert set(after) - set(before) <= NEW_DEFAULTS.get(kind, set())
        for key in set(after) - set(before):
            assert after[key].optional
        for key, wanted in before.items():
            assert after[key].optional == wanted.optional
            assert wanted.const or not after[key].const
            if isinstance(wanted, TensorInputType):
                assert taken(old, wanted) <= taken(new, after[key])


def taken(operation, wanted):
    """Return the names of the types that a parameter takes."""
    kinds = wanted.type_domain if wanted.type_domain_id is None else operation.type_domains[wanted.type_domain_id]
    return {types.builtin_to_string(kind) for kind in kinds}


def test_a_zero_in_a_shape_counts_alike():
    """`reshape` of iOS 17 aligns zeros at the end; iOS 15 takes them only where both ranks agree, which is the same."""
    old, new = versions("reshape")[0]
    for shape in itertools.product([0, 2, -1], repeat=3):
        assert old.replace_zeros_in_shape([4, 5, 6], list(shape)) == new.replace_zeros_in_shape([4, 5, 6], list(shape))
    with pytest.raises(ValueError, match="must equal"):
        old.replace_zeros_in_shape([4, 5], [1, 0, 0])


def test_as_model_reads_what_a_raised_program_is_saved_as(tmp_path):
    model = raised(some_weights(), 9)
    assert as_model(package(model, tmp_path)).spec == model.spec
