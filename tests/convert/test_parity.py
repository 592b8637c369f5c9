"""Imported weights compute what transformers computes with them."""

import numpy as np
import peer_models as peers
import pytest

pytestmark = [pytest.mark.extra, pytest.mark.usefixtures("quick_compilation")]
TOLERANCE = 1e-4  # of the largest number, in float32


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 500.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
HEAD = {"head_dim": 8}
DECODERS = {
    "llama": ("Llama", {}),
    "llama3": ("Llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama_linear": (
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
    ),
    "mistral": ("Mistral", {"sliding_window": 4, **HEAD}),
    "qwen2": ("Qwen2", {}),
    "qwen2_yarn": ("Qwen2", {"rope_parameters": YARN}),
    "qwen3": ("Qwen3", HEAD),
    "gemma": ("Gemma", HEAD),
    "gemma2": ("Gemma2", {**HEAD, "sliding_window": 4, "query_pre_attn_scalar": 12}),
    "gemma3": (
        "Gemma3",
        {**HEAD, "sliding_window": 4, "num_hidden_layers": 7},
    ),
}
ENCODERS = {
    "clip": ("CLIPVision", {}),
    "siglip": ("SiglipVision", {}),
    "dinov2": ("Dinov2", {"mlp_ratio": 3}),
    "dinov2_giant": ("Dinov2", {"use_swiglu_ffn": True}),
    "dinov2_with_registers": ("Dinov2WithRegisters", {}),
    "aimv2": ("Aimv2Vision", {}),
    "aimv2_native": ("Aimv2Vision", {"is_native": True}),
}


def decoder(kind: str):
    name, more = DECODERS[kind]
    text = "Text" if name == "Gemma3" else ""
    settings = peers.settings(f"{name}{text}Config", **{**peers.TEXT, **more})
    return peers.made(f"{name}ForCausalLM", settings)


def encoder(kind: str):
    name, more = ENCODERS[kind]
    fields = {**peers.VISION, **more}
    if "Dinov2" in name:
        fields.pop("intermediate_size")
    settings = peers.settings(f"{name}Config", **fields)
    return peers.made(f"{name}Model", settings)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_gives_their_logits(tmp_path, kind):
    import torch

    theirs = decoder(kind)
    folder = peers.saved(theirs, tmp_path / "theirs")
    model, params = peers.imported(tmp_path / "ours", decoder=str(folder))
    ids = np.random.default_rng(0).integers(0, peers.IMAGE_ID, 12)
    ours = peers.logits(model, params, ids)
    with torch.no_grad():
        expected = theirs(input_ids=torch.tensor(ids)[None]).logits[0]
    assert peers.error(ours, expected) < TOLERANCE


def their_features(theirs, kind: str, layer: int, pixels):
    """Features of patches: the last layer's, normed, or an earlier one's."""
    import torch

    with torch.no_grad():
        out = theirs(pixel_values=pixels, output_hidden_states=True)
    special = {"clip": 1, "siglip": 0, "aimv2": 0, "aimv2_native": 0}.get(kind, 1)
    if kind == "dinov2_with_registers":
        special = 5
    hidden = out.last_hidden_state if layer == -1 else out.hidden_states[layer]
    if kind == "clip" and layer == -1:  # it norms the pooled token alone
        hidden = theirs.post_layernorm(hidden)
    return hidden[:, special:]


@pytest.mark.parametrize("layer", [-1, -2])
@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_gives_their_features(tmp_path, kind, layer):
    theirs = encoder(kind)
    folder = peers.saved(theirs, tmp_path / "theirs")
    wishes = peers.importing.Wishes(features=layer)
    request = {"encoder": str(folder), "wishes": wishes}
    model, params = peers.imported(tmp_path / "ours", **request)
    images = peers.image(2)
    ours = peers.features(model, params, images)
    expected = their_features(theirs, kind, layer, peers.pixels(images, model.vit))
    assert peers.error(ours, expected) < TOLERANCE


@pytest.mark.parametrize("kind", ["clip", "siglip", "dinov2", "dinov2_with_registers"])
def test_positions_are_resized_as_theirs_are(tmp_path, kind):
    import torch

    theirs, side = encoder(kind), 12
    folder = peers.saved(theirs, tmp_path / "theirs")
    wishes = peers.importing.Wishes(image_size=side)
    request = {"encoder": str(folder), "wishes": wishes}
    model, params = peers.imported(tmp_path / "ours", **request)
    images = peers.image(1, side)
    ours = peers.features(model, params, images)
    own = {} if "dino" in kind else {"interpolate_pos_encoding": True}
    with torch.no_grad():
        out = theirs(pixel_values=peers.pixels(images, model.vit), **own)
    expected = out.last_hidden_state[:, -((side // peers.PATCH) ** 2) :]
    if kind == "clip":
        expected = theirs.post_layernorm(expected)
    assert peers.error(ours, expected) < TOLERANCE


def llava(vision: str, layer: int):
    kinds = {"clip": "CLIPVisionConfig", "siglip": "SiglipVisionConfig"}
    settings = peers.settings(
        "LlavaConfig",
        vision_config=peers.settings(kinds[vision], **peers.VISION),
        text_config=peers.settings("LlamaConfig", **peers.TEXT),
        image_token_index=peers.IMAGE_ID,
        vision_feature_layer=layer,
        vision_feature_select_strategy="default" if vision == "clip" else "full",
    )
    return peers.made("LlavaForConditionalGeneration", settings)


def whole_logits(theirs, model, ids, images):
    import torch

    with torch.no_grad():
        return theirs(
            input_ids=torch.tensor(ids)[None],
            pixel_values=peers.pixels(images, model.vit),
        ).logits[0]


@pytest.mark.parametrize(
    ("vision", "layer"), [("clip", -2), ("clip", -1), ("clip", 1), ("siglip", -2)]
)
def test_a_whole_llava_gives_their_logits(tmp_path, vision, layer):
    theirs = llava(vision, layer)
    folder = peers.saved(theirs, tmp_path / "theirs")
    model, params = peers.imported(tmp_path / "ours", model=str(folder))
    ids, images = row(peers.PATCHES), peers.image(2)
    ours = peers.logits_with_images(model, params, ids, images)
    expected = whole_logits(theirs, model, ids, images)
    assert peers.error(ours, expected) < TOLERANCE


def row(tokens: int) -> np.ndarray:
    """Words, and two images of so many tokens among them."""
    image = [peers.IMAGE_ID] * tokens
    return np.array([1, 5, *image, 7, *image, 9, 11])


def test_a_paligemma_gives_the_logits_of_what_follows_its_image(tmp_path):
    import torch

    # Of one patch, which is all that its decoder reads in both directions.
    vision = {**peers.VISION, "image_size": peers.PATCH, "num_hidden_layers": 2}
    text = {**peers.TEXT, "head_dim": 8}
    settings = peers.settings(
        "PaliGemmaConfig",
        vision_config=peers.settings("SiglipVisionConfig", **vision),
        text_config=peers.settings("GemmaConfig", **text),
        image_token_index=peers.IMAGE_ID,
        projection_dim=24,
    )
    theirs = peers.made("PaliGemmaForConditionalGeneration", settings)
    request = {"model": str(peers.saved(theirs, tmp_path / "theirs"))}
    with pytest.raises(ValueError, match="use_bidirectional_attention=True: must be"):
        peers.imported(tmp_path / "ours", **request)
    request["allow"] = ["use_bidirectional_attention"]
    model, params = peers.imported(tmp_path / "ours", **request)
    ids, images = np.array([peers.IMAGE_ID, 1, 5, 7]), peers.image(1, peers.PATCH)
    ours = peers.logits_with_images(model, params, ids, images)
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(ids)[None],
            pixel_values=peers.pixels(images, model.vit),
            token_type_ids=torch.tensor([[0, 1, 1, 1]]),
            labels=torch.tensor(ids)[None],  # makes it read the rest in one direction
        ).logits[0]
    assert peers.error(ours, expected) < TOLERANCE
