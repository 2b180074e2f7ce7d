"""Small models for the tests, made with coremltools' own builders, and coremltools' own readers of what we write."""

import logging
import tempfile
from pathlib import Path

import numpy as np

logging.getLogger("coremltools").setLevel(logging.ERROR)  # off a Mac it warns of frameworks that are not there

import coremltools as ct  # noqa: E402
from coremltools.converters.mil.frontend.milproto.load import load as load_milproto  # noqa: E402
from coremltools.converters.mil.mil import Builder as mb  # noqa: E402, N813
from coremltools.models import datatypes  # noqa: E402
from coremltools.models.neural_network import NeuralNetworkBuilder  # noqa: E402

from requant.coreml.model import Model, load, unpack_package  # noqa: E402

FLOAT32, FLOAT16 = ct.precision.FLOAT32, ct.precision.FLOAT16
IOS15, IOS16, IOS17, IOS18 = ct.target.iOS15, ct.target.iOS16, ct.target.iOS17, ct.target.iOS18


def numbers(*shape, seed=0, scale=1.0):
    return (np.random.default_rng([seed, *shape]).normal(size=shape) * scale).astype(np.float32)


# NeuralNetworks


def network(layers, inputs=None, outputs=("y",), mode=None, exact=False):
    """Return a NeuralNetwork; `layers` adds them to the builder that it gets."""
    inputs = inputs or {"x": (3, 6, 6)}
    builder = NeuralNetworkBuilder(
        [(name, datatypes.Array(*shape)) for name, shape in inputs.items()],
        [(name, None) for name in outputs],
        mode=mode,
        disable_rank5_shape_mapping=exact,
        use_float_arraytype=True,
    )
    layers(builder)
    return Model(builder.spec, {}, Path("net.mlmodel"))


def add_convolution(builder, weights, bias=None, name="conv", source="x", result="y", **options):
    """Add a convolution or deconvolution, with weights in the axes of the format."""
    deconvolution, groups = options.pop("deconvolution", False), options.pop("groups", 1)
    stride = options.pop("stride", (1, 1))
    first, second, height, width = weights.shape
    builder.add_convolution(
        name=name,
        kernel_channels=first if deconvolution else second,
        output_channels=second * groups if deconvolution else first,
        height=height,
        width=width,
        stride_height=stride[0],
        stride_width=stride[1],
        border_mode=options.pop("border", "valid"),
        groups=groups,
        W=weights.transpose(2, 3, 0, 1) if deconvolution else weights.transpose(2, 3, 1, 0),
        b=bias,
        has_bias=bias is not None,
        is_deconv=deconvolution,
        input_name=source,
        output_name=result,
        **options,
    )


def add_inner_product(builder, weights, bias=None, name="fc", source="x", result="y"):
    builder.add_inner_product(name, weights, bias, weights.shape[1], weights.shape[0], bias is not None, source, result)


def all_weights():
    """Return a NeuralNetwork with each kind of layer that has weights, one input each; it can't be run."""

    def layers(b):
        add_convolution(b, numbers(6, 4, 3, 2), numbers(6), "conv", "x", "conv")
        add_convolution(b, numbers(4, 6, 3, 3), numbers(6), "deconv", "x", "deconv", deconvolution=True, stride=(2, 2))
        add_inner_product(b, numbers(7, 24), numbers(7), "fc", "x", "fc")
        b.add_embedding("embedding", numbers(5, 9), numbers(5), 9, 5, True, "x", "embedding")
        b.add_embedding_nd("embedding_nd", "x", "embedding_nd", 11, 5, numbers(5, 11))
        b.add_batched_mat_mul(
            "matmul", ["x"], "matmul", weight_matrix_rows=4, weight_matrix_columns=6, W=numbers(4, 6), bias=numbers(6)
        )
        b.add_load_constant("constant", "constant", numbers(2, 3, 4), [2, 3, 4])
        b.add_load_constant_nd("constant_nd", "constant_nd", numbers(5, 7), [5, 7])
        b.add_batchnorm("bn", 4, numbers(4), numbers(4), numbers(4), abs(numbers(4)), "x", "bn")
        b.add_scale("scale", numbers(4), numbers(4), True, "x", "scale", [4], [4])
        b.add_bias("bias", numbers(4), "x", "bias", [4])
        b.add_activation("prelu", "PRELU", "x", "prelu", params=abs(numbers(4)))
        b.add_simple_rnn("rnn", numbers(6, 6), numbers(6, 5), numbers(6), 6, 5, "TANH", ["x", "h"], ["rnn", "rnn_h"])
        gates = [numbers(6, 6, seed=i) for i in range(4)], [numbers(6, 5, seed=i) for i in range(4)]
        biases = [numbers(6, seed=i) for i in range(4)]
        peep = [numbers(6, seed=9 + i) for i in range(3)]
        b.add_gru("gru", gates[0][:3], gates[1][:3], biases[:3], 6, 5, ["x", "h"], ["gru", "gru_h"])
        b.add_unilstm("lstm", *gates, biases, 6, 5, ["x", "h", "c"], ["lstm", "lstm_h", "lstm_c"], peep=peep)
        names = ["x", "h", "c", "hb", "cb"], ["bi", "bi_h", "bi_c", "bi_hb", "bi_cb"]
        b.add_bidirlstm("bilstm", *gates, biases, *gates, biases, 6, 5, *names, peep=peep, peep_back=peep)

    states = dict.fromkeys(("h", "c", "hb", "cb"), (6,))
    return network(layers, {"x": (4,), **states}, ("conv",))


