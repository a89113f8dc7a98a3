"""The containers of GPTQ, AWQ and compressed-tensors, from their specifications: random codes are packed here, and
the numbers they stand for are computed here, with no code of the libraries that made these formats."""

import torch

LINEARS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def stream(codes, bits):
    """Codes along the last dimension as a dense stream of bits, little end first, in 32-bit words."""
    places = torch.arange(bits)
    flat = ((codes[..., None] >> places) & 1).flatten(-2)
    flat = torch.nn.functional.pad(flat, (0, -flat.shape[-1] % 32)).unflatten(-1, (-1, 32))
    words = (flat.long() << torch.arange(32)).sum(-1)
    return (words - ((words >> 31) << 32)).to(torch.int32).contiguous()


def grid(outputs, inputs, bits, group, symmetric, scattered, scale_type, draw):
    """Codes [out, in], zero points and scales [out, groups], the group of each column, and the numbers."""
    groups = -(-inputs // group)
    codes = torch.randint(0, 2**bits, (outputs, inputs), generator=draw)
    scales = ((torch.rand(outputs, groups, generator=draw) + 0.2) / 2**bits / inputs**0.5 * 4).to(scale_type)
    zeros = torch.full((outputs, groups), 2 ** (bits - 1))
    if not symmetric:
        zeros = torch.randint(0, 2**bits, (outputs, groups), generator=draw)
    group_of = torch.arange(inputs) // group
    if scattered:
        group_of = group_of[torch.randperm(inputs, generator=draw)]
    numbers = (codes - zeros[:, group_of]).to(scale_type) * scales[:, group_of]
    return codes, zeros, scales, group_of, numbers


def gptq_tensors(name, codes, zeros, scales, group_of, bits, version, with_groups):
    stored = (zeros - 1) % 2**bits if version == 1 else zeros
    tensors = {f"{name}.qweight": stream(codes, bits).t().contiguous(), f"{name}.qzeros": stream(stored.t(), bits),
               f"{name}.scales": scales.t().contiguous()}
    if with_groups:
        tensors[f"{name}.g_idx"] = group_of.to(torch.int32)
    return tensors


def awq_words(codes):
    """[rows, outputs] -> [rows, outputs / 8]."""
    words = sum(codes.unflatten(-1, (-1, 8))[..., output].long() << (4 * place) for place, output in enumerate(AWQ_ORDER))
    return (words - ((words >> 31) << 32)).to(torch.int32).contiguous()


def awq_tensors(name, codes, zeros, scales):
    return {f"{name}.qweight": awq_words(codes.t()), f"{name}.qzeros": awq_words(zeros.t()),
            f"{name}.scales": scales.t().contiguous()}


def compressed_tensors(name, codes, zeros, scales, group_of, bits, symmetric, scattered):
    tensors = {f"{name}.weight_packed": stream(codes, bits), f"{name}.weight_scale": scales,
               f"{name}.weight_shape": torch.tensor(codes.shape)}
    if not symmetric:
        tensors[f"{name}.weight_zero_point"] = stream(zeros.t(), bits).t().contiguous()
    if scattered:
        tensors[f"{name}.weight_g_idx"] = group_of.to(torch.int32)
    return tensors
