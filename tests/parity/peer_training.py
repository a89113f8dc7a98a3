"""What transformers and PEFT make of the same training run: a plain loop that can be read in one go.

The settings are named as in a config of ours. Rows come as (input_ids, labels), the labels beside their own
tokens; a step's loss is the mean over all its labels, whatever the cut into micro-batches.
"""

import math

import models
import peft
import torch
import transformers
from transformers.optimization import Adafactor

FAMILIES = {"self_attn", "mlp"}


def train(folder, steps_rows, settings, adapter=None):
    """Trains on a list of steps, each a list of rows; returns one {loss, grad_norm, lr} a step and the model."""
    torch.manual_seed(0)
    model = load_base(folder, settings)
    if adapter:
        model = peft.PeftModel.from_pretrained(model, adapter, is_trainable=True)
    else:
        select(model, settings)
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(model, settings)
    scheduler = make_scheduler(optimizer, settings, len(steps_rows))
    records = []
    for rows in steps_rows:
        loss = backward(model, rows, settings)
        limit = settings.get("max_grad_norm", 1.0) or math.inf
        norm = torch.nn.utils.clip_grad_norm_(trained, limit)
        records.append({"loss": loss, "grad_norm": norm.item(), "lr": optimizer.param_groups[0]["lr"]})
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    return records, model.eval()


def load_base(folder, settings):
    """The base in float32, its linears in bitsandbytes' four or eight bits where the settings ask for them."""
    bits = settings.get("quantization_bit")
    if not bits:
        return models.load_reference(folder, torch.float32)
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=bits == 4, load_in_8bit=bits == 8, bnb_4bit_compute_dtype=torch.float32,
        bnb_4bit_quant_type=settings.get("quantization_type", "nf4"),
        bnb_4bit_use_double_quant=settings.get("double_quantization", True))
    return with_plain_products(transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", quantization_config=config, device_map="cpu"))


def with_plain_products(model):
    """Without the inference path of bitsandbytes that computes in bfloat16 where the processor can, whatever it is told."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def select(model, settings):
    """What trains without an adapter: everything, or the last (first) blocks."""
    model.requires_grad_(settings["finetuning_type"] == "full")
    if settings["finetuning_type"] != "freeze":
        return
    count, blocks = settings.get("freeze_trainable_layers", 2), model.model.layers
    parts = set(settings.get("freeze_trainable_modules", ["all"]))
    for block in blocks[-count:] if count > 0 else blocks[:-count]:
        for name, parameter in block.named_parameters():
            parameter.requires_grad_(parts == {"all"} or bool(parts & set(name.split("."))))
    for name, parameter in model.named_parameters():
        if set(settings.get("freeze_extra_modules", [])) & set(name.split(".")) and ".layers." not in name:
            parameter.requires_grad_(True)


def backward(model, rows, settings):
    """Adds the gradient of the step's mean loss, one row at a time, so that no row sees another."""
    count = sum(label != -100 for _, labels in rows for label in labels[1:])
    smoothing, total = settings.get("label_smoothing_factor", 0.0), 0.0
    for ids, labels in rows:
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].float()
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:]), reduction="sum",
                                                 label_smoothing=smoothing) / count
        loss.backward()
        total += loss.item()
    return total


def parameter_groups(model, settings):
    """Weights decay, norms and biases do not; with LoRA+ every B has a rate of its own."""
    rate, ratio = settings["learning_rate"], settings.get("loraplus_lr_ratio", 1.0)
    groups = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decays = not (name.endswith("bias") or "norm" in name)
        lr = rate * ratio if "lora_B" in name else rate
        groups.setdefault((lr, decays), []).append(parameter)
    # The plain rate first: it is the one that is logged.
    return [{"params": parameters, "lr": lr, "weight_decay": settings.get("weight_decay", 0.0) if decays else 0.0}
            for (lr, decays), parameters in sorted(groups.items(), key=lambda item: item[0][0])]


def make_optimizer(model, settings):
    groups, name = parameter_groups(model, settings), settings.get("optim", "adamw_torch_fused")
    rate = settings["learning_rate"]
    betas = (settings.get("adam_beta1", 0.9), settings.get("adam_beta2", 0.999))
    eps = settings.get("adam_epsilon", 1e-8)
    if name == "adamw_8bit":
        # The trainer of transformers keeps the moments of embeddings in 32 bits.
        whole = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
        return AdamW8bit(groups, rate, betas, eps, whole)
    if name == "adafactor":
        return Adafactor(groups, lr=rate, scale_parameter=False, relative_step=False)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate)
    if name == "lion":
        return Lion(groups, rate, betas)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=eps)


