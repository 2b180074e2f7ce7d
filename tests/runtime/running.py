"""Programs and networks that are built, translated and run in one step."""

from coremltools.models.neural_network import flexible_shape_utils

from requant.runtime.onnx_runner import OnnxRunner
from tests.building import network, program


def run_program(function, *inputs, shapes=None, plain=True, **options):
    """Run a program of one function and return its outputs in their order.

    Args:
        function: gets a variable per input.
        inputs: arrays.
        shapes: of the inputs, where they are others than those of the arrays, or MIL's specifications of them.
        plain: whether the operations stay as they are written.
        options: for `program`.
    """
    model = without_limits(program(function, *(shapes or [x.shape for x in inputs]), plain=plain, **options))
    names = [feature.name for feature in model.spec.description.input]
    found = OnnxRunner(model).predict(dict(zip(names, inputs, strict=True)))
    return [found[feature.name] for feature in model.spec.description.output]


def without_limits(model):
    """Return a model whose open sizes have no upper limit, which coremltools sets to 2 where it is told none."""
    for feature in model.spec.description.input:
        for sizes in feature.type.multiArrayType.shapeRange.sizeRanges:
            if (sizes.lowerBound, sizes.upperBound) == (1, 2):
                sizes.upperBound = -1
    return model


def run_network(layers, exact=True, outputs=("y",), opened=(), **inputs):
    """Run a network of layers on inputs by name and return its outputs in their order.

    Args:
        layers: adds them to the builder that it gets.
        exact: whether arrays keep their shapes; else the network sees five axes.
        outputs: the names of the outputs.
        opened: the names of inputs whose sizes are all open.
        inputs: arrays by name.
    """
    model = network(layers, {name: x.shape for name, x in inputs.items()}, outputs, exact=exact)
    for name in opened:
        rank = inputs[name].ndim
        flexible_shape_utils.set_multiarray_ndshape_range(model.spec, name, [1] * rank, [-1] * rank)
    found = OnnxRunner(model).predict(inputs)
    return [found[name] for name in outputs]


def add_layer(method, *sources, **options):
    """Return a function that adds a layer from the input `x`, and others, to `y` by a method of the builder."""
    inputs = {"input_names": ["x", *sources]} if sources else {"input_name": "x"}
    return lambda b: getattr(b, f"add_{method}")(name="layer", **inputs, output_name="y", **options)


def node_kinds(function, *shapes, **options):
    """Return the kinds of the ONNX nodes that a program becomes, less those that only pass on."""
    import onnx

    from requant.runtime.program import translate_program

    graph = onnx.load_from_string(translate_program(program(function, *shapes, plain=True, **options)).onnx_bytes).graph
    return [node.op_type for node in graph.node if node.op_type != "Identity"]
