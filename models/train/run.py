"""Train `tiny`: `python -m quantswarm.models.train.run --out DIR [--steps N]`.

Muon for the matrices of the blocks, AdamW for the rest, a linear warm-up and a linear decay to
zero. A checkpoint every 50 steps lets an interrupted run continue; the finished folder is made by
`export` and is what the repository holds.
"""

from __future__ import annotations

import argparse
import platform
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from quantswarm.models.train import corpus
from quantswarm.models.train.card import write_card
from quantswarm.models.train.export import export
from quantswarm.models.train.network import Llama, Shape
from quantswarm.models.train.tokenizer import train_tokenizer

LENGTH = 512
BATCH = 16
STEPS = 900
WARM_UP = 50
EVALUATE_EVERY = 100
SAVE_EVERY = 50
SEED = 0


def pack(documents: Sequence[str], tokenizer: Tokenizer) -> Tensor:
    """All documents as one stream of ids, an end-of-text token after each."""
    end: int = tokenizer.encode(corpus.END_OF_TEXT).ids[0]
    ids: list[int] = []
    for encoding in tokenizer.encode_batch(list(documents)):
        ids.extend(encoding.ids)
        ids.append(end)
    return torch.tensor(ids, dtype=torch.long)


def windows(stream: Tensor) -> Tensor:
    """The stream cut to [n, LENGTH + 1]: inputs and targets overlap by one token."""
    count = (len(stream) - 1) // LENGTH
    index = torch.arange(count)[:, None] * LENGTH + torch.arange(LENGTH + 1)[None, :]
    return stream[index]


def batch_at(step: int, data: Tensor) -> Tensor:
    """The batch of a step: each epoch is a seeded permutation, so a resumed run sees the same."""
    per_epoch = len(data) // BATCH
    epoch, position = divmod(step, per_epoch)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(SEED + epoch))
    return data[order[position * BATCH : (position + 1) * BATCH]]


def learning_rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, then linear decay to zero."""
    return min(1.0, (step + 1) / WARM_UP) * (1.0 - step / steps)


def loss_of(model: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """Mean cross-entropy in nats a token; bfloat16 products where the processor has them."""
    fast = bool(torch.cpu.get_capabilities().get("avx512_bf16"))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast):
        logits = model(batch[:, :-1])
    return functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(model: Llama, data: Tensor) -> float:
    """Mean loss in nats a token over all windows of `data`."""
    parts = [loss_of(model, part) * len(part) for part in torch.split(data, BATCH)]
    return float(torch.stack(parts).sum() / len(data))


def optimizers(model: Llama) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the blocks' matrices; AdamW for embeddings, head and norms."""
    matrices = [p for p in model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return (
        torch.optim.Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0),
    )


def train(out: Path, steps: int) -> None:
    """Train, or continue the run whose checkpoint lies in `out`."""
    torch.manual_seed(SEED)
    random.seed(SEED)
    out.mkdir(parents=True, exist_ok=True)
    texts = corpus.load()
    tokenizer = train_tokenizer(texts.train)
    data = windows(pack(texts.train, tokenizer))
    held_out = windows(pack(texts.held_out, tokenizer))
    held_out_bytes = sum(len(text.encode()) for text in texts.held_out)
    print(
        f"{len(data) * LENGTH:,} tokens to train on, {len(held_out) * LENGTH:,} held out",
        flush=True,
    )
    model = Llama(Shape(vocabulary=tokenizer.get_vocab_size()))
    compiled = torch.compile(model)
    steppers = optimizers(model)
    first, curve = restore(out / "checkpoint.pt", model, steppers)
    started = time.monotonic()
    for step in range(first, steps):
        loss = advance(compiled, steppers, batch_at(step, data), step, steps)
        if step % 10 == 0:
            pace = (step - first + 1) * BATCH * LENGTH / (time.monotonic() - started)
            print(f"step {step} loss {loss:.3f} {pace:,.0f} tok/s", flush=True)
        if (step + 1) % EVALUATE_EVERY == 0 or step + 1 == steps:
            everything = step + 1 == steps
            held = held_out_loss(
                model, held_out if everything else held_out[:: len(held_out) // 64]
            )
            curve.append({"step": step + 1, "train_loss": loss, "held_out_loss": held})
            print(f"step {step + 1} held-out {held:.4f} nats a token", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save(out / "checkpoint.pt", model, steppers, step + 1, curve)
    facts = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "window": LENGTH,
        "steps": steps,
        "tokens_per_step": BATCH * LENGTH,
        "train_tokens": len(data) * LENGTH,
        "held_out_tokens": len(held_out) * LENGTH,
        "held_out_bytes": held_out_bytes,
        "curve": curve,
    }
    export(model, tokenizer, texts.held_out, facts, out / "tiny")
    write_card(out / "tiny")


def advance(
    model: Callable[[Tensor], Tensor],
    steppers: Sequence[torch.optim.Optimizer],
    batch: Tensor,
    step: int,
    steps: int,
) -> float:
    """One optimizer step; returns its loss."""
    factor = learning_rate_factor(step, steps)
    for stepper in steppers:
        for group in stepper.param_groups:
            group.setdefault("peak_lr", group["lr"])
            group["lr"] = group["peak_lr"] * factor
    loss = loss_of(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    for stepper in steppers:
        for group in stepper.param_groups:
            torch.nn.utils.clip_grad_norm_(group["params"], 1.0)
        stepper.step()
        stepper.zero_grad(set_to_none=True)
    return float(loss.detach())


def save(
    path: Path,
    model: Llama,
    steppers: Sequence[torch.optim.Optimizer],
    step: int,
    curve: list[dict[str, float]],
) -> None:
    """Write a checkpoint whole or not at all."""
    state = {
        "model": model.state_dict(),
        "optimizers": [stepper.state_dict() for stepper in steppers],
        "step": step,
        "curve": curve,
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def restore(
    path: Path, model: Llama, steppers: Sequence[torch.optim.Optimizer]
) -> tuple[int, list[dict[str, float]]]:
    """The step to go on from, and the loss curve so far; (0, []) without a checkpoint."""
    if not path.exists():
        return 0, []
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for stepper, saved in zip(steppers, state["optimizers"], strict=True):
        stepper.load_state_dict(saved)
    return int(state["step"]), list(state["curve"])


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint and result")
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    train(arguments.out, arguments.steps)


if __name__ == "__main__":
    main()
