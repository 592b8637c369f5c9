"""The rules of a config: each broken one is named, with its value."""

import pytest

from mmjax import config as config_lib
from mmjax import validation


def broken(**changes) -> str:
    """The message for the default config with fields set, by path with __ for dots."""
    config = config_lib.Config()
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = config
        for parent in parents:
            node = getattr(node, parent)
        assert hasattr(node, last)
        setattr(node, last, value)
    with pytest.raises(ValueError, match=r".") as error:
        validation.validate(config)
    return str(error.value)


def test_gradients_of_experts_and_of_8_bits_have_their_own_dtype_of_sums():
    message = broken(optim__reduce_dtype="float32", model__decoder__moe__experts=8)
    assert "optim.reduce_dtype='float32': must be 'model'" in message
    message = broken(optim__reduce_dtype="float32", model__vit__quantization="int8")
    assert "must be 'model' with model.vit.quantization='int8'" in message


def test_the_default_config_is_valid():
    validation.validate(config_lib.Config())


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("steps", 0, "config.steps=0: must be positive"),
        ("optim__peak_lr", -1.0, "optim.peak_lr=-1.0: must be positive"),
        ("model__z_loss", -1e-4, "model.z_loss=-0.0001: must not be negative"),
        ("mesh__data", 0, "mesh.data=0"),
        ("optim__moments_dtype", "float16", "'float16': must be one of bfloat16, f"),
        ("optim__reduce_dtype", "bfloat16", "'bfloat16': must be one of model, fl"),
        ("model__connector__kind", "resampler", "one of average_pool, c_abs"),
        ("model__dtype", "float16", "model.dtype='float16'"),
        ("model__vit__patch_size", 15, "must divide model.vit.image_size=378"),
        ("model__vit__width", 1278, "must be a multiple of 4"),
        ("model__vit__heads", 7, "model.vit.heads=7: must divide"),
        ("model__vit__attention", "blocked", "one of auto, cudnn, reference, splash"),
        ("model__vit__quantization", "fp4", "'fp4': must be one of none, int8, fp8"),
        ("model__decoder__quantization", "bf16", "decoder.quantization='bf16': must"),
        ("model__connector__remat", "some", "'some': must be one of none, dots"),
        ("model__splash__keys", 200, "model.splash.keys=200: must be a multiple of"),
        ("model__vit__norm", "batch", "'batch': must be one of layer, rms"),
        ("model__vit__embedding_norm", "all", "one of none, patches, tokens"),
        ("model__vit__positions", "rotary", "one of learned, fixed"),
        ("model__vit__position_resize", "area", "one of linear, cubic, torch_bicubic"),
        ("model__second_vit__activation", "relu", "model.second_vit.activation='relu'"),
        ("model__vit__features", 0, "must be between -32, the first layer, and -1"),
        ("model__vit__features", -33, "model.vit.features=-33: must be between -32"),
        ("model__vit__registers", -1, "model.vit.registers=-1: must not be negative"),
        ("model__vit__layer_scale", -1.0, "layer_scale=-1.0: must not be negative"),
        ("model__vit__mean", (0.5,), "model.vit.mean=(0.5,): must be three numbers"),
        ("model__vit__std", (0.5, 0.0, 1.0), "must be three positive numbers, one a"),
        ("model__objective__kind", "mae", "one of aim, contrastive, next_token"),
        ("model__objective__contrast__loss", "hinge", "one of sigmoid, softmax"),
        ("model__objective__contrast__pool", "max", "one of class_token, mean"),
        ("model__objective__contrast__block", 0, "contrast.block=0: must be positive"),
        ("init_parts", ("vit",), "init_parts=('vit',): needs init_from"),
        ("model__decoder__kv_heads", 3, "must divide model.decoder.heads=20"),
        ("model__decoder__head_size", 127, "must be even"),
        ("model__decoder__activation", "relu", "one of gelu_tanh, silu"),
        ("model__decoder__window", -1, "model.decoder.window=-1: must not be negative"),
        ("model__decoder__global_every", 2, "global_every=2: needs layers with a"),
        ("model__decoder__global_every", 1, "must be 0 or at least 2"),
        ("model__decoder__local_rope_theta", 1e4, "10000.0: needs layers with a"),
        ("model__decoder__logit_softcap", -1.0, "logit_softcap=-1.0: must not be"),
        ("model__decoder__rope_scaling__kind", "ntk", "linear, llama3, none, yarn"),
        ("model__decoder__rope_scaling__factor", 0.5, "factor=0.5: must be at least 1"),
        ("model__decoder__rope_scaling__slow", 4.0, "slow=4.0: must be less than"),
        ("data__row_tokens", 100, "must hold an image of 144 tokens"),
        ("model__preprocessing__resize", "stretch", "one of warp, crop, letterbox"),
        ("model__preprocessing__interpolation", "cubic", "one of area, bicubic"),
        ("model__preprocessing__tiling", "2x2", "'2x2': must be one of none, mm1, any"),
        ("model__preprocessing__grids", ((2, 2),), "must be empty with model.prepro"),
        ("model__decoder__moe__experts", 1, "moe.top_k=2: must not exceed"),
        (
            "model__decoder__moe__every",
            0,
            "model.decoder.moe.every=0: must be positive",
        ),
        ("model__decoder__moe__backend", "loop", "one of blocked, ragged_dot"),
        ("mesh__expert", 0, "mesh.expert=0: must be positive"),
        (
            "model__decoder__moe",
            config_lib.Moe(experts=8, every=33),
            "model.decoder.moe.every=33: must not exceed model.decoder.layers=32",
        ),
        ("model__loss_chunk", 500, "model.loss_chunk=500: must divide"),
        ("data__rows_per_pool", 15, "must divide data.rows_per_batch=512"),
        ("data__pool_capacity", 100, "must divide data.pool_capacity=100"),
        ("optim__accumulate", 5, "must divide pool groups of a batch (32)"),
        ("data__on_bad_record", "skip", "'skip': must be one of stop, mask"),
        ("data__max_bad_share", 1.5, "data.max_bad_share=1.5: must be at most 1"),
        ("data__max_bad_in_a_row", 0, "data.max_bad_in_a_row=0: must be positive"),
        ("data__open_timeout", 0.0, "data.open_timeout=0.0: must be positive"),
        ("mixture__weights", (45, 45), "needs one a source"),
        ("mixture__weights", (0, 0, 0), "not all 0"),
        ("mixture__weights", (45, 45, 10.0), "integers"),
        ("mixture__weights", (10**6, 1, 0), "at most 1000000"),
        ("data__sources", (), "need names"),
        (
            "data__sources",
            (config_lib.Source("a", synthetic=1.5),),
            "data.sources[0].synthetic=1.5: must be a share, 0 to 1",
        ),
        ("optim__warmup_steps", 200_001, "must not exceed steps=200000"),
        ("optim__frozen", ("(vit",), "not a regular expression"),
    ],
)
def test_a_broken_rule_names_field_value_and_rule(field, value, says):
    assert says in broken(**{field: value})


