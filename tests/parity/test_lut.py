"""Look-up-table weights against independent PyTorch versions, written from their definition with autograd."""

import os
import pathlib
import subprocess

import pytest
import safetensors.torch
import torch

PROGRAM = os.environ.get("ISOGRID_PARITY_LUT",
                         str(pathlib.Path(__file__).resolve().parents[2] / "build/bin/parity_lut"))
POSITIVE16 = [0.06689453125, 0.2001953125, 0.33349609375, 0.466796875, 0.60009765625, 0.7333984375, 0.86669921875, 1]


def uniform(bits):
    positive = POSITIVE16 if bits == 4 else [0.33349609375, 1]
    return torch.tensor([-v for v in reversed(positive)] + positive, dtype=torch.float64)


class Half(torch.autograd.Function):
    """Rounded to float16 going forward, not at all going back."""

    @staticmethod
    def forward(context, tensor):
        return tensor.clamp(-65504, 65504).half().to(tensor.dtype)

    @staticmethod
    def backward(context, gradient):
        return gradient


class Round(torch.autograd.Function):
    @staticmethod
    def forward(context, tensor):
        return tensor.round()

    @staticmethod
    def backward(context, gradient):
        return gradient


@pytest.fixture
def ask(tmp_path):
    def run(op, **tensors):
        stored = {name: torch.tensor(value) if isinstance(value, int) else value.detach().contiguous()
                  for name, value in tensors.items()}
        safetensors.torch.save_file(stored, tmp_path / "in.safetensors")
        done = subprocess.run([PROGRAM, op, tmp_path / "in.safetensors", tmp_path / "out.safetensors"],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return safetensors.torch.load_file(tmp_path / "out.safetensors")

    return run


def gap(got, reference):
    """Largest difference over the largest value."""
    largest = reference.abs().max().item()
    return (got - reference).abs().max().item() / max(largest, 1e-300)


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer(rows, columns, rank, bits, seed=0):
    codes = torch.randint(2**bits, (rows, columns), generator=torch.Generator().manual_seed(seed))
    return {"codes": codes.to(torch.uint8), "lut": uniform(bits), "scale_A": 3 * random(seed + 1, rows, rank),
            "scale_B": random(seed + 2, rank, columns), "rank_magnitude": 5 * random(seed + 3, rank)}


def ladder(logits, top=1.0):
    """Eight steps upwards, each at least two float16 units of the top, mirrored."""
    least = max(2 * 2 ** (torch.tensor(top).log2().ceil().item() - 10), 1e-4)
    steps = least + (top - len(logits) * least) * logits.softmax(0)
    positive = steps.cumsum(0)
    return Half.apply(torch.cat([-positive.flip(0), positive]))


def directions(parts):
    a, b = parts["scale_A"], parts["scale_B"]
    return (a / a.norm(dim=0, keepdim=True).clamp_min(1e-6), b / b.norm(dim=1, keepdim=True).clamp_min(1e-6))


def v2_weight(parts, table):
    a, b = directions(parts)
    return table[parts["codes"].long()] * ((a * parts["rank_magnitude"]) @ b)


SHAPES = [(5, 7, 1, 2), (40, 33, 4, 4), (96, 130, 8, 2), (300, 72, 32, 4)]


def trained(parts, *names):
    return {name: tensor.clone().requires_grad_() if name in names else tensor for name, tensor in parts.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_v2_weight_and_gradients(ask, shape):
    parts = trained(layer(*shape), "scale_A", "scale_B", "rank_magnitude", "lut")
    d_weight = random(9, *shape[:2])
    weight = v2_weight(parts, parts["lut"])
    weight.backward(d_weight)
    got = ask("v2", d_weight=d_weight, **parts)
    assert gap(got["weight"], weight.detach()) <= 1e-12
    for name in ("scale_A", "scale_B", "rank_magnitude", "lut"):
        assert gap(got["d_" + name], parts[name].grad) <= 1e-12, name


@pytest.mark.parametrize("shape", SHAPES)
def test_v2_in_float32(ask, shape):
    parts = trained(layer(*shape), "scale_A", "scale_B", "rank_magnitude", "lut")
    d_weight = random(9, *shape[:2])
    weight = v2_weight(parts, parts["lut"])
    weight.backward(d_weight)
    narrow = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in parts.items()}
    got = ask("v2", d_weight=d_weight.float(), float32=1, **narrow)
    assert gap(got["weight"], weight.detach()) <= 2e-6
    for name in ("scale_A", "scale_B", "rank_magnitude", "lut"):
        assert gap(got["d_" + name], parts[name].grad) <= 1e-5, name


@pytest.mark.parametrize("bits", [2, 4])
def test_trained_table(ask, bits):
    parts = layer(24, 40, 4, bits)
    logits = random(5, 2**bits // 2).requires_grad_()
    d_weight = random(9, 24, 40)
    weight = v2_weight(parts, ladder(logits))
    weight.backward(d_weight)
    got = ask("v2", d_weight=d_weight, lut_logits=logits, **parts)
    assert gap(got["weight"], weight.detach()) <= 1e-12
    assert gap(got["d_lut_logits"], logits.grad) <= 1e-12
    assert torch.equal(got["lut"], ladder(logits).detach())


@pytest.mark.parametrize("forward", [1, 2])
def test_rank_by_rank_forward_in_float16_steps(ask, forward):
    parts = layer(30, 48, 6, 2)
    x = random(4, 5, 48)
    a, b = directions(parts)
    g = Half.apply(parts["rank_magnitude"])
    values = parts["lut"][parts["codes"].long()]
    if forward == 1:
        y = torch.zeros(5, 30, dtype=torch.float64)
        for k in range(6):
            product = Half.apply(Half.apply(x * Half.apply(b[k])) @ values.T)
            y = Half.apply(y + product * Half.apply(a[:, k] * g[k]))
    else:
        scaled = Half.apply(x[:, None, :] * Half.apply(b)[None])
        products = Half.apply(scaled @ values.T)
        y = Half.apply((products * Half.apply((a * g).T)[None]).sum(1))
    got = ask("v2", x=x, half=1, forward=forward, **parts)
    # A sum in another order may fall on the other side of a float16 tie here and there.
    assert gap(got["product"], y) <= 2e-3
    assert (got["product"] != y).double().mean() <= 0.05


def v1_codes(latent, scales, bits):
    unit = (latent / scales).clamp(-1, 1)
    return ((unit + 1) / (2 / (2**bits - 1))).round().long()


def v1_parts(rows, columns, rank, bits):
    generator = torch.Generator().manual_seed(bits)
    return {"latent": 0.5 * random(1, rows, columns), "lut": uniform(bits),
            "scale_A": torch.rand(rows, rank, generator=generator, dtype=torch.float64) - 0.1,
            "scale_B": torch.rand(rank, columns, generator=generator, dtype=torch.float64) - 0.1}


@pytest.mark.parametrize("bits", [2, 4])
def test_v1_scales(ask, bits):
    parts = trained(v1_parts(40, 33, 4, bits), "scale_A", "scale_B", "lut")
    d_weight = random(9, 40, 33)
    scales = (parts["scale_A"] @ parts["scale_B"]).clamp_min(1e-8)
    weight = parts["lut"][v1_codes(parts["latent"], scales.detach(), bits)] * scales
    weight.backward(d_weight)
    got = ask("v1", d_weight=d_weight, **parts)
    assert gap(got["weight"], weight.detach()) <= 1e-12
    for name in ("scale_A", "scale_B", "lut"):
        assert gap(got["d_" + name], parts[name].grad) <= 1e-12, name


def test_v1_weights(ask):
    parts = v1_parts(40, 33, 4, 4)
    d_weight = random(9, 40, 33)
    got = ask("v1", d_weight=d_weight, train_weights=1, **parts)
    assert torch.equal(got["d_latent"], d_weight)


@pytest.mark.parametrize("bits", [2, 4])
def test_balanced(ask, bits):
    latent, raw = (0.02 * random(1, 33, 65)).requires_grad_(), torch.tensor([-0.4], dtype=torch.float64).requires_grad_()
    low, high = 1 - 2 ** (bits - 1), 2 ** (bits - 1)
    clip = torch.nn.functional.softplus(raw) + 1e-8
    scale = clip * latent.detach().abs().max() / high
    weight = (Round.apply(latent / scale + 0.5).clamp(low, high) - 0.5) * scale
    d_weight = random(9, 33, 65)
    weight.backward(d_weight)
    got = ask("balanced", d_weight=d_weight, latent=latent, raw_clip=raw, bits=bits)
    assert gap(got["weight"], weight.detach()) <= 1e-12
    assert gap(got["d_latent"], latent.grad) <= 1e-12
    assert gap(got["d_raw_clip"], raw.grad) <= 1e-12


def test_start_from_the_largest_magnitudes(ask):
    """Scales of groups, the whole singular value decomposition, codes of the nearest value."""
    dense = random(1, 48, 90)
    groups = torch.nn.functional.pad(dense.abs(), (0, 6)).view(48, 6, 16).amax(2).clamp_min(1e-8)
    u, s, v = torch.linalg.svd(groups.repeat_interleave(16, 1)[:, :90], full_matrices=False)
    magnitudes = s[:4].clamp_min(max(0.01 * s[0].item(), 0.01)).half().double()
    scales = (u[:, :4] * magnitudes) @ v[:4]
    table = uniform(4)
    codes = ((dense / scales).clamp(-1, 1)[..., None] - table).abs().argmin(-1)
    got = ask("start_v2", dense=dense.float(), bits=4, rank=4, group=16, start=0, float32=1)
    weight = got["weight"].double()
    reference = table[codes] * scales
    # A weight halfway between two values may go either way in float32.
    assert ((weight - reference).abs() > 1e-4 * reference.abs().max()).double().mean() <= 2e-3


def test_v2_of_v1(ask):
    parts = v1_parts(64, 96, 4, 4)
    parts["scale_A"], parts["scale_B"] = parts["scale_A"] + 0.2, parts["scale_B"] + 0.2
    parts = {name: tensor.float() for name, tensor in parts.items()}
    v1 = ask("v1", float32=1, **parts)
    v2 = ask("v2_of_v1", float32=1, half=1, **parts)
    assert gap(v2["weight"].double(), v1["weight"].double()) <= 2e-3
