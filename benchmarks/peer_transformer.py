"""A small transformer in PyTorch, of the size and with the recipe that nanoGPT names for CPUs.

A decoder alone, normalised before each sublayer (A. Radford et al., "Language models are
unsupervised multitask learners", 2019): four layers, four heads, 128 wide, context 64, batch 12, no
dropout, no biases, the output tied to the embedding; AdamW, a short warm-up, a cosine down to a
tenth. The recipe counts 2,000 updates; here the cosine is one of time, and ends when the time does.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

N_LAYERS, N_HEADS, WIDTH, CONTEXT, BATCH = 4, 4, 128, 64, 12
HIGHEST, LOWEST = 1e-3, 1e-4  # learning rates
WARM_UP = 100  # updates
BETAS, DECAY, CLIP = (0.9, 0.99), 0.1, 1.0
VALIDATION_BATCH = 128  # windows at a time


class Block(nn.Module):
    """Causal self-attention and a perceptron, each added to what comes in, ``(B, T, WIDTH)``."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(WIDTH, bias=False)
        self.attention_in = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.attention_out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.before_perceptron = nn.LayerNorm(WIDTH, bias=False)
        self.perceptron_in = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.perceptron_out = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Same shape."""
        qkv = self.attention_in(self.before_attention(h)).unflatten(2, (3, N_HEADS, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, N_HEADS, T, WIDTH / N_HEADS) each
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.attention_out(heads.transpose(1, 2).flatten(2))
        return h + self.perceptron_out(F.gelu(self.perceptron_in(self.before_perceptron(h))))


class Transformer(nn.Module):
    """Logits ``(B, T, V)`` of ids ``(B, T)``, where ``T`` is at most ``CONTEXT``."""

    def __init__(self, n_vocab: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_vocab, WIDTH)
        self.position = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(N_LAYERS)])
        self.normalise = nn.LayerNorm(WIDTH, bias=False)
        for name, param in self.named_parameters():
            if param.ndim == 2:
                # What is added up over the layers begins smaller.
                small = (2 * N_LAYERS) ** -0.5 if "_out." in name else 1.0
                nn.init.normal_(param, std=0.02 * small)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        h = self.embed(x) + self.position.weight[: x.shape[1]]
        return self.normalise(self.blocks(h)) @ self.embed.weight.T


class TransformerTraining:
    """A transformer that learns from random windows of ``train`` and is judged by ``test``.

    Args:
        n_vocab (int): size of the vocabulary, ``V``.
        train, test (Tensor): ids, int64, one-dimensional, longer than ``CONTEXT``.
    """

    def __init__(self, n_vocab: int, train: torch.Tensor, test: torch.Tensor) -> None:
        torch.manual_seed(0)
        self.model = Transformer(n_vocab)
        self.train, self.test = train, test
        matrices = [param for param in self.model.parameters() if param.ndim == 2]
        others = [param for param in self.model.parameters() if param.ndim != 2]
        groups = [
            {"params": matrices, "weight_decay": DECAY},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=HIGHEST, betas=BETAS, fused=True)
        self.n_updates = 0

    def update(self, progress: float) -> None:
        """One update, at this share of the time."""
        self.n_updates += 1
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.n_updates, progress)
        starts = torch.randint(len(self.train) - CONTEXT, (BATCH,))
        loss = self._losses(self.train, starts).mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()

    @torch.no_grad()
    def validate(self) -> float:
        """Mean loss over the test, nats a token.

        The windows overlap by half. Of each but the first only the second half counts, so that
        nothing is predicted from less than half a context. Fewer ids than that are left at the end.
        """
        starts = torch.arange(0, len(self.test) - CONTEXT, CONTEXT // 2)
        batches = starts.split(VALIDATION_BATCH)
        losses = torch.cat([self._losses(self.test, batch) for batch in batches])
        return torch.cat([losses[0], losses[1:, CONTEXT // 2 :].flatten()]).mean().item()

    def _losses(self, ids: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        """Of each prediction in the windows that start there, ``(B, CONTEXT)``."""
        rows = ids[starts[:, None] + torch.arange(CONTEXT + 1)]
        logits = self.model(rows[:, :-1])
        return F.cross_entropy(logits.transpose(1, 2), rows[:, 1:], reduction="none")


def learning_rate(n_updates: int, progress: float) -> float:
    """Of the update of this number, from 1 on, at this share of the time."""
    cosine = (1 + math.cos(math.pi * min(progress, 1))) / 2
    return min(1, n_updates / WARM_UP) * (LOWEST + (HIGHEST - LOWEST) * cosine)