def test_fixed_positions_have_no_grid_of_their_own():
    message = broken(model__vit__positions="fixed", model__vit__position_grid=16)
    assert "model.vit.position_grid=16: must be 0 with fixed positions" in message


def test_a_second_encoder_has_the_grid_of_the_first_and_obeys_the_same_rules():
    other = config_lib.SecondViT(image_size=224, heads=7, enabled=True)
    message = broken(model__second_vit=other)
    assert "model.second_vit.heads=7: must divide model.second_vit.width" in message
    assert (
        "model.second_vit: 16 x 16 patches, must be as many as model.vit has, 27 x 27"
        in message
    )
    fits = config_lib.SecondViT(image_size=432, patch_size=16, enabled=True)
    model = config_lib.Model(second_vit=fits)
    validation.validate(config_lib.Config(model=model))
    off = config_lib.SecondViT(image_size=224, heads=7)
    validation.validate(config_lib.Config(model=config_lib.Model(second_vit=off)))


@pytest.mark.parametrize(
    ("kind", "tokens"), [("mlp", 144), ("average_pool", 143), ("pixel_shuffle", 144)]
)
def test_a_connector_says_how_many_tokens_it_can_make(kind, tokens):
    message = broken(model__connector__kind=kind, model__connector__tokens=tokens)
    assert f"model.connector.tokens={tokens}" in message


@pytest.mark.parametrize(
    ("tiling", "grids", "says"),
    [
        ("anyres", ((1, 2), (0, 1)), "grids=((1, 2), (0, 1)): must be pairs of rows"),
        ("anyres", ((1, 2, 3),), "must be pairs of rows and columns from 1 on"),
        ("anyres", ((1, 2), (1, 2)), "each different"),
        ("mm1", ((1, 2),), "grids=((1, 2),): the mm1 tiling has one grid of as many"),
        ("mm1", ((2, 2), (3, 3)), "the mm1 tiling has one grid of as many"),
    ],
)
def test_grids_that_a_tiling_cannot_have_are_refused(tiling, grids, says):
    preprocessing = config_lib.Preprocessing(tiling=tiling, grids=grids)
    message = broken(model__preprocessing=preprocessing)
    assert says in message


