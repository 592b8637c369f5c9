"""Whole LLaVA-NeXT checkpoints: their pixels, tokens and logits are transformers'."""

import dataclasses
import io
import json
import pathlib

import jax
import numpy as np
import peer_models as peers
import PIL.Image
import pytest
import weight_samples as samples

from data_pipelines import materialize, tokenizer
from data_pipelines.records import Image, Segment, Text
from mmjax import config as config_lib
from mmjax.config import Preprocessing
from mmjax.models import vlm

SIDE, PATCH = 12, 4  # 3 x 3 tokens a crop, so that margins are odd and even
GRIDS = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
OWN_GRIDS = ((1, 1), (2, 3), (1, 4))
SEEN = Preprocessing("warp", "bicubic", "anyres", unpad=True, newline=True)
TEXTS = [f"a photo of {n} small dogs and a cat, number {n * 7}." for n in range(300)]
# Width and height of the images of some documents.
DOCUMENTS = {
    "one": [(24, 24)],
    "wide and tall": [(50, 20), (13, 61)],
    "lines": [(90, 1), (1, 90), (7, 90), (90, 5)],
    "many": [(12, 12), (31, 30), (30, 31), (5, 5), (36, 12)],
}


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> tokenizer.Tokenizer:
    path = tmp_path_factory.mktemp("words") / "tokenizer.model"
    return tokenizer.train(TEXTS, path, 320)


def picture(number: int, width: int, height: int) -> PIL.Image.Image:
    rng = np.random.default_rng(number)
    return PIL.Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


def pictures(name: str) -> list[PIL.Image.Image]:
    return [picture(n, *size) for n, size in enumerate(DOCUMENTS[name])]


def document(images: list[PIL.Image.Image]) -> list[Segment]:
    """Texts with the images among them."""
    segments: list[Segment] = [Text("a cat")]
    for number, image in enumerate(images):
        file = io.BytesIO()
        image.save(file, "PNG")
        segments += [Image(file.getvalue(), *image.size), Text(f" number {number}")]
    return segments


def batch_of(model, words, segments):
    data = config_lib.Data(row_tokens=512, pool_multiple=1)
    config = config_lib.Config(model=model, data=data)
    return materialize.documents_batch(config, words, [segments], complete=False)


def our_logits(model, params, batch) -> np.ndarray:
    """Of the positions that are used, [T, V]."""
    outputs = jax.jit(vlm.build(model).apply)(params, batch)
    scores = np.asarray(outputs.hidden_ZRTD @ outputs.unembed_DV)[0, 0]
    return scores[batch.segments_ZRT[0, 0] > 0]


def their_processor(grids=GRIDS):
    module = pytest.importorskip(
        "transformers.models.llava_next.image_processing_pil_llava_next"
    )
    square = {"height": SIDE, "width": SIDE}
    points = [[rows * SIDE, columns * SIDE] for rows, columns in grids]
    return module.LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size=square, image_grid_pinpoints=points
    )


def their_model(words, vision: str = "clip", grids=GRIDS):
    kinds = {"clip": "CLIPVisionConfig", "siglip": "SiglipVisionConfig"}
    fields = {**peers.VISION, "image_size": SIDE, "patch_size": PATCH}
    text = {**peers.TEXT, "vocab_size": 384, "max_position_embeddings": 512}
    settings = peers.settings(
        "LlavaNextConfig",
        vision_config=peers.settings(kinds[vision], **fields),
        text_config=peers.settings("LlamaConfig", **text),
        image_token_index=words.image,
        image_grid_pinpoints=[[r * SIDE, c * SIDE] for r, c in grids],
        vision_feature_select_strategy="default" if vision == "clip" else "full",
    )
    return peers.made("LlavaNextForConditionalGeneration", settings)


def their_logits(theirs, processor, ids, images):
    import torch

    seen = processor(images, return_tensors="pt")
    with torch.no_grad():
        return theirs(
            input_ids=torch.tensor(ids)[None],
            pixel_values=seen["pixel_values"],
            image_sizes=seen["image_sizes"],
        ).logits[0]


@pytest.mark.extra
@pytest.mark.parametrize(
    ("vision", "grids", "names"),
    [("clip", GRIDS, [*DOCUMENTS]), ("siglip", OWN_GRIDS, ["many"])],
)
def test_a_whole_model_gives_their_logits(tmp_path, words, vision, grids, names):
    theirs, processor = their_model(words, vision, grids), their_processor(grids)
    folder = peers.saved(theirs, tmp_path / "theirs")
    processor.save_pretrained(folder)
    model, params = peers.imported(tmp_path / "ours", model=str(folder))
    own = () if grids == GRIDS else grids
    assert model.preprocessing == dataclasses.replace(SEEN, grids=own)
    for name in names:
        images = pictures(name)
        batch = batch_of(model, words, document(images))
        used = batch.segments_ZRT[0, 0] > 0
        ids = batch.tokens_ZRT[0, 0][used]
        expected = their_logits(theirs, processor, ids, images)
        ours = our_logits(model, params, batch)
        assert peers.error(ours, expected) < 1e-4, name


