"""GPTQ as its paper has it (Frantar et al. 2022, algorithm 1, with groups and act-order), a column at a time, in float32:
what the program's solver is compared with. Written from the algorithm, plain and slow."""

import torch


def second_moment(inputs):
    """2/N sum x x^T; the factor drops out of everything."""
    return 2.0 / len(inputs) * inputs.T @ inputs


def grid(values, bits, symmetric):
    """Scale and zero point of each row of values [out, columns]."""
    low, high = values.amin(1).clamp(max=0), values.amax(1).clamp(min=0)
    top = 2**bits - 1
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    nothing = (low == 0) & (high == 0)
    low, high = torch.where(nothing, -1.0, low), torch.where(nothing, 1.0, high)
    scale = (high - low) / top
    zero = torch.full_like(scale, 2 ** (bits - 1)) if symmetric else torch.round(-low / scale)
    return scale, zero


def quantise(weight, inputs, bits, group=-1, symmetric=True, order="stored", damping=0.01, block=128):
    """The numbers the rounded weight decodes to. order: stored | important (static groups) | scattered (act-order)."""
    w = weight.clone().float()
    columns = w.shape[1]
    group = columns if group == -1 else group
    h = second_moment(inputs.float())
    dead = h.diag() == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    fixed = [grid(w[:, first:first + group], bits, symmetric) for first in range(0, columns, group)]
    permutation = torch.arange(columns) if order == "stored" else h.diag().argsort(descending=True, stable=True)
    w, h = w[:, permutation], h[permutation][:, permutation]
    h.diagonal().add_(damping * h.diag().mean())
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    rounded = torch.zeros_like(w)
    for begin in range(0, columns, block):
        end = min(begin + block, columns)
        errors = torch.zeros(len(w), end - begin)
        for i in range(begin, end):
            if order == "important":
                scale, zero = fixed[permutation[i] // group]
            elif i % group == 0:
                scale, zero = grid(w[:, i:i + group], bits, symmetric)
            code = torch.clamp(torch.round(w[:, i] / scale) + zero, 0, 2**bits - 1)
            rounded[:, i] = scale * (code - zero)
            error = (w[:, i] - rounded[:, i]) / upper[i, i]
            w[:, i:end] -= error[:, None] * upper[i, i:end]
            errors[:, i - begin] = error
        w[:, end:] -= errors @ upper[begin:end, end:]
    return rounded[:, permutation.argsort()]


def layer_error(rounded, weight, inputs):
    """The mean squared length by which the layer's product is off."""
    return ((rounded.double() - weight.double()) @ inputs.double().T).square().sum().item() / len(inputs)