@pytest.mark.parametrize("tiling", ["none", "mm1"])
def test_margins_and_newlines_are_those_of_anyres(tiling):
    preprocessing = config_lib.Preprocessing(tiling=tiling, unpad=True, newline=True)
    message = broken(
        model__preprocessing=preprocessing, model__connector__kind="average_pool"
    )
    assert message.splitlines() == [
        f"model.preprocessing.{name}=True: needs model.preprocessing.tiling='anyres', "
        f"whose tiles are one picture; it is {tiling!r}"
        for name in ("unpad", "newline")
    ]


def test_a_row_must_hold_the_newlines_of_an_image_too():
    model = {
        "model__preprocessing": config_lib.Preprocessing(
            tiling="anyres", newline=True, unpad=True
        ),
        "model__connector__kind": "average_pool",
    }
    says = "data.row_tokens=720: must hold an image of 744 tokens (5 crops) and 2 more"
    assert says in broken(data__row_tokens=720, model__loss_chunk=720, **model)


def test_an_image_of_all_its_crops_must_fit_a_row_and_its_slots():
    preprocessing = config_lib.Preprocessing(tiling="mm1", grids=((4, 4),))
    message = broken(
        model__preprocessing=preprocessing, data__row_tokens=2048,
        data__max_images_per_row=16, data__pool_capacity=16,
    )  # fmt: skip
    assert message.splitlines() == [
        "data.row_tokens=2048: must hold an image of 2448 tokens (17 crops) and 2 more",
        "data.max_images_per_row=16: must be 0 or at least 17, the crops of an image",
        "data.pool_capacity=16: must be 0 or at least 17, the crops of an image",
    ]


def test_cross_attention_must_have_layers_room_and_whole_images():
    cross = config_lib.CrossAttention(every=40, row_images=4)
    message = broken(
        model__preprocessing=config_lib.Preprocessing(tiling="mm1"),
        model__decoder__cross_attention=cross,
    )
    name = "model.decoder.cross_attention"
    assert message.splitlines() == [
        f"{name}.every=40: must not exceed model.decoder.layers=32, or no layer "
        "attends to images",
        f"{name}.images='last': would see the last tile of an image alone, must be "
        "'all_before' with model.preprocessing.tiling='mm1'",
        f"{name}.row_images=4: must be 0 or at least 5, the crops of an image",
    ]
    message = broken(model__decoder__cross_attention__images="first")
    assert f"{name}.images='first': must be one of last, all_before" in message


def test_an_image_that_is_attended_to_takes_one_position_of_a_row():
    config = config_lib.Config()
    config.data.row_tokens = config.model.loss_chunk = 32
    with pytest.raises(ValueError, match="must hold an image of 144 tokens"):
        validation.validate(config)
    config.model.decoder.cross_attention.every = 4
    validation.validate(config)


def test_products_of_experts_are_not_quantized():
    experts = {"model__decoder__moe__experts": 4, "model__decoder__quantization": "fp8"}
    assert broken(**experts) == (
        "model.decoder.quantization='fp8': must be 'none' with "
        "model.decoder.moe.experts=4, whose products aren't quantized"
    )


def test_the_schedule_must_ascend():
    change = config_lib.WeightChange
    schedule = (change(20, (1, 0, 0)), change(10, (0, 1, 0)))
    assert "must ascend" in broken(mixture__schedule=schedule)


def test_all_broken_rules_are_listed_one_a_line():
    message = broken(steps=0, model__dtype="int8", mixture__weights=())
    assert len(message.splitlines()) >= 3


def test_tokens_of_a_row_on_several_devices_share_no_room_of_experts():
    config = config_lib.Config(mesh=config_lib.Mesh(data=1, context=2))
    config.model.decoder.moe = config_lib.Moe(experts=4, capacity_factor=0.0)
    validation.validate(config)
    config.model.decoder.moe.capacity_factor = 2.0
    rule = r"mesh\.context=2: must be 1 with model\.decoder\.moe\.capacity_factor"
    with pytest.raises(ValueError, match=rule):
        validation.validate(config)


