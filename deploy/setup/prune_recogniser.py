"""Keeps of a PP-OCR recogniser only the characters of Latin-script texts, and proves that those are read as before.

    python prune_recogniser.py MODEL.onnx PRUNED.onnx

The last layer has a column for each of 18,708 characters, most of them Chinese, and takes a quarter of the time. Kept are
the blocks below, and what the network writes in full width where a Latin text has it in half width: those columns stay,
under the character that is meant. The metadata key `character` lists the classes from 1 on (0 is the blank, the last one
is the space), so a character may stand there twice. Everything else is copied, so the bytes are the same on every machine.
"""
import sys, unicodedata
import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

# Letters with all their accents from Irish to Turkish and Vietnamese, punctuation, currencies, and the signs that forms,
# manuals and formulae use. IPA and emoji are left out: on noise they are what is guessed.
BLOCKS = [
    (0x0020, 0x024F),  # Basic Latin to Latin Extended-B
    (0x0370, 0x03FF),  # Greek, for formulae: without accents, so no Greek text
    (0x1E00, 0x1EFF),  # Latin Extended Additional
    (0x2000, 0x22FF),  # punctuation, super- and subscripts, currencies, letter-like, numbers, arrows, operators
    (0x2460, 0x24FF),  # enclosed numbers
    (0x25A0, 0x25FF),  # bullets and boxes
    (0x2605, 0x2606), (0x260E, 0x260F), (0x2610, 0x2612),  # stars, telephones, check boxes
    (0x2640, 0x2642), (0x266D, 0x266F),  # sexes, accidentals
    (0x2713, 0x2718),  # check marks
]
FULL_WIDTH = (0xFF01, 0xFFE6)


def meant(character):
    """The character that stands for it in a Latin text, or None where it cannot stand there."""
    code = ord(character)
    if FULL_WIDTH[0] <= code <= FULL_WIDTH[1]:
        character = unicodedata.normalize("NFKC", character)
        code = ord(character)
    return character if any(first <= code <= last for first, last in BLOCKS) else None


def prune(model):
    """Drops the columns of all other characters from the last layer. Returns the classes kept."""
    entry = next(entry for entry in model.metadata_props if entry.key == "character")
    characters = entry.value.split("\n")
    kept = [(number, meant(character)) for number, character in enumerate(characters, 1) if meant(character)]
    classes = [0, *(number for number, _ in kept), len(characters) + 1]
    for initializer in model.graph.initializer:
        if initializer.dims and initializer.dims[-1] == len(characters) + 2:
            columns = np.ascontiguousarray(numpy_helper.to_array(initializer)[..., classes])
            initializer.CopyFrom(numpy_helper.from_array(columns, initializer.name))
    entry.value = "\n".join(character for _, character in kept)
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = len(classes)
    model.metadata_props.add(key="modified", value="by deckle: classes of other scripts left out")
    onnx.checker.check_model(model)
    return classes


def verify(whole, pruned, classes):
    """Whatever the input, the kept classes have the probabilities they had, among themselves."""
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 3, 48, 64)).astype(np.float32)
    expected = ReferenceEvaluator(whole).run(None, {"x": picture})[0][..., classes].astype(np.float64)
    expected /= expected.sum(-1, keepdims=True)
    difference = np.abs(ReferenceEvaluator(pruned).run(None, {"x": picture})[0] - expected).max()
    print(f"{len(classes)} classes; largest difference of probabilities {difference:.1e}")
    assert difference < 1e-5, "the pruned network computes something else"


if __name__ == "__main__":
    source, target = sys.argv[1:]
    pruned = onnx.load(source)
    classes = prune(pruned)
    verify(onnx.load(source), pruned, classes)
    onnx.save(pruned, target)
