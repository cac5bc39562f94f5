"""The policy: what is learnt from is what was done, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.taught import plans

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from armbench.models.hf_group import GroupBackend  # noqa: E402
from armbench.training.encode import encode  # noqa: E402
from armbench.training.policy import Piece, Policy  # noqa: E402
from armbench.training.recipe import GRPO  # noqa: E402
from armbench.training.rollouts import Items, Player  # noqa: E402
from armbench.training.weights import load_start, prepare  # noqa: E402


@pytest.fixture(scope="module")
def policy(taught: Path) -> Policy:
    return make_policy(taught)


def make_policy(start: Path, **settings: Any) -> Policy:
    section = GRPO.model_validate({"dtype": "float32", "lr": 1e-3, "micro_batch": 4, **settings})
    model, processor = load_start(str(start))
    made = Policy(prepare(model, section.freeze, section.lora), section, 0)
    made.processor = processor  # type: ignore[attr-defined]
    return made


def played(policy: Policy, count: int = 12, **settings: Any) -> list[Piece]:
    """Real roll-outs of a policy, with calls; every second one is good."""
    section = GRPO(group=count, **settings)
    backend = GroupBackend.around(
        policy.model, policy.processor, name="p", batch_size=5, logprobs=True
    )
    policy.model.eval()
    player = Player(backend, section, "adaptive", seed=1)
    pieces = []
    for plan, trajectory in player.play(0, list(Items(plans(), 0).take(0, 1))):
        encoded = encode(trajectory, policy.processor, plan.store, plan.loop)
        if all(turn.exact for turn in encoded.turns):
            old = torch.tensor([value for turn in encoded.turns for value in turn.logprobs])
            sign = 1.0 if len(pieces) % 2 else -1.0
            pieces.append(Piece(f"item {len(pieces)}", encoded, sign, old))
    assert any(len(p.encoded.turns) > 1 for p in pieces), "some have to call a tool"
    assert any(len(p.encoded.turns) == 1 for p in pieces)
    return pieces


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_probabilities_are_those_of_sampling(policy: Policy, temperature: float) -> None:
    """Several turns, crops among them, padded to each other: to 1e-4 what was sampled.

    Also what is hardly ever written, such as another token at a turn's end.
    """
    pieces = played(policy, 24, temperature=temperature)
    found, entropy = policy.logprobs(pieces)
    old = torch.cat([piece.old for piece in pieces])
    assert found.shape == old.shape == entropy.shape
    assert sum(int((p.encoded.labels() != -100).sum()) for p in pieces) == len(old)
    assert (found - old).abs().max() < 1e-4
    assert (entropy >= 0).all()


def test_the_first_update_is_on_policy(taught: Path) -> None:
    policy = make_policy(taught)
    pieces = played(policy)
    assert policy.look_back(pieces) == pytest.approx(0, abs=1e-6)
    done = policy.update(pieces)
    assert done["ratio"] / done["tokens"] == pytest.approx(1, abs=1e-5)
    assert done["clip_fraction"] == 0
    assert done["tokens"] == sum(len(piece.old) for piece in pieces)
    # With every ratio 1 the loss is the mean advantage, token by token.
    expected = -sum(piece.advantage * len(piece.old) for piece in pieces)
    assert done["loss"] == pytest.approx(expected, abs=1e-3)
    again = policy.update(pieces)
    assert again["ratio"] / again["tokens"] != pytest.approx(1, abs=1e-5)
    assert policy.look_back(pieces) == pytest.approx(0, abs=1e-6), "old ones are of the start"


def test_a_token_weighs_the_same_however_an_update_is_cut(taught: Path) -> None:
    pieces = played(make_policy(taught))
    norms = [make_policy(taught, micro_batch=n).update(pieces)["grad_norm"] for n in (1, 3, 16)]
    assert norms[1:] == pytest.approx(norms[:1] * 2, rel=1e-4)
    longer, shorter = sorted(pieces, key=lambda p: -len(p.old))[:: len(pieces) - 1]
    assert len(longer.old) > len(shorter.old)
    policy = make_policy(taught)
    loss = policy.update([longer, shorter])
    assert loss["loss"] == pytest.approx(
        -(longer.advantage * len(longer.old) + shorter.advantage * len(shorter.old)), abs=1e-3
    )


@pytest.mark.parametrize(
    ("advantage", "ratio", "worth", "clipped"),
    [
        (1.0, 1.1, 1.1, False),
        (1.0, 1.5, 1.3, True),
        (1.0, 0.5, 0.5, False),
        (-1.0, 0.5, -0.8, True),
        (-1.0, 1.5, -1.5, False),
        (2.0, 1.29, 2.58, False),
    ],
)
def test_clipping_is_one_sided_and_asymmetric(
    taught: Path, advantage: float, ratio: float, worth: float, clipped: bool
) -> None:
    policy = make_policy(taught, clip_low=0.2, clip_high=0.3)
    piece = played(policy)[0]
    piece.advantage, piece.old = advantage, piece.old - torch.tensor(ratio).log()
    loss, seen = policy._loss([piece])
    assert float(loss.detach()) / len(piece.old) == pytest.approx(-worth, abs=1e-4)
    assert float(seen[2]) / len(piece.old) == clipped


def test_the_kl_term_pulls_back_to_the_start(taught: Path) -> None:
    policy = make_policy(taught, kl=0.5)
    pieces = played(policy)
    policy.look_back(pieces)
    for _ in range(3):
        policy.update(pieces)
    moved = policy.logprobs(pieces)[0].detach()
    for piece in pieces:
        piece.advantage = 0.0
    start = torch.cat([piece.start for piece in pieces])
    apart = (moved - start).abs().mean()
    expected = (start - moved).exp() - (start - moved) - 1
    policy.optimizer = torch.optim.AdamW(policy.weights, lr=3e-4)  # without momentum
    done = policy.update(pieces)
    assert done["loss"] / done["tokens"] == pytest.approx(0.5 * float(expected.mean()), rel=1e-3)
    for _ in range(5):
        policy.update(pieces)
    assert (policy.logprobs(pieces)[0] - start).abs().mean() < apart


def test_another_temperature_is_another_policy(taught: Path) -> None:
    """What was sampled hot was chosen by the flattened distribution; ratios are of that one."""
    policy = make_policy(taught, temperature=1.5)
    pieces = played(policy, temperature=1.5)
    plain = torch.cat([piece.old for piece in pieces])
    assert policy.look_back(pieces) == pytest.approx(0, abs=1e-6)
    assert (torch.cat([piece.old for piece in pieces]) - plain).abs().max() > 0.01
    done = policy.update(pieces)
    assert done["ratio"] / done["tokens"] == pytest.approx(1, abs=1e-5)


def test_a_turn_with_a_control_token_in_it_is_not_exact(policy: Policy) -> None:
    """Shown again, it could be a picture or the end of the turn."""
    from armbench.models.tokens import own_tokens

    tokenizer = policy.processor.tokenizer
    pad, end = (tokenizer.convert_tokens_to_ids(t) for t in ("<|image_pad|>", "<|im_end|>"))
    ids = tokenizer.encode("so be it")
    assert own_tokens(tokenizer, [*ids, end], "so be it") == tuple(ids)
    assert own_tokens(tokenizer, [*ids[:1], pad, *ids[1:], end], "so be it") is None