def test_a_mesh_takes_all_remaining_devices():
    config = config_lib.Config(mesh=config_lib.Mesh(data=-1, fsdp=2, tensor=2))
    mesh = validation.resolve_mesh(config, 16)
    assert (mesh.data, mesh.fsdp, mesh.tensor) == (4, 2, 2)


def test_the_expert_axis_divides_the_experts():
    config = config_lib.Config(mesh=config_lib.Mesh(data=1, expert=-1))
    config.model.decoder.moe.experts = 6
    assert validation.resolve_mesh(config, 2).expert == 2
    with pytest.raises(ValueError, match=r"mesh.expert=4: must divide .*experts=6"):
        validation.resolve_mesh(config, 4)


@pytest.mark.parametrize(
    ("mesh", "devices", "says"),
    [
        (config_lib.Mesh(data=-1, fsdp=3), 8, "must multiply to the 8 devices"),
        (config_lib.Mesh(data=64), 64, "must divide pool groups of a microbatch=32"),
        (config_lib.Mesh(data=1, fsdp=32), 32, "must divide data.rows_per_pool=16"),
        (config_lib.Mesh(data=1, tensor=-1), 8, "mesh.tensor=8: must divide"),
        (config_lib.Mesh(data=1, expert=8), 8, "must be 1, as the decoder has no"),
        (
            config_lib.Mesh(data=16, expert=4),
            64,
            "mesh.data * mesh.expert=64: must divide pool groups of a microbatch=32",
        ),
        (
            config_lib.Mesh(data=1, fsdp=4, context=-1),
            32,
            "mesh.fsdp * mesh.tensor * mesh.context=32: must divide data.pool_multiple",
        ),
        (
            config_lib.Mesh(data=1, context=3),
            3,
            "2 * mesh.context=6: must divide data.row_tokens",
        ),
        (
            config_lib.Mesh(data=1, context=1024),
            1024,
            "mesh.context=1024: must divide model.loss_chunk=512",
        ),
    ],
)
def test_a_mesh_that_does_not_divide_is_refused_by_name(mesh, devices, says):
    with pytest.raises(ValueError, match=r"mesh") as error:
        validation.resolve_mesh(config_lib.Config(mesh=mesh), devices)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("tasks", "shots", "says"),
    [
        (("questions",), (0,), "evaluation.questions, which is empty"),
        (("pope",), (0,), "evaluation.tasks_root, which is empty"),
        (("pope",), (), "evaluation.shots=(): must be numbers of solved examples"),
        (("pope",), (0, -1), "evaluation.shots=(0, -1): must be numbers of solved"),
    ],
)
def test_tasks_that_cannot_be_asked_are_refused_by_name(tasks, shots, says):
    made = config_lib.Config(evaluation=config_lib.Evaluation(tasks=tasks, shots=shots))
    with pytest.raises(ValueError, match=r"evaluation") as error:
        validation.validate(made)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model__second_vit__enabled": True}, "disable model.second_vit"),
        ({"model__z_loss": 0.1}, "model.z_loss=0.1: must be 0"),
        (
            {"model__preprocessing__tiling": "mm1"},
            "model.preprocessing.tiling='mm1': must be 'none'",
        ),
        ({"model__decoder__moe__experts": 4}, "moe.experts=4: must be 0"),
        ({}, "makes no logits, set model.decoder.tied_embeddings=True"),
        (
            {"optim__accumulate": 2},
            "optim.accumulate=2: must be 1 with the contrastive",
        ),
        ({"evaluation__questions": "q"}, "evaluation.questions='q': must be empty"),
        (
            {"evaluation__tasks": ("pope",), "evaluation__tasks_root": "d"},
            "evaluation.tasks=('pope',): must be empty, the contrastive objective",
        ),
        (
            {"model__objective__contrast__pool": "class_token"},
            "needs an encoder that has one, model.vit.class_token=True",
        ),
        (
            {"model__objective__contrast__scale": 200.0},
            "contrast.scale=200.0: must be at most max_scale=100.0",
        ),
    ],
)
def test_a_contrastive_run_has_rules_of_its_own(fields, says):
    assert says in broken(model__objective__kind="contrastive", **fields)


def test_aim_needs_a_patch_to_predict():
    fields = {"image_size": 14, "patch_size": 14}
    fields = {f"model__vit__{name}": value for name, value in fields.items()}
    told = broken(model__objective__kind="aim", **fields)
    assert "'aim': needs images of at least 2 patches" in told