class Lion(torch.optim.Optimizer):
    """Symbolic Discovery of Optimization Algorithms (arXiv 2302.06675), algorithm 2."""

    def __init__(self, groups, lr, betas):
        super().__init__(groups, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                update = torch.sign(beta1 * momentum + (1 - beta1) * parameter.grad)
                parameter.sub_(group["lr"] * (update + group["weight_decay"] * parameter))
                momentum.mul_(beta2).add_(parameter.grad, alpha=1 - beta2)


class AdamW8bit(torch.optim.Optimizer):
    """The blockwise kernel of bitsandbytes for GPUs, written out: moments in eight bits, nearest code, blocks of 256.

    Its own path for processors takes another code than the nearest, so it is no reference for this.
    """

    BLOCK, FEWEST = 256, 4096

    def __init__(self, groups, lr, betas, eps, whole):
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})
        self.whole, self.steps, self.books = whole, 0, (code_book(True), code_book(False))

    @torch.no_grad()
    def step(self):
        self.steps += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, group)

    def update(self, parameter, group):
        (beta1, beta2), state = group["betas"], self.state[parameter]
        coded = parameter.numel() >= self.FEWEST and id(parameter) not in self.whole
        first, second = (self.decode(state[key]) if key in state else torch.zeros(parameter.numel()) for key in "mv")
        gradient = parameter.grad.flatten()
        first = first * beta1 + (1 - beta1) * gradient
        second = second * beta2 + (1 - beta2) * gradient * gradient
        root = math.sqrt(1 - beta2 ** self.steps)
        rate = group["lr"] * root / (1 - beta1 ** self.steps)
        parameter.sub_((rate * first / (second.sqrt() + root * group["eps"])).view_as(parameter))
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        state["m"] = self.encode(first, self.books[0]) if coded else first
        state["v"] = self.encode(second, self.books[1]) if coded else second

    def encode(self, values, book):
        blocks = torch.nn.functional.pad(values, (0, -len(values) % self.BLOCK)).view(-1, self.BLOCK)
        scale = blocks.abs().amax(1, keepdim=True)
        ratio = (blocks / scale.clamp_min(1e-38)).contiguous()
        codes = torch.searchsorted((book[1:] + book[:-1]) / 2, ratio)
        zero = int((book == 0).nonzero())
        codes[(codes == zero) & (ratio < 0)] -= 1  # a negative moment keeps its sign
        return book, codes, scale, len(values)

    @staticmethod
    def decode(state):
        if isinstance(state, torch.Tensor):
            return state
        book, codes, scale, count = state
        return (book[codes] * scale).flatten()[:count]


def code_book(signed):
    """bitsandbytes.functional.create_dynamic_map: seven decades, each with twice the values of the one below."""
    values = [torch.zeros(1), torch.ones(1)]
    for decade in range(7):
        edges = torch.linspace(0.1, 1, (2 ** decade if signed else 2 ** (decade + 1)) + 1)
        middle = 10.0 ** (decade - 6) * (edges[:-1] + edges[1:]) / 2
        values += [middle, -middle] if signed else [middle]
    return torch.cat(values).sort().values


def make_scheduler(optimizer, settings, steps):
    warmup = settings.get("warmup_steps", 0)
    warmup = math.ceil(warmup * steps) if warmup < 1 else int(warmup)
    name, numbers = settings.get("lr_scheduler_type", "linear"), dict(settings.get("lr_scheduler_kwargs", {}))
    if name == "warmup_stable_decay":
        # LLaMA-Factory's cut: a third of what follows the warm-up is stable.
        stable = (steps - warmup) // 3
        numbers = {"num_stable_steps": stable, "num_decay_steps": steps - warmup - stable, **numbers}
    if name == "constant":
        return transformers.get_scheduler(name, optimizer)
    return transformers.get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=steps,
                                      scheduler_specific_kwargs=numbers)


def write_adapter(folder, target, seed=5, **settings):
    """An adapter as PEFT writes it, with a B that is not zero (a zero B hides half of the maths)."""
    torch.manual_seed(seed)
    config = peft.LoraConfig(task_type="CAUSAL_LM", bias="none", **{
        "r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": "all-linear",
        "init_lora_weights": False, **settings})
    model = peft.get_peft_model(models.load_reference(folder, torch.float32), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_magnitude_vector" in name:
                parameter.mul_(torch.empty_like(parameter).uniform_(0.8, 1.2))
            elif "lora_B" in name:
                parameter.normal_(0.0, 0.1)
            elif "modules_to_save" in name:
                parameter.add_(torch.empty_like(parameter).normal_(0.0, 0.02))
    model.save_pretrained(target)
    return target


def load_adapter(folder, adapter):
    """PEFT's reading of an adapter of ours: every tensor it wants is there, and no other."""
    config = peft.PeftConfig.from_pretrained(adapter)
    model = peft.get_peft_model(models.load_reference(folder, torch.float32), config)
    loaded = peft.set_peft_model_state_dict(model, peft.load_peft_weights(str(adapter), device="cpu"))
    missing = [name for name in loaded.missing_keys if "lora_" in name or "modules_to_save" in name]
    assert not missing, missing
    assert not loaded.unexpected_keys, loaded.unexpected_keys
    return model.eval()


@torch.no_grad()
def logits(model, documents):
    return [model(input_ids=torch.tensor([ids])).logits[0].float() for ids in documents]
