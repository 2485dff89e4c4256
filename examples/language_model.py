"""A small language model: perplexity against latency and the memory of its key-value cache.

python examples/language_model.py            # about ten minutes on two cores; needs transformers and tokenizers
python examples/language_model.py --quick    # under a minute, to see it run

A decoder of Llama's kind learns the docstrings of installed packages (BPE tokens), with an ordinary training loop in
which subnets take turns: nothing of archsmith but ``supernet.active`` and ``supernet.sampled``. Layers and feed-forward
sizes vary. The cache grows with the layers that stay, so it is a metric of the example's own.
"""

import argparse
import ast
import importlib.util
import math
import time
import warnings
from pathlib import Path

import torch
from _shared import arguments, known, table, told, write
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional as F

import archsmith as smith
from archsmith.testing.torchvision_stub import define_torchvision_operators

ON, CONTEXT, VOCABULARY = "onnxruntime:threads=1,batch=1", 64, 1024
PACKAGES = ("numpy", "torch", "scipy", "sklearn", "pandas")
Batches = list[tuple[dict[str, torch.Tensor], torch.Tensor]]


def docstrings(characters: int) -> list[str]:
    """Docstrings of installed packages, file by file in the order of their names, up to so many characters each."""
    found = []
    for package in PACKAGES:
        spec, left = importlib.util.find_spec(package), characters // len(PACKAGES)
        for file in sorted(Path(spec.origin).parent.rglob("*.py")) if spec and spec.origin else []:
            if left <= 0:
                break
            with warnings.catch_warnings(action="ignore"):
                tree = ast.parse(file.read_text(encoding="utf-8"))
            kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
            texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
            found += [text[:left] for text in texts if len(text) > 200]
            left -= sum(len(text) for text in texts if len(text) > 200)
    return found


