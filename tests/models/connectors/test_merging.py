import connector_samples as samples
import jax
import jax.numpy as jnp
import numpy as np
import pytest


def merged(kind: str, tokens: int) -> np.ndarray:
    """What stands in each token before the linear layer: an identity in its place."""
    made = samples.model(kind, tokens=tokens, mlp_depth=1)
    inputs = 16 // tokens * samples.WIDTH
    made.decoder.width = inputs
    kernel = {"kernel": jnp.eye(inputs), "bias": jnp.zeros(inputs)}
    return np.asarray(samples.connect(made, {"mlp": {"down": kernel}}))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_token_is_its_square_row_by_row_then_column_by_column(k):
    side = 4 // k
    out = merged("pixel_shuffle", side**2)
    grid = np.asarray(samples.FEATURES).reshape(2, 3, 4, 4, 8)
    for row in range(side):
        for column in range(side):
            square = grid[:, :, row * k : (row + 1) * k, column * k : (column + 1) * k]
            np.testing.assert_allclose(
                out[:, :, row * side + column], square.reshape(2, 3, -1), rtol=1e-6
            )


@pytest.mark.parametrize("tokens", [4, 8, 16])
def test_a_token_is_a_run_of_patches_in_reading_order(tokens):
    out, run = merged("token_concat", tokens), 16 // tokens
    for token in range(tokens):
        patches = np.asarray(samples.FEATURES)[:, :, token * run : (token + 1) * run]
        np.testing.assert_allclose(
            out[:, :, token], patches.reshape(2, 3, -1), rtol=1e-6
        )


@pytest.mark.extra
def test_squares_are_those_of_smolvlm_and_internvl():
    torch = pytest.importorskip("torch")
    smolvlm = pytest.importorskip("transformers.models.smolvlm.modeling_smolvlm")
    internvl = pytest.importorskip("transformers.models.internvl.modeling_internvl")
    made = samples.model("pixel_shuffle", tokens=4)
    params = samples.noise(made)
    x = torch.tensor(np.asarray(samples.FEATURES[0]))
    shuffled = smolvlm.SmolVLMConnector.pixel_shuffle(None, x, 2)
    also = internvl.InternVLModel.pixel_shuffle(None, x.reshape(3, 4, 4, 8), 0.5)
    np.testing.assert_array_equal(shuffled, also.reshape(3, 4, 32))
    up, down = params["mlp"]["up"], params["mlp"]["down"]
    hidden = jax.nn.gelu(
        np.asarray(shuffled) @ up["kernel"] + up["bias"], approximate=False
    )
    np.testing.assert_allclose(
        samples.connect(made, params)[0],
        hidden @ down["kernel"] + down["bias"],
        rtol=1e-4,
        atol=1e-5,
    )