GRU_GATES = ("updateGate", "resetGate", "outputGate")
LSTM_GATES = ("inputGate", "forgetGate", "blockInput", "outputGate")


def weight_messages(spec):
    """Return the messages of `all_weights` that are weights in the narrow sense, by our names for them."""
    layers = {layer.name: layer for layer in spec.neuralNetwork.layers}
    found = {
        "conv.weights": layers["conv"].convolution.weights,
        "deconv.weights": layers["deconv"].convolution.weights,
        "fc.weights": layers["fc"].innerProduct.weights,
        "embedding.weights": layers["embedding"].embedding.weights,
        "embedding_nd.weights": layers["embedding_nd"].embeddingND.weights,
        "matmul.weights": layers["matmul"].batchedMatmul.weights,
        "constant.data": layers["constant"].loadConstant.data,
        "constant_nd.data": layers["constant_nd"].loadConstantND.data,
        "rnn.weightMatrix": layers["rnn"].simpleRecurrent.weightMatrix,
        "rnn.recursionMatrix": layers["rnn"].simpleRecurrent.recursionMatrix,
    }
    for kind in ("WeightMatrix", "RecursionMatrix"):
        found |= {f"gru.{gate}{kind}": getattr(layers["gru"].gru, gate + kind) for gate in GRU_GATES}
        for gate in LSTM_GATES:
            params = layers["lstm"].uniDirectionalLSTM.weightParams
            found[f"lstm.weightParams.{gate}{kind}"] = getattr(params, gate + kind)
            for index, params in enumerate(layers["bilstm"].biDirectionalLSTM.weightParams):
                found[f"bilstm.weightParams[{index}].{gate}{kind}"] = getattr(params, gate + kind)
    return found


# ML Programs


def program(function, *shapes, target=IOS15, precision=FLOAT32, plain=False, **options):
    """Return an ML Program of a function of MIL builder calls, whose parameters are the inputs.

    Args:
        function: gets a variable per input.
        shapes: of the inputs, or MIL's specifications of them.
        target: the oldest system.
        precision: of what is computed.
        plain: whether the operations stay as they are written, without any pass over them.
        options: for `ct.convert`.
    """
    specs = [mb.TensorSpec(shape=shape) if isinstance(shape, tuple) else shape for shape in shapes]
    made = mb.program(input_specs=specs, opset_version=target)(function)
    if plain:
        options["pass_pipeline"] = ct.PassPipeline.EMPTY
    else:
        options["compute_precision"] = precision
    model = ct.convert(made, convert_to="mlprogram", minimum_deployment_target=target, skip_model_load=True, **options)
    return as_model(model)


def as_model(mlmodel):
    """Return coremltools' model as ours, through the package that coremltools writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.mlpackage"
        mlmodel.save(str(path))
        return load(path)


def some_weights(target=IOS15, precision=FLOAT32, **options):
    """Return an ML Program with a convolution, a transposed one, a `linear` and two constant matrix products."""

    def function(x):
        x = mb.conv(x=x, weight=numbers(32, 8, 3, 3), bias=numbers(32), pad_type="same", name="conv")
        x = mb.relu(x=x)
        x = mb.conv_transpose(x=x, weight=numbers(32, 8, 3, 3, seed=1), name="up")
        x = mb.reshape(x=x, shape=(1, 800))
        x = mb.linear(x=x, weight=numbers(20, 800, scale=0.1), bias=numbers(20), name="fc")
        x = mb.matmul(x=x, y=numbers(20, 150), name="last")
        x = mb.matmul(x=x, y=numbers(30, 150), transpose_y=True, name="transposed")
        return mb.matmul(x=x, y=numbers(30, 2), name="small")

    return program(function, (1, 8, 8, 8), target=target, precision=precision, **options)


def package(model, folder):
    """Lay a model out as a package and return coremltools' view of it."""
    path = Path(folder) / "model.mlpackage"
    unpack_package(model, path)
    return ct.models.MLModel(str(path), skip_model_load=True)


def constants_of(mlmodel):
    """Return the constants of a program by name, as coremltools reads and decompresses them."""
    spec = mlmodel.get_spec()
    loaded = load_milproto(spec, spec.specificationVersion, mlmodel.weights_dir)
    found = {}
    for operation in loaded.functions["main"].operations:
        if operation.op_type == "const":
            found[operation.outputs[0].name] = operation.outputs[0].val
        elif operation.op_type.startswith("constexpr_"):
            found[operation.outputs[0].name] = operation.materialized_val_inference()
    return found
