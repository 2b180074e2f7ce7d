"""Small sound models of every stored form, and what damages them: bytes at random, or fields of their messages.

Everything follows from a `random.Random`, so that a seed gives the same damaged file again.
"""

import dataclasses
import functools
import zipfile
from io import BytesIO

from requant.coreml.kind import Kind
from requant.coreml.model import Model, package_members, to_bytes
from requant.quantize.scheme import Scheme
from requant.quantize.variant import quantize
from tests.building import IOS16, IOS18, add_convolution, add_inner_product, mb, network, numbers, program
from tests.coreml.joining import nested
from tests.runtime.classical.specs import regressor

PROGRAM_SCHEMES = (
    "linear_8", "kmeans_4", "linear_4_block16", "kmeans_4_group4", "kmeans_4_vector2_scaled", "prune_50",
    "prune_50_kmeans_4_lut8", "prune_50_linear_8",
)  # fmt: skip
LARGE = (
    0,
    1,
    -1,
    2,
    7,
    63,
    64,
    255,
    256,
    65535,
    1 << 20,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
)


@functools.cache
def sound_models():
    """Return the models by a short name."""
    made = {
        "convolutions": small_network(),
        "classes": classifier(),
        "loops": loops(),
        "pipeline": nested(),
        "trees": trees(),
        "program": small_program(),
        "control flow": control_flow(),
    }
    for scheme in ("linear_16", "linear_8", "kmeans_3"):
        made[f"network {scheme}"] = quantize(small_network(), Scheme.parse(scheme))
    for scheme in PROGRAM_SCHEMES:
        made[f"program {scheme}"] = quantize(small_program(), Scheme.parse(scheme))
    return made


def small_network():
    def layers(b):
        add_convolution(b, numbers(6, 3, 3, 3), numbers(6), "conv", "x", "a")
        b.add_batchnorm("norm", 6, numbers(6), numbers(6), numbers(6), abs(numbers(6)), "a", "b")
        add_convolution(b, numbers(6, 6, 3, 3), numbers(6), "up", "b", "c", deconvolution=True, stride=(2, 2))
        b.add_activation("relu", "RELU", "c", "d")
        b.add_load_constant_nd("constant", "e", numbers(6, 1, 1), [6, 1, 1])
        b.add_elementwise("sum", ["d", "e"], "f", "ADD")
        b.add_flatten("flat", 0, "f", "g")
        add_inner_product(b, numbers(7, 486), numbers(7), "fc", "g", "y")

    return network(layers)


def classifier():
    def layers(b):
        add_inner_product(b, numbers(3, 5), numbers(3), "fc", "x", "y")

    model = network(layers, {"x": (5,)}, mode="classifier")
    spec = model.spec
    spec.neuralNetworkClassifier.stringClassLabels.vector.extend(["a", "b", "c"])
    spec.description.predictedFeatureName = "label"
    spec.description.predictedProbabilitiesName = "y"
    label = spec.description.output.add(name="label")
    label.type.stringType.SetInParent()
    spec.description.output[0].type.dictionaryType.stringKeyType.SetInParent()
    return model


def loops():
    def layers(b):
        b.add_copy("start", "x", "y")
        loop = b.add_loop("loop", max_iterations=3)
        body = loop.loop.bodyNetwork
        layer = body.layers.add(name="twice", input=["y", "y"], output=["z"])
        layer.addBroadcastable.SetInParent()
        back = body.layers.add(name="back", input=["z"], output=["y"])
        back.copy.SetInParent()

    return network(layers, {"x": (4,)}, exact=True)


def trees():
    spec = regressor()
    ensemble = spec.treeEnsembleRegressor.treeEnsemble
    ensemble.numPredictionDimensions = 1
    ensemble.basePredictionValue.append(0.5)
    ensemble.nodes.add(
        treeId=0, nodeId=0, nodeBehavior=0, branchFeatureIndex=1, branchFeatureValue=0.5, trueChildNodeId=1,
        falseChildNodeId=2,
    )  # fmt: skip
    for node in (1, 2):
        leaf = ensemble.nodes.add(treeId=0, nodeId=node, nodeBehavior=6)
        leaf.evaluationInfo.add(evaluationIndex=0, evaluationValue=float(node))
    return Model(spec)


@functools.cache
def small_program(target=IOS16):
    def function(x):
        x = mb.conv(x=x, weight=numbers(16, 8, 3, 3), bias=numbers(16), pad_type="same", name="conv")
        x = mb.relu(x=x)
        x = mb.reshape(x=x, shape=(1, 256))
        x = mb.linear(x=x, weight=numbers(16, 256, scale=0.1), bias=numbers(16), name="fc")
        return mb.softmax(x=mb.matmul(x=x, y=numbers(16, 64), name="last"), axis=1)

    return program(function, (1, 8, 4, 4), target=target)


def control_flow():
    def function(x):
        def more(i, total):
            return mb.less(x=i, y=3.0)

        def step(i, total):
            return mb.add(x=i, y=1.0), mb.matmul(x=total, y=numbers(16, 16))

        result = mb.while_loop(_cond=more, _body=step, loop_vars=[1.0, x])[1]
        positive = mb.greater(x=mb.reduce_sum(x=result, axes=[0, 1], keep_dims=False), y=0.0)
        return mb.cond(pred=positive, _true_fn=lambda: mb.relu(x=result), _false_fn=lambda: mb.exp(x=result))

    return program(function, (2, 16), target=IOS18)