@pytest.mark.extra
@pytest.mark.parametrize("name", DOCUMENTS)
def test_tiles_are_those_of_their_processor_in_number_order_and_pixels(words, name):
    model = samples.llava(preprocessing=SEEN)
    model.vit.image_size, model.connector.tokens = SIDE, (SIDE // PATCH) ** 2
    images = pictures(name)
    batch = batch_of(model, words, document(images))
    processor = their_processor()
    made = processor(images, do_rescale=False, do_normalize=False, do_pad=False)
    counts = [len(of_image) for of_image in made["pixel_values"]]
    assert sum(counts) == batch.real_ZC.sum()
    expected = np.concatenate([np.asarray(x) for x in made["pixel_values"]])
    found = batch.pixels_ZChwc[0, : sum(counts)].transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, expected, atol=1)  # of 255, of rounding


def ours(folder: pathlib.Path, words, **fields) -> str:
    """A run of ours with random weights that LLaVA-NeXT can say."""
    model = samples.llava(preprocessing=dataclasses.replace(SEEN, **fields))
    model.decoder.vocab_size = 512
    source = samples.saved(folder, model)
    path = pathlib.Path(words.path)
    (folder / path.name).write_bytes(path.read_bytes())
    return source


@pytest.mark.extra
def test_an_export_is_loaded_with_its_processor_and_gives_our_logits(tmp_path, words):
    transformers = pytest.importorskip("transformers")
    import torch

    folder = samples.exported(tmp_path / "theirs", ours(tmp_path / "ours", words))
    kind = transformers.LlavaNextForConditionalGeneration
    theirs, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    processor = transformers.AutoProcessor.from_pretrained(folder)
    images = [picture(1, 33, 20), picture(2, 5, 40)]
    text = "<image>a photo of 3 dogs<image> and a cat"
    inputs = processor(
        images=images, text=text, return_tensors="pt", add_special_tokens=False
    )
    first, second = document(images)[1::2]
    segments = [first, Text("a photo of 3 dogs"), second, Text(" and a cat")]
    model, params = peers.loaded(tmp_path / "ours")
    batch = batch_of(model, words, segments)
    used = batch.segments_ZRT[0, 0] > 0
    ids = batch.tokens_ZRT[0, 0][used]
    assert inputs["input_ids"][0].tolist() == ids[1:].tolist()  # ours begin with BOS
    ones = {name: inputs[name] for name in ("pixel_values", "image_sizes")}
    with torch.no_grad():
        expected = theirs.eval()(input_ids=torch.tensor(ids)[None], **ones).logits[0]
    assert peers.error(our_logits(model, params, batch), expected) < 1e-4


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_whole_model_comes_back_bit_for_bit(tmp_path, dtype):
    for name, grids in (("usual", ()), ("own", OWN_GRIDS)):
        seen = dataclasses.replace(SEEN, grids=grids)
        model = samples.llava(preprocessing=seen)
        source = samples.saved(tmp_path / name, model, dtype)
        folder = samples.exported(tmp_path / f"{name}.theirs", source)
        back = tmp_path / f"{name}.back"
        samples.imported(back, model=str(folder))
        before, after = samples.stored(tmp_path / name), samples.stored(back)
        assert before.keys() == after.keys() > {"connector/newline"}
        for path, value in before.items():
            assert after[path].dtype == value.dtype
            np.testing.assert_array_equal(np.asarray(after[path]), np.asarray(value))
        assert config_lib.read_model(str(back)).preprocessing == seen


def processor_of(folder: pathlib.Path, **settings) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(settings))


@pytest.fixture
def theirs(tmp_path) -> pathlib.Path:
    """A LLaVA-NeXT's folder, as transformers leaves it."""
    source = samples.saved(tmp_path / "ours", samples.llava(preprocessing=SEEN))
    return samples.exported(tmp_path / "theirs", source)


def edit_tensor(folder: pathlib.Path, **changes) -> None:
    from safetensors import numpy as safetensors

    path = folder / "model.safetensors"
    tensors = {**safetensors.load_file(path), **changes}
    kept = {name: value for name, value in tensors.items() if value is not None}
    safetensors.save_file(kept, path)


@pytest.mark.parametrize(
    ("newline", "reason"),
    [
        (None, "connector/newline: is missing, looked for image_newline"),
        (
            np.zeros((2, 16), np.float32),
            r"connector/newline: shape \[2, 16\] of image_newline must be \[16\]",
        ),
    ],
)
def test_the_vector_that_ends_rows_must_be_there_and_fit(theirs, newline, reason):
    pytest.importorskip("safetensors")
    edit_tensor(theirs, image_newline=newline)
    with pytest.raises(ValueError, match=reason) as error:
        samples.imported(theirs.parent / "back", model=str(theirs))
    assert len(str(error.value).splitlines()) == 3  # the folder, the reason, the advice
    assert not (theirs.parent / "back").exists()


