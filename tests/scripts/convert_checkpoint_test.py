#!/usr/bin/env python3
"""Tests of scripts/convert_checkpoint.py. Standard library alone, like the script itself.

Checkpoints are written here with the pickle module in both of torch's forms, out of stand-ins for
torch's classes. Results are read back with readers of this file's own.
"""

import argparse
import array
import collections
import contextlib
import importlib.util
import io
import json
import math
import os
import pathlib
import pickle
import random
import struct
import subprocess
import sys
import tempfile
import types
import unittest
import zipfile
from unittest import mock

sys.dont_write_bytecode = True

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "convert_checkpoint.py"
FIXTURES = ROOT.parent / "shared" / "fixtures" / "dime-toy"

spec = importlib.util.spec_from_file_location("convert_checkpoint", SCRIPT)
convert_checkpoint = importlib.util.module_from_spec(spec)
spec.loader.exec_module(convert_checkpoint)

# --- Stand-ins for torch, enough to pickle what torch pickles -------------------------------------

ITEM_BYTES = {"Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Long": 8}


def fake_torch():
    """Modules that the pickle module can find torch's names in."""
    torch = types.ModuleType("torch")
    utils = types.ModuleType("torch._utils")
    for name in ITEM_BYTES:
        setattr(torch, name + "Storage", type(name + "Storage", (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_tensor", "_rebuild_parameter"):

        def rebuild(*arguments):
            raise AssertionError("never called")

        rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = "torch._utils", name, name
        setattr(utils, name, rebuild)
    torch._utils = utils
    return {"torch": torch, "torch._utils": utils}


FAKE_TORCH = fake_torch()


class FakeStorage:
    def __init__(self, kind, content, view=None):
        self.kind = kind
        self.content = content
        self.view = view  # (offset, numel) of a legacy view

    @property
    def numel(self):
        return len(self.content) // ITEM_BYTES[self.kind]


class FakeTensor:
    """A strided view of a FakeStorage, pickled the way torch pickles a tensor."""

    def __init__(self, storage, shape, strides=None, offset=0, form="_rebuild_tensor_v2"):
        self.storage = storage
        self.shape = tuple(shape)
        self.strides = tuple(strides) if strides is not None else contiguous(shape)
        self.offset = offset
        self.form = form

    def __reduce__(self):
        utils = FAKE_TORCH["torch._utils"]
        if self.form == "_rebuild_tensor":
            return utils._rebuild_tensor, (self.storage, self.offset, self.shape, self.strides)
        arguments = (
            self.storage,
            self.offset,
            self.shape,
            self.strides,
            False,
            collections.OrderedDict(),
        )
        if self.form == "_rebuild_parameter":
            return utils._rebuild_parameter, (
                FakeTensor(self.storage, self.shape, self.strides, self.offset),
                True,
                collections.OrderedDict(),
            )
        return utils._rebuild_tensor_v2, arguments


def contiguous(shape):
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def tensor(shape, values, kind="Float"):
    """A contiguous tensor of Python numbers."""
    if kind == "BFloat16":
        content = b"".join(struct.pack("<f", value)[2:] for value in values)
    else:
        content = struct.pack(
            f"<{len(values)}" + {"Float": "f", "Double": "d", "Half": "e", "Long": "q"}[kind],
            *values,
        )
    return FakeTensor(FakeStorage(kind, content), shape)


class TorchPickler(pickle.Pickler):
    def __init__(self, file, legacy):
        super().__init__(file, protocol=2)
        self.legacy = legacy
        self.storages = {}  # content id -> (key, storage)

    def persistent_id(self, value):
        if not isinstance(value, FakeStorage):
            return None
        key, _ = self.storages.setdefault(id(value.content), (str(len(self.storages)), value))
        result = (
            "storage",
            getattr(FAKE_TORCH["torch"], value.kind + "Storage"),
            key,
            "cpu",
            value.numel,
        )
        if not self.legacy:
            return result
        view = None if value.view is None else (f"{key}-view-{value.view[0]}", *value.view)
        return result + (view,)


def pickled(value, legacy):
    file = io.BytesIO()
    with mock.patch.dict(sys.modules, FAKE_TORCH):
        pickler = TorchPickler(file, legacy)
        pickler.dump(value)
    return file.getvalue(), dict(pickler.storages.values())


LEGACY_HEADER = (
    pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + pickle.dumps(1001, 2)
    + pickle.dumps(
        {
            "protocol_version": 1001,
            "little_endian": True,
            "type_sizes": {"short": 2, "int": 4, "long": 4},
        },
        2,
    )
)


def legacy_bytes(value):
    encoded, storages = pickled(value, legacy=True)
    result = LEGACY_HEADER + encoded + pickle.dumps(list(storages), 2)
    for storage in storages.values():
        result += struct.pack("<q", storage.numel) + storage.content
    return result


def zip_bytes(value, byteorder="little", compression=zipfile.ZIP_STORED, leave_out=(), zip64=False):
    encoded, storages = pickled(value, legacy=False)
    entries = {
        "archive/data.pkl": encoded,
        "archive/byteorder": byteorder.encode(),
        "archive/version": b"3\n",
    }
    for key, storage in storages.items():
        content = storage.content
        if byteorder == "big":
            item = ITEM_BYTES[storage.kind]
            content = b"".join(content[at : at + item][::-1] for at in range(0, len(content), item))
        entries[f"archive/data/{key}"] = content
    return zip_of(
        {name: entries[name] for name in entries if name not in leave_out}, compression, zip64
    )


def zip_of(entries, compression=zipfile.ZIP_STORED, zip64=False):
    file = io.BytesIO()
    limits = {"ZIP64_LIMIT": 0, "ZIP_FILECOUNT_LIMIT": 0} if zip64 else {}
    with mock.patch.multiple(zipfile, **limits) if limits else contextlib.nullcontext():
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
    return file.getvalue()


# --- A small checkpoint, its names written out from the published definition ----------------------

E, D, H, ROUTER, HIDDEN, VOCABULARY, POSITIONS = 4, 6, 8, 5, 7, 9, 40


def linear(name, outputs, inputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def dime_shapes():
    norm = {field: (E,) for field in ("weight", "bias", "running_mean", "running_var")}
    image = {**linear("fc", E, D), **{f"bn.{field}": shape for field, shape in norm.items()}}
    text = {**linear("fc", E, H), **linear("mapping", E, 3 * E)}
    for index in range(3):
        text[f"convs1.{index}.weight"] = (E, 1, index + 1, H)
        text[f"convs1.{index}.bias"] = (E,)
    interaction = {f"bn.{field}": shape for field, shape in norm.items()}
    interaction.update(linear("path_mapping", 128, 36))
    for layer in range(3):
        stem = f"dynamic_itr_l{layer}."
        for cell in ("ric", "glgc", "imrc", "cmrc"):
            interaction.update(linear(f"{stem}{cell}.router.mlp.0", ROUTER, E))
            interaction.update(linear(f"{stem}{cell}.router.mlp.2", 1 if layer == 2 else 4, ROUTER))
        for name in (
            "glgc.fc_1",
            "glgc.fc_2",
            "imrc.sa.att_layer.linears.0",
            "imrc.sa.att_layer.linears.1",
            "imrc.sa.att_layer.linears.2",
            "cmrc.refine.fc_scale",
            "cmrc.refine.fc_shift",
            "cmrc.refine.fc_1",
            "cmrc.refine.fc_2",
        ):
            interaction.update(linear(stem + name, E, E))
        interaction.update(linear(stem + "imrc.sa.feed_forward_layer.fc1", HIDDEN, E))
        interaction.update(linear(stem + "imrc.sa.feed_forward_layer.fc2", E, HIDDEN))
    return {"image": image, "text": text, "interaction": interaction}


def bert_shapes():
    shapes = {
        "embeddings.word_embeddings.weight": (VOCABULARY, H),
        "embeddings.position_embeddings.weight": (POSITIONS, H),
        "embeddings.token_type_embeddings.weight": (2, H),
    }
    for layer in range(2):
        stem = f"encoder.layer.{layer}."
        for name in ("query", "key", "value"):
            shapes.update(linear(f"{stem}attention.self.{name}", H, H))
        shapes.update(linear(stem + "attention.output.dense", H, H))
        shapes.update(linear(stem + "intermediate.dense", 16, H))
        shapes.update(linear(stem + "output.dense", H, 16))
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{stem}{name}.weight"] = shapes[f"{stem}{name}.bias"] = (H,)
    shapes["embeddings.LayerNorm.weight"] = shapes["embeddings.LayerNorm.bias"] = (H,)
    shapes.update(linear("pooler.dense", H, H))
    return shapes


BERT_CONFIG = {
    "vocab_size": VOCABULARY,
    "hidden_size": H,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "hidden_act": "gelu",
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2,
}
VOCABULARY_TEXT = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ncat\n##s\n"


def random_tensors(shapes, seed):
    generator = random.Random(seed)
    return {
        name: tensor(shape, [generator.uniform(-1, 1) for _ in range(math.prod(shape))])
        for name, shape in shapes.items()
    }


class Checkpoint:
    """The pieces of a checkpoint, to be changed by a test before they are written."""

    def __init__(self, direction="i2t", seed=1, bert_seed=7):
        self.parts = {
            part: random_tensors(shapes, f"{seed} {part}") for part, shapes in dime_shapes().items()
        }
        for part, name in (("image", "bn"), ("interaction", "bn")):
            self.parts[part][f"{name}.num_batches_tracked"] = tensor((), [12], "Long")
        if bert_seed is not None:
            for name, value in random_tensors(bert_shapes(), bert_seed).items():
                self.parts["text"]["bert." + name] = value
        self.options = {
            "direction": direction,
            "embed_size": E,
            "img_dim": D,
            "num_head_IMRC": 2,
            "hid_IMRC": HIDDEN,
            "hid_router": ROUTER,
            "raw_feature_norm_CMRC": "l2norm",
            "lambda_softmax_CMRC": 5,
            "max_words": 32,
            "do_lower_case": True,
            "no_imgnorm": False,
            "use_abs": False,
            "logger_name": "runs/x",
        }
        self.extra = {}

    def rename(self, part, old, new):
        self.parts[part][new] = self.parts[part].pop(old)

    def value(self):
        states = []
        for tensors in self.parts.values():
            state = collections.OrderedDict(tensors)
            state._metadata = collections.OrderedDict({"": {"version": 1}})
            states.append(state)
        return {
            "epoch": 3,
            "model": states,
            "best_rsum": 123.5,
            "best_r1": 4.5,
            "opt": argparse.Namespace(**self.options),
            "Eiters": 99,
            **self.extra,
        }


def values_of(fake):
    """The numbers of a contiguous float32 FakeTensor as bytes."""
    return fake.storage.content


def read_safetensors(path):
    """name -> (shape, bytes), and the header's length."""
    content = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    result = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", name
        start, end = entry["data_offsets"]
        result[name] = (tuple(entry["shape"]), content[8 + length + start : 8 + length + end])
    assert sum(len(data) for _, data in result.values()) == len(content) - 8 - length
    return result, length


class ConverterTest(unittest.TestCase):
    """A folder to work in, a BERT directory without weights, and the script's main()."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name).resolve()
        self.out = self.folder / "model"
        self.bert = self.folder / "bert_dir"
        self.bert.mkdir()
        (self.bert / "config.json").write_text(json.dumps(BERT_CONFIG))
        (self.bert / "vocab.txt").write_text(VOCABULARY_TEXT)

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def run_main(self, *arguments):
        """(exit code, standard output, standard error)"""
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                code = convert_checkpoint.main([str(argument) for argument in arguments])
            except SystemExit as error:  # argparse
                code = error.code
        return code, output.getvalue(), errors.getvalue()

    def convert(self, *inputs, options=()):
        code, output, errors = self.run_main(
            *inputs, "--bert", self.bert, "--out", self.out, *options
        )
        self.assertEqual(code, 0, errors)
        self.errors = errors
        return output

    def config(self):
        return json.loads((self.out / "config.json").read_text())

    def tensors(self, name):
        return read_safetensors(self.out / name)[0]

    def assert_fails(self, pattern, *arguments, lines=1):
        """main() ends with code 1 and an error of one line that matches; nothing is left behind."""
        before = sorted(self.folder.rglob("*"))
        code, output, errors = self.run_main(*arguments)
        self.assertEqual(code, 1, errors)
        self.assertEqual(output, "")
        message = errors[errors.index("error: ") :]
        self.assertRegex(message, pattern)
        if lines is not None:
            self.assertEqual(message.count("\n"), lines, message)
        self.assertEqual(sorted(self.folder.rglob("*")), before)
        return message

    def assert_refused(self, pattern, content, **options):
        path = self.write("in.pth.tar", content)
        return self.assert_fails(pattern, path, "--bert", self.bert, "--out", self.out, **options)


class ConversionTest(ConverterTest):
    def assert_converted(self, checkpoint, name="i2t.safetensors"):
        written = self.tensors(name)
        due = {
            f"{part}.{key}": value
            for part, tensors in checkpoint.parts.items()
            for key, value in tensors.items()
            if not key.startswith("bert.") and not key.endswith("num_batches_tracked")
        }
        self.assertEqual(set(written), set(due))
        for key, value in due.items():
            self.assertEqual(written[key], (value.shape, values_of(value)), key)

    def test_zip_form(self):
        checkpoint = Checkpoint()
        output = self.convert(self.write("a.pth.tar", zip_bytes(checkpoint.value())))
        self.assert_converted(checkpoint)
        self.assertRegex(
            output,
            r"^wrote .*/model: i2t, bert, .*Next: dime_evaluate --model .*/model "
            r"--data DATA --split test\n$",
        )
        bert = self.tensors("bert/model.safetensors")
        self.assertEqual({name: shape for name, (shape, _) in bert.items()}, bert_shapes())
        for name, (_, data) in bert.items():
            self.assertEqual(data, values_of(checkpoint.parts["text"]["bert." + name]), name)
        self.assertEqual((self.out / "bert" / "vocab.txt").read_text(), VOCABULARY_TEXT)

    def test_legacy_form_gives_the_same_files(self):
        value = Checkpoint().value()
        self.convert(self.write("a.pth.tar", zip_bytes(value)))
        other = self.folder / "legacy"
        code, _, errors = self.run_main(
            self.write("b.pth.tar", legacy_bytes(value)), "--bert", self.bert, "--out", other
        )
        self.assertEqual(code, 0, errors)
        for name in ("i2t.safetensors", "bert/model.safetensors", "bert/config.json"):
            self.assertEqual((self.out / name).read_bytes(), (other / name).read_bytes(), name)

    def test_config(self):
        self.convert(
            self.write("a.pth.tar", zip_bytes(Checkpoint().value())),
            self.write("b.pth.tar", legacy_bytes(Checkpoint("t2i", seed=2).value())),
        )
        direction = {
            "weights": "i2t.safetensors",
            "bert": "bert",
            "embed_size": E,
            "img_dim": D,
            "num_head_IMRC": 2,
            "hid_IMRC": HIDDEN,
            "hid_router": ROUTER,
            "raw_feature_norm_CMRC": "l2norm",
            "lambda_softmax_CMRC": 5.0,
            "no_imgnorm": False,
            "use_abs": False,
        }
        self.assertEqual(
            self.config(),
            {
                "format": "dime-model",
                "format_version": 1,
                "max_words": 32,
                "num_regions": 36,
                "tokenizer": {"lower_case": True, "split_chinese": False},
                "directions": {
                    "i2t": direction,
                    "t2i": {**direction, "weights": "t2i.safetensors"},
                },
                "source": {
                    "i2t": {"file": "a.pth.tar", "epoch": 3, "best_rsum": 123.5},
                    "t2i": {"file": "b.pth.tar", "epoch": 3, "best_rsum": 123.5},
                },
            },
        )
        bert = json.loads((self.out / "bert" / "config.json").read_text())
        self.assertEqual({key: bert[key] for key in BERT_CONFIG}, BERT_CONFIG)
        self.assertEqual((bert["model_type"], bert["layer_norm_eps"]), ("bert", 1e-12))

    def test_payload_is_aligned(self):
        self.convert(self.write("a.pth.tar", zip_bytes(Checkpoint().value())))
        for name in ("i2t.safetensors", "bert/model.safetensors"):
            self.assertEqual((8 + read_safetensors(self.out / name)[1]) % 64, 0)

    def test_defaults_are_said_aloud(self):
        checkpoint = Checkpoint("t2i")
        for key in ("num_head_IMRC", "raw_feature_norm_CMRC", "lambda_softmax_CMRC", "max_words"):
            del checkpoint.options[key]
        # 16 heads do not divide E = 4: the default is refused rather than bent.
        path = self.write("a.pth.tar", zip_bytes(checkpoint.value()))
        self.assert_fails(
            "num_head_IMRC is 16; a divisor of the joint dimension 4",
            path,
            "--bert",
            self.bert,
            "--out",
            self.out,
            lines=None,
        )
        checkpoint.options["num_head_IMRC"] = 4
        self.convert(self.write("a.pth.tar", zip_bytes(checkpoint.value())))
        self.assertIn(
            "opt lacks raw_feature_norm_CMRC, lambda_softmax_CMRC, max_words", self.errors
        )
        written = self.config()["directions"]["t2i"]
        self.assertEqual(written["lambda_softmax_CMRC"], 9.0)
        self.assertEqual(written["raw_feature_norm_CMRC"], "clipped_l2norm")
        self.assertEqual(self.config()["max_words"], 32)

    def test_weights_win_over_sizes_in_opt(self):
        checkpoint = Checkpoint()
        checkpoint.options["hid_router"] = 512
        self.convert(self.write("a.pth.tar", zip_bytes(checkpoint.value())))
        self.assertEqual(self.config()["directions"]["i2t"]["hid_router"], ROUTER)
        self.assertIn("opt says hid_router 512, but the weights have 5", self.errors)

    def test_numpy_scalars_among_the_facts(self):
        # How protocol 2 writes numpy.float64(2.5).
        scalar = (
            b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x02\0\0\0f8K\0K\x01tR(K\x03"
            b"X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tbc_codecs\nencode\n(X\x09\0"
            b"\0\0\0\0\0\0\0\0\x04@X\x06\0\0\0latin1tRtR"
        ).replace(b"X\x09", b"X\x08")
        encoded, storages = pickled(Checkpoint().value(), legacy=True)
        self.assertEqual(encoded.count(b"G" + struct.pack(">d", 123.5)), 1)
        encoded = encoded.replace(b"G" + struct.pack(">d", 123.5), scalar)
        content = (
            LEGACY_HEADER
            + encoded
            + pickle.dumps(list(storages), 2)
            + b"".join(
                struct.pack("<q", storage.numel) + storage.content for storage in storages.values()
            )
        )
        self.convert(self.write("a.pth.tar", content))
        self.assertEqual(self.config()["source"]["i2t"]["best_rsum"], 2.5)

    def test_module_prefixes(self):
        checkpoint = Checkpoint()
        plain = Checkpoint()
        for part, tensors in checkpoint.parts.items():
            for name in list(tensors):
                checkpoint.rename(part, name, "module." + name)
        for name in bert_shapes():
            checkpoint.rename("text", f"module.bert.{name}", f"module.bert.module.{name}")
        self.convert(self.write("a.pth.tar", zip_bytes(checkpoint.value())))
        self.assert_converted(plain)
        self.assertEqual(set(self.tensors("bert/model.safetensors")), set(bert_shapes()))

    def test_old_bert_names(self):
        checkpoint = Checkpoint()
        for name in bert_shapes():
            if "LayerNorm" in name:
                old = name.replace(".weight", ".gamma").replace(".bias", ".beta")
                checkpoint.rename("text", f"bert.{name}", f"bert.{old}")
        checkpoint.parts["text"]["bert.embeddings.position_ids"] = tensor((1, 2), [0, 1], "Long")
        self.convert(self.write("a.pth.tar", zip_bytes(checkpoint.value())))
        bert = self.tensors("bert/model.safetensors")
        self.assertEqual(set(bert), set(bert_shapes()))
        self.assertEqual(
            bert["embeddings.LayerNorm.bias"][1],
            values_of(checkpoint.parts["text"]["bert.embeddings.LayerNorm.beta"]),
        )

    def test_bert_without_pooler(self):
        checkpoint = Checkpoint()
        for name in ("weight", "bias"):
            del checkpoint.parts["text"][f"bert.pooler.dense.{name}"]
        self.convert(self.write("a.pth.tar", zip_bytes(checkpoint.value())))
        self.assertEqual(
            set(self.tensors("bert/model.safetensors")),
            {name for name in bert_shapes() if not name.startswith("pooler")},
        )

    def test_equal_berts_are_shared_and_others_are_not(self):
        first = self.write("a.pth.tar", zip_bytes(Checkpoint().value()))
        self.convert(first, self.write("b.pth.tar", zip_bytes(Checkpoint("t2i", 2).value())))
        self.assertTrue((self.out / "bert").is_dir())
        self.assertFalse((self.out / "bert-i2t").exists())

        other = Checkpoint("t2i", 2)
        bias = other.parts["text"]["bert.encoder.layer.1.output.dense.bias"].storage
        bias.content = bias.content[:-4] + struct.pack("<f", 0.125)  # one weight differs
        self.convert(first, self.write("b.pth.tar", zip_bytes(other.value())), options=["--force"])
        self.assertFalse((self.out / "bert").exists())
        for direction in ("i2t", "t2i"):
            self.assertEqual(self.config()["directions"][direction]["bert"], f"bert-{direction}")
            self.assertTrue((self.out / f"bert-{direction}" / "vocab.txt").is_file())
        name = "encoder.layer.1.output.dense.bias"
        self.assertEqual(self.tensors("bert-t2i/model.safetensors")[name][1], bias.content)
        self.assertNotEqual(self.tensors("bert-i2t/model.safetensors")[name][1], bias.content)

    def test_bert_is_shared_across_old_names_and_dtypes(self):
        other = Checkpoint("t2i", 2)
        for name, value in list(other.parts["text"].items()):
            if name.startswith("bert.") and "LayerNorm" in name:
                other.rename(
                    "text", name, name.replace(".weight", ".gamma").replace(".bias", ".beta")
                )
            elif name.startswith("bert."):
                numbers = array.array("f", values_of(value))
                other.parts["text"][name] = tensor(value.shape, numbers, "Double")
        self.convert(
            self.write("a.pth.tar", zip_bytes(Checkpoint().value())),
            self.write("b.pth.tar", zip_bytes(other.value())),
        )
        self.assertEqual(self.config()["directions"]["t2i"]["bert"], "bert")

    def test_dtypes(self):
        numbers = [1.5, -2.25, 0.1, 65504.0]
        widened = {
            "Half": struct.unpack("<4e", struct.pack("<4e", *numbers)),
            "Double": numbers,
            "BFloat16": [
                1.5,
                -2.25,
                struct.unpack("<f", b"\0\0" + struct.pack("<f", 0.1)[2:])[0],
                struct.unpack("<f", b"\0\0" + struct.pack("<f", 65504.0)[2:])[0],
            ],
        }
        for kind, due in widened.items():
            with self.subTest(kind):
                checkpoint = Checkpoint()
                checkpoint.parts["image"]["fc.bias"] = tensor((E,), numbers, kind)
                self.convert(
                    self.write("a.pth.tar", zip_bytes(checkpoint.value())), options=["--force"]
                )
                self.assertEqual(
                    self.tensors("i2t.safetensors")["image.fc.bias"],
                    ((E,), struct.pack("<4f", *due)),
                )

    def test_big_endian_storages(self):
        checkpoint = Checkpoint()
        checkpoint.parts["image"]["fc.bias"] = tensor((E,), [1, 2, 3, 4.5], "Half")
        self.convert(self.write("a.pth.tar", zip_bytes(checkpoint.value(), byteorder="big")))
        written = self.tensors("i2t.safetensors")
        self.assertEqual(written["image.fc.bias"][1], struct.pack("<4f", 1, 2, 3, 4.5))
        self.assertEqual(
            written["image.fc.weight"][1], values_of(checkpoint.parts["image"]["fc.weight"])
        )

    def test_zip64(self):
        checkpoint = Checkpoint()
        content = zip_bytes(checkpoint.value(), zip64=True)
        self.assertIn(b"PK\x06\x06", content)
        self.convert(self.write("a.pth.tar", content))
        self.assert_converted(checkpoint)

    def test_strides(self):
        """Transposed, stepped, offset, shared and expanded-in-one-element views, in both forms."""
        checkpoint = Checkpoint()
        transposed = FakeStorage("Float", struct.pack(f"<{D * E}f", *range(D * E)))
        checkpoint.parts["image"]["fc.weight"] = FakeTensor(transposed, (E, D), (1, E))
        shared = FakeStorage("Float", struct.pack("<40f", *range(100, 140)))
        checkpoint.parts["image"]["fc.bias"] = FakeTensor(shared, (E,), (3,), 2)
        checkpoint.parts["image"]["bn.weight"] = FakeTensor(shared, (E,), (1,), 36)
        checkpoint.parts["text"]["fc.bias"] = FakeTensor(shared, (E,), (0,), 5)
        conv = FakeStorage("Float", struct.pack(f"<{E * 2 * H}f", *range(E * 2 * H)))
        # [E, 1, 2, H] out of an [H, 2, E] array; the stride of the axis of one means nothing.
        checkpoint.parts["text"]["convs1.1.weight"] = FakeTensor(
            conv, (E, 1, 2, H), (1, 777, E, 2 * E)
        )
        due = {
            "image.fc.weight": [column * E + row for row in range(E) for column in range(D)],
            "image.fc.bias": [102, 105, 108, 111],
            "image.bn.weight": [136, 137, 138, 139],
            "text.fc.bias": [105] * 4,
            "text.convs1.1.weight": [
                h * 2 * E + k * E + e for e in range(E) for k in range(2) for h in range(H)
            ],
        }
        for content in (zip_bytes(checkpoint.value()), legacy_bytes(checkpoint.value())):
            self.convert(self.write("a.pth.tar", content), options=["--force"])
            written = self.tensors("i2t.safetensors")
            for name, numbers in due.items():
                self.assertEqual(list(array.array("f", written[name][1])), numbers, name)

    def test_pieces_join_rightly(self):
        """A transposed tensor larger than one piece."""
        rows, columns = 60, 50
        numbers = array.array("f", range(rows * columns))
        storage = convert_checkpoint.Storage(
            "s", "float32", len(numbers), memoryview(numbers.tobytes())
        )
        whole = convert_checkpoint.StorageRange(storage, 0, len(numbers))
        due = [row * columns + column for column in range(columns) for row in range(rows)]
        for piece in (64, 400, 1 << 20):
            with mock.patch.object(convert_checkpoint, "PIECE_BYTES", piece):
                for shape, strides, want in (
                    ((columns, rows), (1, columns), due),
                    ((rows, columns), (columns, 1), list(numbers)),
                    ((rows * columns // 2,), (2,), list(numbers)[::2]),
                ):
                    view = convert_checkpoint.Tensor(whole, 0, shape, strides)
                    read = b"".join(bytes(part) for part in view.float32_pieces())
                    self.assertEqual(list(array.array("f", read)), want)

    def test_legacy_views(self):
        checkpoint = Checkpoint()
        content = struct.pack("<40f", *range(40))
        root = FakeStorage("Float", content)
        view = FakeStorage("Float", content, view=(10, 8))
        checkpoint.parts["image"]["fc.bias"] = FakeTensor(view, (E,), (1,), 2)
        checkpoint.parts["image"]["bn.weight"] = FakeTensor(root, (E,), (1,), 0)
        self.convert(self.write("a.pth.tar", legacy_bytes(checkpoint.value())))
        written = self.tensors("i2t.safetensors")
        self.assertEqual(list(array.array("f", written["image.fc.bias"][1])), [12, 13, 14, 15])
        self.assertEqual(list(array.array("f", written["image.bn.weight"][1])), [0, 1, 2, 3])

        checkpoint.parts["image"]["fc.bias"] = FakeTensor(view, (E,), (1,), 5)  # past the view
        path = self.write("b.pth.tar", legacy_bytes(checkpoint.value()))
        self.assert_fails(
            "does not fit its storage of 8 elements",
            path,
            "--bert",
            self.bert,
            "--out",
            self.folder / "other",
        )

    def test_other_tensor_constructors(self):
        checkpoint = Checkpoint()
        checkpoint.parts["image"]["fc.weight"].form = "_rebuild_tensor"
        checkpoint.parts["image"]["fc.bias"].form = "_rebuild_parameter"
        self.convert(self.write("a.pth.tar", zip_bytes(checkpoint.value())))
        self.assert_converted(checkpoint)

    def test_direction_option(self):
        checkpoint = Checkpoint()
        del checkpoint.options["direction"]
        path = self.write("a.pth.tar", zip_bytes(checkpoint.value()))
        self.assert_fails(
            "does not say its direction", path, "--bert", self.bert, "--out", self.out, lines=None
        )
        self.convert(path, options=["--direction", "t2i"])
        self.assertEqual(list(self.config()["directions"]), ["t2i"])
        self.assertTrue((self.out / "t2i.safetensors").is_file())

    def test_two_of_one_direction(self):
        first = self.write("a.pth.tar", zip_bytes(Checkpoint().value()))
        second = self.write("b.pth.tar", zip_bytes(Checkpoint(seed=2).value()))
        arguments = (first, second, "--bert", self.bert, "--out", self.out)
        self.assert_fails("both checkpoints are i2t models", *arguments)
        self.assert_fails("2 inputs but --direction 1 times", *arguments, "--direction", "t2i")
        self.convert(first, second, options=["--direction", "t2i", "--direction", "i2t"])
        self.assertEqual(self.config()["source"]["t2i"]["file"], "a.pth.tar")
        self.assertEqual(list(self.config()["directions"]), ["i2t", "t2i"])

    def test_checkpoints_that_do_not_fit_together(self):
        first = self.write("a.pth.tar", zip_bytes(Checkpoint().value()))
        for key, value, pattern in (
            ("max_words", 20, "differ in max_words"),
            ("do_lower_case", False, "differ in do_lower_case"),
        ):
            other = Checkpoint("t2i")
            other.options[key] = value
            second = self.write("b.pth.tar", zip_bytes(other.value()))
            self.assert_fails(pattern, first, second, "--bert", self.bert, "--out", self.out)

    def test_every_problem_is_named_at_once(self):
        checkpoint = Checkpoint()
        del checkpoint.parts["image"]["bn.bias"]
        checkpoint.parts["text"]["mapping.weight"] = tensor((E, 2), [0.0] * 8)
        checkpoint.parts["interaction"]["extra.weight"] = tensor((2, 3), [0.0] * 6)
        checkpoint.parts["interaction"]["dynamic_itr_l1.ric.router.mlp.2.bias"] = tensor(
            (4,), [1, 2, 3, 4], "Long"
        )
        message = self.assert_refused(
            "4 problems with its tensors", zip_bytes(checkpoint.value()), lines=5
        )
        for line in (
            "missing: image.bn.bias [4]",
            "wrong shape: text.mapping.weight is [4, 2] where [4, 12] is due",
            "unexpected: interaction.extra.weight [2, 3]",
            "wrong type: interaction.dynamic_itr_l1.ric.router.mlp.2.bias is int64",
        ):
            self.assertIn("\n  " + line, message)

    def test_missing_anchor_still_names_everything(self):
        checkpoint = Checkpoint()
        checkpoint.parts["image"].clear()
        message = self.assert_refused("6 problems", zip_bytes(checkpoint.value()), lines=7)
        self.assertIn("missing: image.fc.weight [E, D]", message)

    def test_bad_options(self):
        for key, value, pattern in (
            ("num_head_IMRC", 3, "num_head_IMRC is 3; a divisor"),
            ("num_head_IMRC", "4", "opt.num_head_IMRC is '4'; a int is due"),
            ("raw_feature_norm_CMRC", "l3norm", "known are clipped_l2norm, l2norm"),
            ("lambda_softmax_CMRC", float("nan"), "opt.lambda_softmax_CMRC is nan"),
            ("max_words", 2, "max_words is 2; 3 to 4096"),
            ("direction", "both", "opt.direction is 'both'"),
        ):
            with self.subTest(key=key, value=value):
                checkpoint = Checkpoint()
                checkpoint.options[key] = value
                self.assert_refused(pattern, zip_bytes(checkpoint.value()))
        checkpoint = Checkpoint()
        checkpoint.options["max_words"] = POSITIONS + 1
        self.assert_refused(
            "max_words is 41, but BERT has only 40 positions", zip_bytes(checkpoint.value())
        )

    def test_existing_output(self):
        path = self.write("a.pth.tar", zip_bytes(Checkpoint().value()))
        arguments = (path, "--bert", self.bert, "--out", self.out)
        self.out.mkdir()
        (self.out / "precious").write_text("x")
        self.assert_fails("exists already; --force replaces it", *arguments)
        self.assert_fails("is no model directory", *arguments, "--force")
        (self.out / "precious").unlink()
        self.convert(path, options=["--force"])
        self.assert_fails("exists already", *arguments)
        (self.out / "old").write_text("x")
        self.convert(path, options=["--force"])
        self.assertFalse((self.out / "old").exists())
        self.assertEqual(
            sorted(entry.name for entry in self.folder.iterdir()),
            ["a.pth.tar", "bert_dir", "model"],
        )
        self.assert_fails(
            "would replace the input",
            path,
            "--bert",
            self.out / "bert",
            "--out",
            self.out,
            "--force",
        )

    def test_failed_write_leaves_nothing(self):
        path = self.write("a.pth.tar", zip_bytes(Checkpoint().value()))
        with mock.patch.object(
            convert_checkpoint, "write_json", side_effect=OSError(28, "No space left on device")
        ):
            self.assert_fails(
                "No space left on device", path, "--bert", self.bert, "--out", self.out
            )

    def test_command_line(self):
        self.assertEqual(self.run_main()[0], 2)
        self.assertEqual(self.run_main("x")[0], 2)
        self.assertEqual(self.run_main("x", "y", "z", "--out", "o")[0], 2)
        code, output, _ = self.run_main("--help")
        self.assertEqual(code, 0)
        self.assertIn("--bert bert-base-uncased --out model", output)
        self.assert_fails("no-such-file: No such file", "no-such-file", "--out", self.out)


class BertDirectoryTest(ConverterTest):
    """Checkpoints without BERT weights, and what --bert may be."""

    def setUp(self):
        super().setUp()
        self.path = self.write("a.pth.tar", zip_bytes(Checkpoint(bert_seed=None).value()))
        self.weights = random_tensors(bert_shapes(), 7)

    def arguments(self):
        return (self.path, "--bert", self.bert, "--out", self.out)

    def assert_bert_written(self):
        written = self.tensors("bert/model.safetensors")
        self.assertEqual(set(written), set(self.weights))
        for name, value in self.weights.items():
            self.assertEqual(written[name], (value.shape, values_of(value)), name)

    def test_original_layout(self):
        (self.bert / "config.json").rename(self.bert / "bert_config.json")
        old = {
            f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): value
            for name, value in self.weights.items()
        }
        old["cls.predictions.bias"] = tensor((3,), [1, 2, 3])
        (self.bert / "pytorch_model.bin").write_bytes(legacy_bytes(collections.OrderedDict(old)))
        self.convert(self.path)
        self.assert_bert_written()
        self.assertIn(
            "1 tensors that are not BERT's own are left out (cls.predictions.bias)", self.errors
        )

    def test_huggingface_layout(self):
        convert_checkpoint.write_safetensors(
            self.bert / "model.safetensors",
            {
                name: convert_checkpoint.Tensor(
                    convert_checkpoint.StorageRange(
                        convert_checkpoint.Storage(
                            name, "float32", math.prod(value.shape), memoryview(values_of(value))
                        ),
                        0,
                        math.prod(value.shape),
                    ),
                    0,
                    value.shape,
                    value.strides,
                )
                for name, value in self.weights.items()
            },
        )
        (self.bert / "pytorch_model.bin").write_bytes(b"never read")
        self.convert(self.path)
        self.assert_bert_written()

    def test_two_directions_share_the_one_given(self):
        (self.bert / "pytorch_model.bin").write_bytes(zip_bytes(dict(self.weights)))
        second = self.write("b.pth.tar", zip_bytes(Checkpoint("t2i", bert_seed=None).value()))
        self.convert(self.path, second)
        self.assert_bert_written()
        # One BERT inside and an equal one outside are shared as well; another one is not.
        for seed, shared in ((7, True), (8, False)):
            second = self.write("b.pth.tar", zip_bytes(Checkpoint("t2i", bert_seed=seed).value()))
            self.convert(self.path, second, options=["--force"])
            self.assertEqual((self.out / "bert").exists(), shared)

    def test_weights_inside_the_checkpoint_win(self):
        (self.bert / "pytorch_model.bin").write_bytes(zip_bytes(random_tensors(bert_shapes(), 99)))
        self.path = self.write("a.pth.tar", zip_bytes(Checkpoint().value()))
        self.convert(self.path)
        self.assert_bert_written()
        self.assertIn("are not used", self.errors)

    def test_no_bert_at_hand(self):
        checkpoint = Checkpoint()
        checkpoint.options["vocab_file"] = "somewhere/vocab.txt"
        path = self.write("b.pth.tar", zip_bytes(checkpoint.value()))
        self.assert_fails(
            r"neither BERT's vocabulary nor its configuration.* by --bert; the checkpoint "
            r"was trained with somewhere/vocab.txt",
            path,
            "--out",
            self.out,
        )
        self.assert_fails("there is no model.safetensors or pytorch_model.bin", *self.arguments())
        (self.bert / "vocab.txt").unlink()
        self.assert_fails("there is no vocab.txt", *self.arguments())
        (self.bert / "config.json").unlink()
        self.assert_fails("must tell the number of attention heads", *self.arguments())
        self.assert_fails("names no directory", self.path, "--bert", "nowhere", "--out", self.out)

    def test_config_that_does_not_fit(self):
        (self.bert / "pytorch_model.bin").write_bytes(zip_bytes(dict(self.weights)))
        for key, value, pattern in (
            ("num_hidden_layers", 12, "num_hidden_layers is 12, but the weights have 2"),
            ("num_attention_heads", 3, "num_attention_heads is 3; a divisor of the hidden size 8"),
            ("num_attention_heads", None, "num_attention_heads is None"),
            ("hidden_act", "relu", "only gelu"),
            ("layer_norm_eps", 7, "layer_norm_eps is 7"),
            ("position_embedding_type", "relative_key", "position_embedding_type"),
        ):
            with self.subTest(key=key, value=value):
                (self.bert / "config.json").write_text(json.dumps({**BERT_CONFIG, key: value}))
                self.assert_fails(pattern, *self.arguments())
        (self.bert / "config.json").write_text(
            '{"num_attention_heads": 4}'
        )  # the rest: the weights
        self.convert(self.path)
        written = json.loads((self.out / "bert" / "config.json").read_text())
        self.assertEqual(
            {**BERT_CONFIG, "num_attention_heads": 4}, {key: written[key] for key in BERT_CONFIG}
        )

    def test_hostile_directory(self):
        (self.bert / "pytorch_model.bin").write_bytes(zip_bytes(dict(self.weights)))
        for name, content, pattern in (
            ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n", r"lacks \[SEP\]"),
            ("vocab.txt", b"[UNK]\n[PAD]\n[CLS]\n[SEP]\n", r"first word is not \[PAD\]"),
            ("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n\xff\xfe\n", "not UTF-8"),
            (
                "vocab.txt",
                (VOCABULARY_TEXT + "a\nb\n").encode(),
                "10 words, but the weights have 9",
            ),
            ("config.json", b"[" * 100000, "not JSON"),
            ("config.json", b"[]", "not a JSON object"),
            ("config.json", b'{"vocab_size": ' + b"9" * 5000 + b"}", "not JSON"),
            ("model.safetensors", b"", "empty"),
            ("model.safetensors", b"\xff" * 8, "truncated or none"),
            ("model.safetensors", b"\2\0\0\0\0\0\0\0[]", "not a JSON object"),
            ("model.safetensors", safetensors_header(a=[4, [2], [0, 8]]), "unknown dtype"),
            ("model.safetensors", safetensors_header(a=["F32", [-2], [0, 8]]), "bad shape"),
            ("model.safetensors", safetensors_header(a=["F32", [2], [0, 12]]), "does not fit"),
            (
                "model.safetensors",
                safetensors_header(a=["F32", [1 << 40], [0, 1 << 42]]),
                "does not fit",
            ),
            ("model.safetensors", safetensors_header(a=["F32", [2], [0, 8]]), "problems"),
        ):
            with self.subTest(name=name, content=content[:40]):
                path = self.bert / name
                before = path.read_bytes() if path.exists() else None
                path.write_bytes(content)
                self.assert_fails(
                    pattern, *self.arguments(), lines=None if pattern == "problems" else 1
                )
                path.unlink() if before is None else path.write_bytes(before)


def safetensors_header(**entries):
    header = json.dumps(
        {
            name: {"dtype": entry[0], "shape": entry[1], "data_offsets": entry[2]}
            for name, entry in entries.items()
        }
    ).encode()
    return struct.pack("<Q", len(header)) + header + bytes(8)


class Reduce:
    """Pickles as a call of `target` with `arguments`."""

    def __init__(self, target, *arguments):
        self.target = target
        self.arguments = arguments

    def __reduce__(self):
        return self.target, self.arguments


def wrapped(encoded):
    """Both forms of a file whose object is this pickle."""
    return (LEGACY_HEADER + encoded + pickle.dumps([], 2), zip_of({"archive/data.pkl": encoded}))


def program(*operations):
    return b"\x80\x02" + b"".join(operations) + b"."


OPTIONS = b"cargparse\nNamespace\n)\x81"
ORDERED_DICT = b"ccollections\nOrderedDict\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def storage_id(key="0", numel=4, kind="FloatStorage", view=b""):
    return (
        b"("
        + text("storage")
        + f"ctorch\n{kind}\n".encode()
        + text(key)
        + text("cpu")
        + b"J"
        + struct.pack("<i", numel)
        + view
        + b"tQ"
    )


class HostileFileTest(ConverterTest):
    def assert_both_refused(self, pattern, encoded):
        for content in wrapped(encoded):
            self.assert_refused(pattern, content)
            path = self.folder / "in.pth.tar"
            self.assert_fails(pattern, path, "--inspect")

    def test_nothing_is_executed(self):
        marker = self.folder / "marker"
        command = f"touch {marker}"
        open_marker = Reduce(open, str(marker), "w")
        for name, value in (
            ("system", Reduce(os.system, command)),
            (r"builtins\.open|io\.open", open_marker),
            ("eval", Reduce(eval, f"open({str(marker)!r}, 'w')")),
            ("exec", Reduce(exec, f"open({str(marker)!r}, 'w')")),
            ("getattr", Reduce(getattr, {}, "keys")),
            ("Popen", Reduce(subprocess.Popen, ["touch", str(marker)])),
        ):
            with self.subTest(name):
                for protocol in (2, 4):
                    self.assert_both_refused(name, pickle.dumps({"model": value}, protocol))
        self.assertFalse(marker.exists())

    def test_names_outside_the_list_are_refused(self):
        for name in (
            "torch\nload",
            "torch\nFloatTensor",
            "torch._utils\n_rebuild_tensor_v3",
            "builtins\ngetattr",
            "collections\ndefaultdict",
            "argparse\nArgumentParser",
            "argparse\nNamespace.__init__",
            "torch.storage\n_load_from_bytes",
            "copyreg\n_reconstructor",
            "numpy.core.multiarray\n_reconstruct",
            "os\nsystem",
            "a" * 900 + "\nb",
        ):
            with self.subTest(name[:40]):
                self.assert_both_refused(
                    "neither imported nor run", program(b"c", name.encode(), b"\n")
                )
        message = self.assert_refused("not among", wrapped(program(b"c\x1b[31mos\nsys\xff\n"))[0])
        self.assertTrue(message.isascii() and "\x1b" not in message)

    def test_odd_arguments_of_allowed_calls(self):
        one = b"K\x01"
        for encoded, pattern in (
            (program(ORDERED_DICT, one, b"\x85R"), "calls collections.OrderedDict with"),
            (program(ORDERED_DICT, b"(](K\x01K\x02K\x03tatR"), "calls collections.OrderedDict"),
            (program(ORDERED_DICT, one, b"R"), "calls collections.OrderedDict"),
            (program(b"cargparse\nNamespace\n", one, b"\x85R"), "calls argparse.Namespace"),
            (program(REBUILD, b")R"), "calls the tensor constructor"),
            (program(REBUILD, REBUILD, one, one, b"\x87R"), "calls the tensor constructor"),
            (program(REBUILD, b"(NK\0))tR"), "calls the tensor constructor"),
            (
                program(b"ctorch._utils\n_rebuild_parameter\n", one, b"NN\x87R"),
                "_rebuild_parameter",
            ),
            (program(b"ctorch\nFloatStorage\n", one, b"\x85R"), "which cannot be called"),
            (program(OPTIONS, b")R"), "type Options, which cannot be called"),
            (program(text("os.system"), b")R"), "calls a value of type str"),
            (program(b"cnumpy\ndtype\n", text("O8"), b"\x85R"), "calls numpy.dtype"),
            (program(b"cnumpy\ndtype\n]\x85R"), "calls numpy.dtype"),
            (program(b"cnumpy.core.multiarray\nscalar\nNN\x86R"), "scalar constructor"),
            (program(b"c_codecs\nencode\n", text("x"), text("rot13"), b"\x86R"), "_codecs.encode"),
        ):
            with self.subTest(encoded):
                self.assert_both_refused(pattern, encoded)

    def test_build_sets_no_attributes(self):
        state = b"}" + text("fields") + b"Ns" + text("__class__") + b"Ns"
        for encoded, pattern in (
            (program(REBUILD, state, b"b"), "sets the state of a value of type Constructor"),
            (
                program(b"ctorch\nFloatStorage\n", state, b"b"),
                "sets the state of a value of type StorageType",
            ),
            (program(b"]", state, b"b"), "sets the state of a value of type list"),
            (program(OPTIONS, b"}}\x86b"), "state of a value of type Options to one of tuple"),
            (program(OPTIONS, b"Nb"), "state of a value of type Options to one of NoneType"),
        ):
            with self.subTest(encoded):
                self.assert_both_refused(pattern, encoded)
        # On a Namespace such names are mere entries.
        checkpoint = Checkpoint()
        checkpoint.options.update({"fields": 1, "update": 2, "__slots__": 3})
        self.convert(self.write("a.pth.tar", zip_bytes(checkpoint.value())))
        self.assertEqual(self.config()["directions"]["i2t"]["embed_size"], E)

    def test_malformed_pickles(self):
        for encoded, pattern in (
            (program(b"0"), "empty stack"),
            (program(b"(K\x01K\x02"), "values left on its stack"),
            (program(b"(("), "empty stack"),
            (program(b"t"), "no mark"),
            (program(b"}K\x01K\x02K\x03\x87s"), "empty stack|sets items"),
            (program(b"](K\x01u"), "sets items of a list"),
            (program(b"}(K\x01u"), "key without a value"),
            (program(b"}K\x01a"), "appends to a dict"),
            (program(b"}]K\x01s"), "dictionary key"),
            (program(b"}K\x01K\x02K\x03\x87N\x86K\x04s"), "sets items|dictionary key|values left"),
            (program(b"}G", struct.pack(">d", 1.5), b"Ns"), "dictionary key"),
            (program(b"}\x8a\x09", b"\xff" * 8 + b"\0", b"Ns"), "dictionary key"),
            (program(b"h\x05"), "asks for memo 5"),
            (program(b"I1x\n"), "where a number is due"),
            (program(b"I", b"9" * 500, b"\n"), "where a number is due"),
            (program(b"I", b"9" * 5000), "no end of line"),
            (program(b"\x8a\xff", b"\xff" * 255), "integer of 255 bytes"),
            (program(b"X\x02\0\0\0\xff\xfe"), "not UTF-8"),
            (program(b"\x82\x01"), "operation 0x82"),  # EXT1
            (program(b"ios\nsystem\n"), "operation 0x69"),  # INST
            (program(b"(cos\nsystem\n"), "os.system"),
            (program(b"NNo"), "operation 0x6f"),  # OBJ
            (program(b"P0\n"), "operation 0x50"),  # PERSID
            (program(b"\x97"), "operation 0x97"),  # NEXT_BUFFER
            (program(b"NK\x01\x93"), "something other than text"),
            (b"\x80\x09N.", "protocol 9"),
            (program(b"NQ"), "persistent id None"),
            (program(b"(", text("module"), b"NNNNtQ"), "persistent id"),
            (
                program(b"(", text("storage"), text("os"), text("0"), text("cpu"), b"K\x01tQ"),
                "malformed storage",
            ),
        ):
            with self.subTest(encoded):
                self.assert_both_refused(pattern, encoded)

    def test_malformed_tensors(self):
        def rebuild(offset, shape, strides):
            def number(value):
                return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)

            def row(values):
                return b"(" + b"".join(map(number, values)) + b"t"

            return program(
                REBUILD, b"(", storage_id(), number(offset), row(shape), row(strides), b"tR"
            )

        def files(encoded):
            return (
                LEGACY_HEADER
                + encoded
                + pickle.dumps(["0"], 2)
                + struct.pack("<q4f", 4, 1, 2, 3, 4),
                zip_of({"archive/data.pkl": encoded, "archive/data/0": bytes(16)}),
            )

        for offset, shape, strides, pattern in (
            (1, [4], [1], "does not fit its storage"),
            (0, [2, 2], [3, 1], "does not fit its storage"),
            (0, [1 << 40], [0], "does not fit its storage"),  # a small file, a huge output
            (0, [1 << 62, 4], [4, 1], "does not fit its storage"),
            (1 << 62, [1], [1], "does not fit its storage"),
            (-1, [2], [1], "storage offset is -1"),
            (0, [-4], [1], "entry that is not a size"),
            (3, [4], [-1], "entry that is not a size"),
            (0, [1 << 63], [1], "entry that is not a size"),
            (0, [2, 2], [1], r"shape \[2, 2\] but strides \[1\]"),
            (0, [1] * 17, [1] * 17, "tuple of at most 16"),
        ):
            with self.subTest(shape=shape, strides=strides, offset=offset):
                for content in files(rebuild(offset, shape, strides)):
                    self.assert_refused(pattern, content)
        for content in files(
            rebuild(0, [0, 1 << 62], [1, 1])
        ):  # empty is allowed, and no DIME model
            self.assert_refused("no DIME checkpoint", content)

    def test_malformed_storages(self):
        huge = program(storage_id(numel=(1 << 31) - 1))
        self.assert_both_refused("more than the file's", huge)
        self.assert_both_refused("malformed storage", program(storage_id(numel=-4)))
        self.assert_both_refused(
            "named with two types or sizes|missing",
            program(storage_id(), b"0", storage_id(kind="LongStorage", numel=2)),
        )
        view = b"(" + text("v") + b"K\x03K\x02t"
        self.assert_refused("view .* outside itself", wrapped(program(storage_id(view=view)))[0])

        one = program(storage_id())
        stored = struct.pack("<q4f", 4, 1, 2, 3, 4)
        for keys, rest, pattern in (
            ([], b"", "is used but not in the file"),
            (["0", "0"], stored * 2, "stored twice"),
            (["1"], stored, "no tensor uses it"),
            ([0], stored, "list of storage keys is malformed"),
            ("0", stored, "list of storage keys is malformed"),
            (["0"], stored[:5], "truncated before storage"),
            (["0"], stored[:-1], "needs 1 more bytes"),
            (["0"], struct.pack("<q", 1 << 60), "has 1152921504606846976 elements"),
            (["0"], struct.pack("<q", -1) + bytes(16), "has -1 elements"),
        ):
            with self.subTest(keys=keys, rest=rest):
                self.assert_refused(pattern, LEGACY_HEADER + one + pickle.dumps(keys, 2) + rest)

    def test_hostile_zips(self):
        value = Checkpoint().value()
        whole = zip_bytes(value)
        for content, pattern in (
            (zip_bytes(value, leave_out=["archive/data/3"]), "'archive/data/3' is missing"),
            (zip_bytes(value, leave_out=["archive/data.pkl"]), "no data.pkl"),
            (zip_bytes(value, compression=zipfile.ZIP_DEFLATED), "is compressed"),
            (zip_of({"archive/data.pkl": bytes(1 << 26)}, zipfile.ZIP_DEFLATED), "is compressed"),
            (zip_of({"a/data.pkl": b"N.", "b/data.pkl": b"N."}), "no data.pkl in its one folder"),
            (zip_of({"archive/data.pkl": b"N.", "archive/constants.pkl": b"N."}), "TorchScript"),
            (zip_of({"archive/data.pkl": b"N.", "archive/byteorder": b"middle"}), "byte order"),
            (
                zip_bytes(value, byteorder="little").replace(b"archive/data/1", b"archive/data/2"),
                "twice",
            ),
            (whole[:-30], "damaged or truncated"),
            (whole[: len(whole) // 2], "damaged or truncated"),
            (whole[:4], "damaged or truncated"),
            (b"PK\x05\x06" + bytes(18), "no data.pkl"),
            (
                whole.replace(values_of(Checkpoint().parts["image"]["fc.bias"]), bytes(16), 1),
                "wrong checksum",
            ),
            (whole.replace(b"best_rsum", b"best_xxxx", 1), "data.pkl has a wrong checksum"),
        ):
            with self.subTest(pattern):
                self.assert_refused(pattern, content)
        # A directory entry that points elsewhere or says another size.
        at = whole.rindex(b"PK\x01\x02")
        for offset, layout, number, pattern in (
            (42, "<I", 7, "has no header"),
            (24, "<I", 1 << 30, "is compressed"),
        ):
            first = whole.index(b"PK\x01\x02")
            self.assertLess(first, at)
            changed = bytearray(whole)
            struct.pack_into(layout, changed, first + offset, number)
            self.assert_refused(pattern, bytes(changed))
        changed = bytearray(whole)
        first = whole.index(b"PK\x01\x02")
        struct.pack_into("<II", changed, first + 20, 1 << 30, 1 << 30)
        self.assert_refused("reaches behind the end", bytes(changed))
        # An entry with another size than its tensor's.
        encoded, _ = pickled(value, legacy=False)
        self.assert_refused(
            "has 3 bytes where", zip_of({"archive/data.pkl": encoded, "archive/data/0": b"abc"})
        )

    def test_no_checkpoint_at_all(self):
        state = collections.OrderedDict(Checkpoint().parts["image"])
        for content, pattern in (
            (b"", "the file is empty"),
            (b"hello, world", "no torch checkpoint"),
            (bytes(300), "no torch checkpoint"),
            (bytes(257) + b"ustar" + bytes(300), "tar archive"),
            (pickle.dumps({"model": 1}, 2), "without torch's magic number"),
            (LEGACY_HEADER, "truncated"),
            (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(7, 2), "version is 7"),
            (zip_bytes(state), "no DIME checkpoint: it has no entry 'model'"),
            (zip_bytes([1, 2]), "no DIME checkpoint"),
            (zip_bytes({"model": state}), "a list of three state dicts"),
            (zip_bytes({"model": [state] * 3}), "does not say its direction"),
            (
                zip_bytes({"model": [state, state, 3], "opt": {"direction": "i2t"}}),
                "the interaction state dict is 3, not a state dict",
            ),
            (
                zip_bytes({"model": [{"a": 1}, state, state], "opt": {"direction": "i2t"}}),
                "holds 'a': 1, not a named tensor",
            ),
        ):
            with self.subTest(pattern):
                self.assert_refused(pattern, content)
        self.assert_fails("Is a directory", self.folder, "--out", self.out, lines=None)

    def test_bombs_stay_within_a_small_memory(self):
        """In a process of its own with 600 MB of address space, so that a bomb would show."""
        deep = b"\x85" * 400_000
        doubling = b"N" + b"2\x86" * 200_000  # a tuple of 2^200000 leaves
        pairs = (
            b"]("
            + (text("k") + b"N\x86") * 50_000
            + b"eq\0"
            + (b"0" + ORDERED_DICT + b"h\0\x85R") * 5000
        )
        bombs = {
            "memo index": (program(b"Nr\xff\xff\xff\xff"), "no DIME checkpoint"),
            "bytes of 2^62": (program(b"\x8e" + struct.pack("<Q", 1 << 62)), "truncated"),
            "text of 2^32": (program(b"X\xff\xff\xff\xff"), "truncated"),
            "text of 2^63": (program(b"\x8d" + b"\xff" * 8), "truncated"),
            "integer of 2^31": (program(b"\x8b\xff\xff\xff\x7f"), "integer of 2147483647 bytes"),
            "frame of 2^63": (program(b"\x95" + b"\xff" * 8), "empty stack"),
            "many operations": (b"}" * 30_000_000, "over 1000000 operations"),
            "many marks": (b"(" * 30_000_000, "over 1000000 operations"),
            "nested": (program(b"N" + deep), "no DIME checkpoint"),
            "doubling": (program(doubling), "no DIME checkpoint"),
            "doubling as a key": (program(b"}" + doubling + b"Ns"), "dictionary key"),
            "repeated copies": (program(pairs), "over 1000000 operations"),
            "itself": (program(b"]q\0h\0a"), "no DIME checkpoint"),
        }
        paths, due = [], []
        for index, (name, (encoded, pattern)) in enumerate(bombs.items()):
            for form, content in zip(("legacy", "zip"), wrapped(encoded)):
                paths.append(self.write(f"{index}-{form}", content))
                due.append((f"{name}, {form}", pattern))
        huge_directory = zip_of({"archive/data.pkl": b"N."})
        paths.append(
            self.write(
                "directory",
                huge_directory[:4]
                + b"PK\x01\x02" * 3_000_000
                + struct.pack("<4s4HLLH", b"PK\x05\x06", 0, 0, 1, 1, 12_000_000, 4, 0),
            )
        )
        due.append(("huge directory", "zip directory is larger"))
        driver = (
            "import importlib.util, resource, sys\n"
            "sys.dont_write_bytecode = True\n"
            "resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))\n"
            "spec = importlib.util.spec_from_file_location('script', sys.argv[1])\n"
            "script = importlib.util.module_from_spec(spec)\n"
            "spec.loader.exec_module(script)\n"
            "for path in sys.argv[3:]:\n"
            "    print('==', file=sys.stderr)\n"
            "    print(script.main([path, '--out', sys.argv[2]]))\n"
        )
        result = subprocess.run(
            [sys.executable, "-c", driver, str(SCRIPT), str(self.out), *map(str, paths)],
            capture_output=True,
            text=True,
            timeout=240,
        )
        self.assertEqual(result.stdout.split(), ["1"] * len(paths), result.stderr[-2000:])
        for (name, pattern), errors in zip(due, result.stderr.split("==\n")[1:]):
            with self.subTest(name):
                self.assertRegex(errors.splitlines()[-1], "^error: .*" + pattern)

        for name in ("8-zip", "9-zip", "12-zip"):  # nested, doubling, itself
            code, output, _ = self.run_main(self.folder / name, "--inspect")
            self.assertEqual(code, 0)
            self.assertLess(len(output.splitlines()), 1_000_000)

    def test_damaged_anywhere(self):
        """Flipped bytes and cut ends: an error or a conversion, never an exception."""
        generator = random.Random(5)
        value = Checkpoint(bert_seed=None).value()
        (self.bert / "pytorch_model.bin").write_bytes(
            zip_bytes(dict(random_tensors(bert_shapes(), 7)))
        )
        for content in (zip_bytes(value), legacy_bytes(value)):
            pickle_end = content.index(b"Eiters") + 20
            ends = 0
            for trial in range(250):
                damaged = bytearray(content)
                if trial % 5 == 0:
                    del damaged[generator.randrange(len(damaged)) :]
                else:
                    for _ in range(generator.choice((1, 1, 2, 8))):
                        # Most in the pickle, some in the zip directory and the storages.
                        limit = pickle_end if trial % 5 != 1 else len(damaged)
                        damaged[generator.randrange(limit)] = generator.randrange(256)
                if content[:2] == b"PK" and trial % 5 > 1:
                    damaged = mended_checksum(content, damaged)
                path = self.write("in.pth.tar", bytes(damaged))
                code, _, errors = self.run_main(
                    path, "--bert", self.bert, "--out", self.out, "--force"
                )
                self.assertIn(code, (0, 1), trial)
                self.assertEqual(code == 1, "error: " in errors)
                self.assertIn(self.run_main(path, "--inspect")[0], (0, 1), trial)
                ends += code
            self.assertGreater(ends, 100)


def mended_checksum(original, damaged):
    """The zip with its first entry's bytes out of `damaged`, checksums made right again."""
    with zipfile.ZipFile(io.BytesIO(original)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    info_bytes = 30 + len("archive/data.pkl")
    entries["archive/data.pkl"] = bytes(
        damaged[info_bytes : info_bytes + len(entries["archive/data.pkl"])]
    )
    return zip_of(entries)


class InspectTest(ConverterTest):
    def test_lists_tensors_and_options(self):
        for content, form in (
            (zip_bytes(Checkpoint().value()), "zip form"),
            (legacy_bytes(Checkpoint().value()), "legacy form"),
        ):
            path = self.write("a.pth.tar", content)
            code, output, errors = self.run_main(path, "--inspect")
            self.assertEqual((code, errors), (0, ""))
            lines = output.splitlines()
            self.assertIn(form, lines[0])
            for line in (
                "  epoch: 3",
                "  model/[0]/fc.weight: float32 [4, 6]",
                "  model/[0]/bn.num_batches_tracked: int64 []",
                "  model/[1]/bert.embeddings.word_embeddings.weight: float32 [9, 8]",
                "  opt/direction: 'i2t'",
                "  opt/lambda_softmax_CMRC: 5",
            ):
                self.assertIn(line, lines)
            self.assertRegex(lines[-1], r"in all: \d+ tensors, \d+ elements")
        self.assertEqual(self.run_main(path, "--inspect", "--out", "x")[0], 2)


@unittest.skipUnless(
    FIXTURES.is_dir(), f"the published-form checkpoints in {FIXTURES} are not here"
)
class PublishedFormTest(ConverterTest):
    """The reference checkpoints, read here by the pickle module with stand-in classes."""

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            if name.endswith("Storage"):
                return name
            if name == "_rebuild_tensor_v2":
                return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
            return {"OrderedDict": collections.OrderedDict, "Namespace": argparse.Namespace}[name]

        def persistent_load(self, identifier):
            return identifier[1:5]

    def read_value(self, path):
        """(the object, storage key -> bytes)"""
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = {name.split("/", 1)[1]: name for name in archive.namelist()}
                value = self.Reader(io.BytesIO(archive.read(names["data.pkl"]))).load()
                return value, {
                    name[5:]: archive.read(names[name])
                    for name in names
                    if name.startswith("data/")
                }
        with open(path, "rb") as file:
            for _ in range(3):
                self.Reader(file).load()
            value = self.Reader(file).load()
            storages = {}
            for key in self.Reader(file).load():
                (count,) = struct.unpack("<q", file.read(8))
                storages[key] = (count, file)
                # The element type is known from the tensors alone: find it there.
                kind = next(kind for kind, name in self.kinds(value) if name == key)
                storages[key] = file.read(count * (8 if kind == "LongStorage" else 4))
            return value, storages

    def kinds(self, value):
        states = value["model"] if "model" in value else [value]
        return [(entry[0][0], entry[0][1]) for state in states for entry in state.values()]

    def contiguous_tensors(self, state, storages):
        result = {}
        for name, ((kind, key, _, _), offset, shape, strides) in state.items():
            self.assertEqual(tuple(strides), contiguous(shape), name)
            item = 8 if kind == "LongStorage" else 4
            count = math.prod(shape)
            result[name] = (tuple(shape), storages[key][offset * item : (offset + count) * item])
        return result

    def test_every_tensor(self):
        paths = [FIXTURES / "i2t.pth.tar", FIXTURES / "t2i.pth.tar"]
        self.bert = FIXTURES / "bert"
        self.convert(*paths)
        config = self.config()
        for path in paths:
            direction = path.name[:3]
            value, storages = self.read_value(path)
            image, text_part, interaction = (
                self.contiguous_tensors(state, storages) for state in value["model"]
            )
            due = {
                f"{part}.{name}": entry
                for part, state in (
                    ("image", image),
                    ("text", text_part),
                    ("interaction", interaction),
                )
                for name, entry in state.items()
                if not name.endswith("num_batches_tracked") and not name.startswith("bert.")
            }
            self.assertEqual(self.tensors(f"{direction}.safetensors"), due)
            settings = config["directions"][direction]
            bert = {
                name[5:]: entry for name, entry in text_part.items() if name.startswith("bert.")
            }
            self.assertEqual(self.tensors(settings["bert"] + "/model.safetensors"), bert)
            for key in (
                "embed_size",
                "img_dim",
                "num_head_IMRC",
                "hid_IMRC",
                "hid_router",
                "raw_feature_norm_CMRC",
                "lambda_softmax_CMRC",
                "no_imgnorm",
                "use_abs",
            ):
                self.assertEqual(settings[key], getattr(value["opt"], key), key)
        self.assertEqual(config["max_words"], 32)

    def test_bert_directory_alone(self):
        value, storages = self.read_value(FIXTURES / "bert" / "pytorch_model.bin")
        due = {
            name.replace("bert.", "").replace("gamma", "weight").replace("beta", "bias"): entry
            for name, entry in self.contiguous_tensors(value, storages).items()
        }
        weights = convert_checkpoint.BertDirectory(str(FIXTURES / "bert")).read_weights()
        read = {
            name: (entry.shape, b"".join(map(bytes, entry.float32_pieces())))
            for name, entry in weights.tensors.items()
        }
        self.assertEqual(read, due)


if __name__ == "__main__":
    unittest.main()