def tokenized(texts: list[str], tokenizer: Tokenizer) -> torch.Tensor:
    """Rows of ``CONTEXT + 1`` tokens."""
    tokens = [t for e in tokenizer.encode_batch(texts) for t in e.ids]
    return torch.tensor(tokens[: len(tokens) // (CONTEXT + 1) * (CONTEXT + 1)]).view(-1, CONTEXT + 1)


def batches(rows: torch.Tensor, size: int = 32) -> Batches:
    """Tokens, and the tokens that follow them."""
    return [(named(part[:, :-1]), part[:, 1:].contiguous()) for part in rows.split(size)]


def named(tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """As the model takes them; without a mask it looks for packed texts, and its export takes eight times longer."""
    return {"input_ids": tokens.contiguous(), "attention_mask": torch.ones_like(tokens)}


def decoder(*, layers: int, hidden: int) -> nn.Module:
    define_torchvision_operators()  # transformers imports torchvision where it is installed
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=CONTEXT, tie_word_embeddings=True,
            use_cache=False,
        )
    )  # fmt: skip


def next_token_loss(outputs: object, following: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(outputs.logits.flatten(0, 1), following.flatten())


def perplexity(network: nn.Module, batches: Batches) -> float:
    """Of the next token, on whole batches."""
    losses = [(next_token_loss(network(**x), y).item() * y.numel(), y.numel()) for x, y in batches]
    return math.exp(sum(loss for loss, _ in losses) / sum(count for _, count in losses))


def kv_cache_kib(network: nn.Module) -> float:
    """Memory of the keys and values of one sequence of ``CONTEXT`` tokens in single precision."""
    units = sum(m.out_features for name, m in network.named_modules() if name.endswith(("k_proj", "v_proj")))
    return 4 * CONTEXT * units / 1024


def train(supernet: smith.Supernet, rows: torch.Tensor, epochs: int) -> float:
    """An ordinary loop: each batch trains the largest, the smallest and a drawn network; returns the seconds."""
    started, rng = time.monotonic(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(supernet.parameters(), weight_decay=0.1)
    steps = epochs * len(batches(rows))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    supernet.train()
    for epoch in range(epochs):
        for step, (x, y) in enumerate(batches(rows[torch.randperm(len(rows), generator=rng)]), 1):
            optimizer.zero_grad()
            loss = next_token_loss(supernet(**x), y)
            loss.backward()
            for chosen in (supernet.active(supernet.smallest), supernet.sampled()):
                with chosen:
                    next_token_loss(supernet(**x), y).backward()
            torch.nn.utils.clip_grad_norm_(supernet.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if step % 50 == 0:
                print(
                    f"epoch {epoch + 1}, batch {step}: {loss.item():.3f}; {time.monotonic() - started:.0f} s",
                    flush=True,
                )
    supernet.eval()
    return time.monotonic() - started


def main(given: argparse.Namespace) -> smith.Front:
    """Texts, training, search, what was found."""
    texts = docstrings(60_000 if given.quick else given.items or 1_500_000)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    train_texts = [t for i, t in enumerate(texts) if i % 10 < 8]
    tokenizer.train_from_iterator(train_texts, trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet))
    rows = tokenized(train_texts, tokenizer)
    val, test = (batches(tokenized(texts[i::10], tokenizer))[: 1 if given.quick else 12] for i in (8, 9))

    model = decoder(layers=2 if given.quick else 6, hidden=64 if given.quick else 128)
    supernet = smith.elastic(
        model,
        named(rows[:2, :-1]),
        only=["*.depth", "*mlp*"],
        width=(0.25, 0.5, 0.75, 1.0),
        depth=0.5,
    )
    print(supernet.account())
    weights = given.run.with_name(f"{given.run.name}-weights.pt")
    if weights.exists():  # trained before: the search goes on where it was
        kept = torch.load(weights, weights_only=True)
        supernet.load_state_dict(kept["weights"])
        seconds = kept["seconds"]
    else:
        seconds = train(supernet, rows, given.epochs)
        weights.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"weights": supernet.state_dict(), "seconds": seconds}, weights)
    front = smith.search(
        supernet,
        val,
        minimize=["perplexity", "latency_ms", "kv_cache_kib"],
        metrics=[
            smith.UserMetric("perplexity", perplexity, on_data=True, goal="min"),
            smith.UserMetric("kv_cache_kib", kv_cache_kib, unit="KiB", goal="min"),
        ],
        on=ON,
        budget=given.budget,
        run=given.run,
        on_progress=told,
    )
    whole = known(front, supernet.largest)
    on_test = {m.name: perplexity(m.module(), test) for m in front}
    near = [m for m in front if m["perplexity"] <= 1.05 * whole["perplexity"]]
    fastest = min(near, key=lambda m: m["latency_ms"])
    saved = (whole["latency_ms"] / fastest["latency_ms"], whole["kv_cache_kib"] / fastest["kv_cache_kib"])
    write(
        given,
        "A small language model: perplexity against latency and cache",
        [
            f"The largest network: perplexity {whole['perplexity']:.2f}, {whole['latency_ms']:.2f} ms, "
            f"{whole['kv_cache_kib']:.0f} KiB of cache",
            f"The fastest whose perplexity is at most 5 % higher: **{fastest.name}**, perplexity "
            f"{fastest['perplexity']:.2f}, **{saved[0]:.2f}x** faster, **{saved[1]:.2f}x** less cache; "
            f"{fastest.architecture.to_dict()}",
        ],
        {
            "data": f"docstrings of {', '.join(PACKAGES)}: {len(rows)} rows of {CONTEXT} tokens (BPE, {VOCABULARY}); "
            "every tenth docstring for validation, every tenth for test",
            "training": f"{given.epochs} epochs of {len(batches(rows))} batches of 32 rows, {seconds:.0f} s",
            "search": f"{given.budget} evaluations, {ON}, {CONTEXT} tokens",
        },
        table(
            ["network", "perplexity", "on test", "latency_ms", "kv_cache_kib"],
            [[m.name, m["perplexity"], on_test[m.name], m["latency_ms"], m["kv_cache_kib"]] for m in front],
        ),
    )
    print("report:", front.report())
    return front


if __name__ == "__main__":
    main(arguments(__doc__, epochs=2, budget=40))