def damaged_bytes(data, random):
    """Return bytes with some of them flipped, taken out, doubled, put elsewhere, overwritten, or cut off."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        if not data:
            return bytes(data)
        place = random.randrange(len(data))
        length = min(random.choice((1, 2, 4, 8, 64, 1024)), len(data) - place)
        kind = random.randrange(7)
        if kind == 0:
            data[place] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[place] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            other = random.randrange(len(data))
            data[other:other] = data[place : place + length]
        elif kind == 4:
            other = random.randrange(len(data))
            data[other : other + length] = data[place : place + length]
        elif kind == 5:
            number = random.choice(LARGE) & ((1 << 64) - 1)
            data[place : place + length] = number.to_bytes(8, "little")[:length].ljust(length, b"\xff")
        elif random.randrange(4) == 0:
            del data[place:]
    return bytes(data)


def damaged_message(spec, random):
    """Change some fields of a message, at any depth: numbers, texts, parts that are left out, doubled or exchanged."""
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        messages = [message for message in _messages(spec) if message.DESCRIPTOR.fields]
        message = _chosen(messages, random)
        fields = message.DESCRIPTOR.fields
        held = [field for field, _ in message.ListFields()]
        field = random.choice(held if held and random.randrange(4) else fields)
        _damage(message, field, messages, random)


def _chosen(messages, random):
    """Return a message: each type is as likely, however many there are of it."""
    types = sorted({message.DESCRIPTOR.full_name for message in messages})
    wanted = random.choice(types)
    return random.choice([message for message in messages if message.DESCRIPTOR.full_name == wanted])


def _messages(message):
    yield message
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for key in sorted(value):
                    yield from _messages(value[key])
        elif _is_repeated(field):
            for item in value:
                yield from _messages(item)
        else:
            yield from _messages(value)


def _is_repeated(field):
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED


def _damage(message, field, messages, random):
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        held = getattr(message, name)
        if held and random.randrange(2):
            del held[random.choice(sorted(held))]
        elif field.message_type.fields_by_name["key"].type == field.TYPE_STRING and held:
            key = random.choice(sorted(held))
            value = field.message_type.fields_by_name["value"]
            if value.message_type is not None:
                held[_text(random)].CopyFrom(held[key])
        return
    if _is_repeated(field):
        _damage_list(message, field, messages, random)
    elif field.message_type is not None:
        if random.randrange(3) == 0:
            message.ClearField(name)
        else:
            same = [m for m in messages if m.DESCRIPTOR.full_name == field.message_type.full_name]
            if same:
                copy = type(same[0])()
                copy.CopyFrom(random.choice(same))
                getattr(message, name).CopyFrom(copy)
            else:
                getattr(message, name).SetInParent()
    else:
        try:
            setattr(message, name, _scalar(field, getattr(message, name), random))
        except (ValueError, OverflowError):
            message.ClearField(name)


def _damage_list(message, field, messages, random):
    held = getattr(message, field.name)
    kind = random.randrange(4)
    if kind == 0 and len(held):
        place = random.randrange(len(held))
        del held[place : place + random.choice((1, len(held)))]
    elif kind == 1 and len(held):
        del held[:]
    elif field.message_type is not None:
        same = [m for m in messages if m.DESCRIPTOR.full_name == field.message_type.full_name]
        if same:
            copy = type(same[0])()
            copy.CopyFrom(random.choice(same))
            held.add().CopyFrom(copy)
        else:
            held.add()
    elif len(held) and random.randrange(2):
        index = random.randrange(len(held))
        try:
            held[index] = _scalar(field, held[index], random)
        except (ValueError, OverflowError):
            del held[index]
    else:
        try:
            held.extend([_scalar(field, held[-1] if len(held) else None, random)] * random.choice((1, 2, 70)))
        except (ValueError, OverflowError):
            del held[:]


def _scalar(field, before, random):
    if field.type == field.TYPE_STRING:
        return _text(random)
    if field.type == field.TYPE_BYTES:
        return damaged_bytes(before or b"\0" * 8, random)
    if field.type == field.TYPE_BOOL:
        return bool(random.randrange(2))
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return random.choice((0.0, -1.0, 1e38, float("nan"), float("inf"), 0.5))
    if field.type == field.TYPE_ENUM:
        return random.choice([*field.enum_type.values_by_number, 99, -1])
    return random.choice(LARGE)


def _text(random):
    return random.choice(
        (
            "",
            "x",
            "y",
            "conv",
            "main",
            "CoreML6",
            "CoreML8",
            "@model_path/../../etc/passwd",
            "/etc/passwd",
            "ä" * 300,
            "\0",
        )
    )


def damaged_model(name, random):
    """Return the suffix and the bytes of a damaged file of the model of a name."""
    model = sound_models()[name]
    packed = model.kind is Kind.ML_PROGRAM
    suffix = ".mlpackage.zip" if packed else ".mlmodel"
    kind = random.randrange(4)
    if kind == 0:
        return suffix, damaged_bytes(to_bytes(model, "m"), random)
    if kind == 1 and packed:
        members = package_members(model)
        place = random.choice(sorted(members))
        members[place] = damaged_bytes(members[place], random)
        return suffix, zipped(members)
    if kind == 1:
        return suffix, damaged_bytes(to_bytes(model, "m"), random)
    spec = model.copy_spec()
    damaged_message(spec, random)
    changed = dataclasses.replace(model, spec=spec)
    if not packed:
        return suffix, spec.SerializeToString(deterministic=True)
    members = package_members(changed)
    return suffix, zipped(members)


def zipped(members, folder="m.mlpackage"):
    """Return the bytes of a zip with these files in a folder."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(f"{folder}/{path}"), data)
    return buffer.getvalue()
