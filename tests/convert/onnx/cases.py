"""ONNX's own test cases of its operators: which of them hold for a conversion, and which do not, with the reason."""

import functools

import numpy as np
from onnx.backend.test.case.node import collect_testcases

from requant.convert.onnx.operators import OPERATORS
from requant.convert.onnx.preparing import DEFINED_BY_OTHERS
from requant.convert.onnx.reading import is_standard

_KNOWN = {*OPERATORS, *DEFINED_BY_OTHERS}
# Cases that are refused, by the words of the message that say why.
REFUSED = {
    "dilations": (
        "test_averagepool_2d_dilations", "test_averagepool_3d_dilations_small",
        "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True",
        "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False",
        "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
        "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False",
        "test_lppool_2d_dilations", "test_maxpool_2d_dilations", "test_maxpool_3d_dilations",
        "test_maxpool_3d_dilations_use_ref_impl", "test_maxpool_3d_dilations_use_ref_impl_large",
    ),
    "training": (
        "test_batchnorm_example_training_mode", "test_batchnorm_epsilon_training_mode", "test_dropout_default_mask",
        "test_dropout_default_mask_ratio", "test_training_dropout_default", "test_training_dropout_default_mask",
        "test_training_dropout", "test_training_dropout_mask", "test_training_dropout_zero_ratio",
        "test_training_dropout_zero_ratio_mask",
    ),
    "diagonal": ("test_einsum_batch_diagonal",),
    "needs? iOS 16": ("test_gathernd_example_int32_batch_dim1",),
    "with the power": (
        "test_lppool_1d_default", "test_lppool_2d_default", "test_lppool_3d_default", "test_lppool_2d_same_lower",
        "test_lppool_2d_pads",
    ),
    "Indices": ("test_maxpool_with_argmax_2d_precomputed_pads", "test_maxpool_with_argmax_2d_precomputed_strides"),
    "rank <= 5": (
        "test_nllloss_NCd1d2d3d4d5_mean_weight_expanded", "test_nllloss_NCd1d2d3d4d5_none_no_weight_expanded",
        "test_unsqueeze_three_axes", "test_unsqueeze_unsorted_axes",
    ),
    "cubically|two dimensions": (
        "test_gridsample_bicubic", "test_gridsample_bicubic_align_corners_0_additional_1",
        "test_gridsample_bicubic_align_corners_1_additional_1", "test_gridsample_volumetric_nearest_align_corners_0",
        "test_gridsample_volumetric_nearest_align_corners_1", "test_gridsample_volumetric_bilinear_align_corners_0",
        "test_gridsample_volumetric_bilinear_align_corners_1",
    ),
    "version 8": ("test_scan_sum",),
}  # fmt: skip
# Cases in which the numbers that are expected are not those that ONNX Runtime computes, or not exact ones.
OTHERS = {
    "test_averagepool_2d_ceil_last_window_starts_on_pad": "the numbers that are expected have four digits",
    "test_resize_downsample_scales_linear_align_corners": "ONNX takes 1.2 elements here, ONNX Runtime whole ones",
    "test_resize_downsample_scales_cubic_align_corners": "ONNX takes 2.4 elements here, ONNX Runtime whole ones",
    "test_reduce_max_empty_set_bool": "its input has no elements, which ONNX Runtime does not reduce either",
}


@functools.cache
def all_cases():
    return {case.name: case for case in collect_testcases(None)}


def is_translated(case):
    """Return whether a case consists of operators with a translation, and of arrays of numbers that are not empty."""
    if not all(is_standard(node) and node.op_type in _KNOWN for node in case.model.graph.node):
        return False
    if any(_lacks_types(node) for node in case.model.graph.node):
        return False
    inputs, outputs = case.data_sets[0]
    values = [*inputs, *outputs]
    if not all(isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub" for value in values):
        return False
    return all(np.asarray(value).size for value in (inputs or [1])[:1] + list(outputs))


def _lacks_types(node):
    """Return whether ONNX can't write out an operator's definition, for an input that is left out has no type."""
    return node.op_type in DEFINED_BY_OTHERS and "" in node.input


@functools.cache
def cases_by_operator():
    """Return the names of the cases of each operator, without those that spell its definition out."""
    found = {}
    for name, case in all_cases().items():
        if not name.endswith("_expanded") and is_translated(case):
            found.setdefault(case.model.graph.node[-1].op_type, []).append(name)
    return found
