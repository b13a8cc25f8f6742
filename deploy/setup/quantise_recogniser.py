"""Rounds a PP-OCR recogniser to int8 where its time goes: the convolutions and products with constant weights.

    python quantise_recogniser.py MODEL.onnx QUANTISED.onnx
    python quantise_recogniser.py --measure MODEL.onnx PICTURE…

Weights have a scale for each output channel, largest magnitude / 127; what goes into a layer has 256 steps over the
range that recogniser_ranges.json gives for it (Jacob et al. 2018, arXiv 1712.05877). Written as QuantizeLinear and
DequantizeLinear around layers, which OpenVINO fuses with them; ONNX Runtime's own code is slower so than in f32. The
ranges were measured once, by the second form (which needs onnxruntime and pillow) on letter.png, notice-skewed.png,
notice.gif, notice-16-bit.png, journal.jpg and sheets-group4.tif of tests/data, and stand in the repository: so the
bytes are the same on every machine, whatever its processor rounds.
"""
import json, pathlib, sys
import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter

RANGES = pathlib.Path(__file__).with_name("recogniser_ranges.json")
LAYERS = ("Conv", "MatMul")
OPSET = 13  # the first in which a scale may belong to one channel


def load(path):
    """The model, with the constants that its layers take by name."""
    model = onnx.load(path)
    del model.graph.value_info[:]
    model = version_converter.convert_version(model, OPSET)
    constants = {initializer.name: numpy_helper.to_array(initializer) for initializer in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        elif node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return model, constants


def layers(model, constants):
    """The nodes that are rounded."""
    return [node for node in model.graph.node
            if node.op_type in LAYERS and node.input[1] in constants and node.input[0] not in constants]


def quantise(model, constants, ranges):
    """Puts the rounding around every layer."""
    graph, rounded, before = model.graph, {}, {}

    def constant(name, value):
        graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def rounded_input(name):
        if name not in rounded:
            low, high = ranges[name]
            scale = np.float32((high - low) / 255)
            step = [constant(f"{name}.scale", scale), constant(f"{name}.zero", np.uint8(np.clip(round(-low / scale), 0, 255)))]
            before.setdefault(name, []).extend([
                helper.make_node("QuantizeLinear", [name, *step], [f"{name}.uint8"], f"{name}.quantise"),
                helper.make_node("DequantizeLinear", [f"{name}.uint8", *step], [f"{name}.rounded"], f"{name}.dequantise")])
            rounded[name] = f"{name}.rounded"
        return rounded[name]

    nodes = []
    for node in layers(model, constants):
        weights = constants[node.input[1]]
        axis = 0 if node.op_type == "Conv" else weights.ndim - 1
        others = tuple(at for at in range(weights.ndim) if at != axis)
        scales = (np.maximum(np.abs(weights).max(axis=others), 1e-8) / 127).astype(np.float32)
        shape = [-1 if at == axis else 1 for at in range(weights.ndim)]
        name = f"{node.input[1]}.{len(nodes)}"
        values = np.clip(np.rint(weights / scales.reshape(shape)), -127, 127).astype(np.int8)
        inputs = [constant(f"{name}.int8", values), constant(f"{name}.scale", scales), constant(f"{name}.zero", np.zeros(len(scales), np.int8))]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.rounded"], f"{name}.dequantise", axis=axis))
        node.input[0] = rounded_input(node.input[0])
        node.input[1] = f"{name}.rounded"
    # Where a tensor is made, it is rounded; what the graph is given is rounded first.
    nodes += before.pop("x", [])
    for node in list(graph.node):
        nodes.append(node)
        for output in node.output:
            nodes += before.pop(output, [])
    assert not before, f"nothing makes {list(before)}"
    used = {name for node in nodes for name in node.input}
    kept = [initializer for initializer in graph.initializer if initializer.name in used]
    nodes = [node for node in nodes if node.op_type != "Identity" or any(name in used for name in node.output)]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    entry = next(entry for entry in model.metadata_props if entry.key == "modified")
    entry.value += "; layers rounded to int8"
    onnx.checker.check_model(model)


def measure(path, pictures):
    """The ranges of what goes into each layer, over the lines of some pictures."""
    import onnxruntime
    from PIL import Image
    model, constants = load(path)
    names = sorted({node.input[0] for node in layers(model, constants)} - {"x"})
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ranges = {"x": [-1.0, 1.0], **{name: [0.0, 0.0] for name in names}}
    for line in (line for picture in pictures for line in lines(np.asarray(Image.open(picture).convert("L")))):
        height, width = line.shape
        scaled = Image.fromarray(line).resize((max(1, width * 6 // height) * 8, 48), Image.Resampling.BILINEAR)
        plane = np.asarray(scaled, np.float32) / 127.5 - 1
        for name, value in zip(names, session.run(names, {"x": np.repeat(plane[None, None], 3, 1)})):
            low, high = ranges[name]
            ranges[name] = [min(low, float(value.min())), max(high, float(value.max()))]
    return {name: [round(bound, 4) for bound in both] for name, both in ranges.items()}


def lines(page):
    """Bands of ink, up to 24 times as wide as high."""
    ink = page < (int(page.min()) + int(page.max())) / 2
    rows = np.flatnonzero(np.diff(np.concatenate([[0], ink.any(1).astype(np.int8), [0]])))
    for top, bottom in zip(rows[::2], rows[1::2]):
        if 8 <= bottom - top <= 120:
            top, bottom = max(0, top - 3), bottom + 3
            step = 24 * (bottom - top)
            for left in range(0, page.shape[1], step):
                band = page[top:bottom, left:left + step]
                if (band < 128).any() and band.shape[1] >= band.shape[0]:
                    yield np.ascontiguousarray(band)


if __name__ == "__main__":
    if sys.argv[1] == "--measure":
        ranges = measure(sys.argv[2], sys.argv[3:])
        RANGES.write_text(json.dumps(ranges, indent=0, sort_keys=True) + "\n")
        print(f"{len(ranges)} ranges in {RANGES}")
    else:
        source, target = sys.argv[1:]
        model, constants = load(source)
        count = len(layers(model, constants))
        quantise(model, constants, json.loads(RANGES.read_text()))
        onnx.save(model, target)
        print(f"{count} layers rounded to int8")