@pytest.mark.parametrize("points", [[[8, 12]], [[8]], "8x8", [[0, 8]], [[8.0, 8]]])
def test_grids_must_be_of_whole_tiles(theirs, points):
    samples.edit_settings(theirs, image_grid_pinpoints=points)
    with pytest.raises(ValueError, match="must be pairs of multiples of 8, the sides"):
        samples.imported(theirs.parent / "back", model=str(theirs))


def test_the_processor_must_have_the_models_grids(theirs):
    processor_of(theirs, image_grid_pinpoints=[[8, 16], [16, 8]])
    with pytest.raises(ValueError, match="the processor's differ from"):
        samples.imported(theirs.parent / "back", model=str(theirs))


@pytest.mark.parametrize(
    ("settings", "made"),
    [
        (
            {"size": {"shortest_edge": 8}, "do_center_crop": True},
            Preprocessing("crop", "bicubic"),
        ),
        ({"size": 8, "resample": 2}, Preprocessing("crop", "bilinear")),
        ({"size": {"height": 8, "width": 8}}, Preprocessing("warp", "bicubic")),
        (
            {"image_processor_type": "LlavaImageProcessor", "do_pad": True,
             "resample": 1},
            Preprocessing("letterbox", "lanczos"),
        ),
    ],
)  # fmt: skip
def test_a_llava_sees_images_as_its_processor_says(tmp_path, settings, made):
    source = samples.saved(tmp_path / "ours", samples.llava())
    folder = samples.exported(tmp_path / "theirs", source)
    samples.imported(tmp_path / "silent", model=str(folder))
    processor_of(folder, **settings)
    samples.imported(tmp_path / "back", model=str(folder))
    (folder / "processor_config.json").write_text(
        json.dumps({"image_processor": settings})
    )
    (folder / "preprocessor_config.json").unlink()
    samples.imported(tmp_path / "shared", model=str(folder))
    for name, expected in (
        ("silent", Preprocessing()), ("back", made), ("shared", made),
    ):  # fmt: skip
        found = config_lib.read_model(str(tmp_path / name)).preprocessing
        assert found == expected


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"resample": 0}, "resample=0: must be one of"),
        ({"do_resize": False}, "do_resize=False: must be True"),
        ({"size": {"shortest_edge": 8}, "do_center_crop": False}, "size=.*cropped"),
    ],
)
def test_a_processor_that_ours_is_not_is_refused_by_name(tmp_path, settings, reason):
    source = samples.saved(tmp_path / "ours", samples.llava())
    folder = samples.exported(tmp_path / "theirs", source)
    processor_of(folder, **settings)
    with pytest.raises(ValueError, match=reason):
        samples.imported(tmp_path / "back", model=str(folder))
    allow = [next(iter(settings))]
    samples.imported(tmp_path / "back", model=str(folder), allow=allow)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unpad": False}, "preprocessing.unpad=False: LLaVA-NeXT's is True"),
        ({"newline": False}, "preprocessing.newline=False: LLaVA-NeXT's is True"),
        ({"resize": "letterbox"}, "preprocessing.resize=letterbox: LLaVA-NeXT's is"),
    ],
)
def test_what_llava_next_cannot_say_is_refused(tmp_path, changes, reason):
    seen = dataclasses.replace(SEEN, **changes)
    source = samples.saved(tmp_path / "run", samples.llava(preprocessing=seen))
    with pytest.raises(ValueError, match=reason):
        samples.exported(tmp_path / "theirs", source)


def test_a_config_decides_how_images_are_seen_but_for_newlines(tmp_path, theirs):
    plain = samples.llava()
    with pytest.raises(ValueError, match=r"newline=False: the checkpoint's is True"):
        samples.imported(tmp_path / "a", model=str(theirs), target=plain)
    seen = dataclasses.replace(SEEN, interpolation="area")
    target = samples.llava(preprocessing=seen)
    samples.imported(tmp_path / "b", model=str(theirs), target=target)
    assert config_lib.read_model(str(tmp_path / "b")).preprocessing == seen


def test_a_llava_is_what_a_model_with_tiles_can_start_from(tmp_path):
    source = samples.saved(tmp_path / "ours", samples.llava())
    folder = samples.exported(tmp_path / "theirs", source)
    processor_of(folder, size=8)
    request = {"model": str(folder), "target": samples.llava(preprocessing=SEEN)}
    with pytest.raises(ValueError, match="connector/newline: is in no checkpoint of"):
        samples.imported(tmp_path / "back", **request)
    lines = samples.imported(tmp_path / "back", **request, allow=["connector/newline"])
    assert "  new, as allowed: connector/newline [16]" in lines
    assert "  preprocessing there: resize=crop, interpolation=bicubic" in lines
    before, after = samples.stored(tmp_path / "ours"), samples.stored(tmp_path / "back")
    assert after.keys() - before.keys() == {"connector/newline"}
