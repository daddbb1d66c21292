"""Five of the networks of `hebb bench` in JAX, from the weights of PyTorch's state dict: in JAX's own layouts (images
N H W C, matrices that stand to the right of what they multiply), under PyTorch's names."""
import jax
import jax.numpy as jnp
import numpy
from safetensors.numpy import load_file


def linear(p, name, x):
    return x @ p[f"{name}.weight"] + p[f"{name}.bias"]


def mlp(activation):
    def network(p, x):
        for name in (0, 2):
            x = activation(linear(p, name, x))
        return linear(p, 4, x)

    return network


def lenet(p, x):
    for name, padding in (("c1", "SAME"), ("c2", "VALID")):
        x = jax.lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), padding,
                                         dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + p[f"{name}.bias"])
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = x.reshape(x.shape[0], -1)
    for name in ("f1", "f2"):
        x = jax.nn.relu(linear(p, name, x))
    return linear(p, "f3", x)


def char_lstm(p, x):
    y = p["e.weight"][x].transpose(1, 0, 2)  # [steps, batch, features]
    for k in (0, 1):
        weight, bias = p[f"l.weight_hh_l{k}"], p[f"l.bias_hh_l{k}"]

        def cell(carry, inputs):
            hidden, memory = carry
            i, f, g, o = jnp.split(inputs + hidden @ weight + bias, 4, axis=-1)
            memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(memory)
            return (hidden, memory), hidden

        zero = jnp.zeros((y.shape[1], weight.shape[0]), y.dtype)
        y = jax.lax.scan(cell, (zero, zero), y @ p[f"l.weight_ih_l{k}"] + p[f"l.bias_ih_l{k}"])[1]
    return linear(p, "o", y.transpose(1, 0, 2).reshape(-1, y.shape[-1]))


def layer_norm(p, name, x):
    x = x - x.mean(-1, keepdims=True)
    x = x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5)
    return x * p[f"{name}.weight"] + p[f"{name}.bias"]


def char_transformer(p, x, heads=8, layers=4):
    y = p["e.weight"][x] + p["p"]
    for b in (f"b.{k}" for k in range(layers)):
        z = layer_norm(p, f"{b}.norm1", y) @ p[f"{b}.self_attn.in_proj_weight"] + p[f"{b}.self_attn.in_proj_bias"]
        q, k, v = jnp.split(z.reshape(*y.shape[:2], 3 * heads, -1), 3, axis=2)  # [batch, steps, heads, features]
        z = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(y.shape)
        y = y + linear(p, f"{b}.self_attn.out_proj", z)
        z = jax.nn.gelu(linear(p, f"{b}.linear1", layer_norm(p, f"{b}.norm2", y)), approximate=False)
        y = y + linear(p, f"{b}.linear2", z)
    return linear(p, "o", y.reshape(-1, y.shape[-1]))


def squared_error(outputs, y):
    return jnp.mean((outputs - y) ** 2)


def cross_entropy(outputs, y):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(outputs), y[:, None], 1))


# An optimizer: the state to begin with, and the rule (weights, state, gradients) -> (weights, state).

def sgd(lr):
    return lambda p: (), lambda p, s, g: (jax.tree.map(lambda p, g: p - lr * g, p, g), s)


def momentum(lr=0.01, factor=0.9):
    def update(p, velocity, g):
        velocity = jax.tree.map(lambda v, g: factor * v + g, velocity, g)
        return jax.tree.map(lambda p, v: p - lr * v, p, velocity), velocity

    return lambda p: jax.tree.map(jnp.zeros_like, p), update


def adam(lr=1e-3, b1=0.9, b2=0.999, eps=1e-8):
    def update(p, s, g):
        m, v, t = s[0], s[1], s[2] + 1
        m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, g)
        v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, g)
        c1, c2 = (-jnp.expm1(t * numpy.log(b)) for b in (b1, b2))  # 1 - b^t, without cancellation
        p = jax.tree.map(lambda p, m, v: p - lr / c1 * m / (jnp.sqrt(v) / jnp.sqrt(c2) + eps), p, m, v)
        return p, (m, v, t)

    def zeros(p):
        return jax.tree.map(jnp.zeros_like, p)

    return lambda p: (zeros(p), zeros(p), jnp.float32(0)), update


# name: network, loss, optimizer
WORKLOADS = {
    "playground-mlp": (mlp(jnp.tanh), squared_error, sgd(0.03)),
    "mlp-mnist-b128": (mlp(jax.nn.relu), cross_entropy, adam()),
    "lenet-b64": (lenet, cross_entropy, momentum()),
    "charlstm-b32-t64": (char_lstm, cross_entropy, adam()),
    "transformer-b16-t128": (char_transformer, cross_entropy, adam()),
}


def turned(key, value, name):
    """A weight of PyTorch's in JAX's layout."""
    if name == "lenet-b64" and key == "f1.weight":  # its inputs come as 5x5x16, not 16x5x5
        return value.reshape(120, 16, 5, 5).transpose(2, 3, 1, 0).reshape(400, 120)
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return value.T if value.ndim == 2 and key not in ("e.weight", "p") else value


def start(name, folder):
    """The training step (state, x, y) -> (state, loss), and the state, x and y to begin with."""
    network, loss_of, (init, update) = WORKLOADS[name]
    p = {key: jnp.array(turned(key, value, name)) for key, value in load_file(folder / "weights.safetensors").items()}
    x, y = (numpy.load(folder / f"{k}.npy") for k in "xy")
    x = jnp.array(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)

    def step(state, x, y):
        p, s = state
        loss, g = jax.value_and_grad(lambda p: loss_of(network(p, x), y))(p)
        return update(p, s, g), loss

    return step, (p, init(p)), x, jnp.array(y)
