"""The transformers back-end for roll-outs in groups: what several of them share is done once.

Equal prompts, as those of the first turns of a group, are processed and read by the model
once, and their copies part where they draw different tokens. Rows that have ended leave the
batch. What a row gives is what `HFBackend` gives it, up to the rounding of matrix kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from armbench.models.hf import HFBackend, collate, to_device

if TYPE_CHECKING:
    from armbench.episode import Ask
    from armbench.errors import BackendError, DataError
    from armbench.models.hf_sample import RowSampler
    from armbench.types import Reply

__all__ = ["GroupBackend"]

_LEFT = 0.75
"""Rows that have ended are taken out when no more than this share is left: it costs a copy."""


class GroupBackend(HFBackend):
    """`HFBackend` for groups of roll-outs; see the module.

    Knows the Qwen vision-language families of transformers 5; other models, and older
    versions, are served as by `HFBackend`.
    """

    def generate_batch(self, asks: Sequence[Ask]) -> list[Reply | BackendError | DataError]:
        """As `HFBackend.generate_batch`."""
        self._known: dict[Any, Any] = {}
        return super().generate_batch(asks)

    def _prepare(self, index: int, ask: Ask) -> Any:
        key = (ask.messages, ask.spoken, ask.max_pixels)
        if key not in self._known:
            self._known[key] = super()._prepare(index, ask)
        row = copy(self._known[key])
        row.index, row.ask = index, ask
        return row

    def _write(self, rows: list[Any], sampler: RowSampler) -> None:
        base = self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model
        core = getattr(base, "model", None)
        if not hasattr(core, "compute_3d_position_ids"):
            super()._write(rows, sampler)
            return
        prompts = {id(row.inputs): row.inputs for row in rows}
        places = {key: n for n, key in enumerate(prompts)}
        inputs = to_device(collate(list(prompts.values()), self.pad_id), self.model)
        everyone = sampler.rows
        self._decode(core, inputs, [places[id(row.inputs)] for row in rows], sampler)
        sampler.rows = everyone

    def _decode(self, core: Any, inputs: dict[str, Any], rows: list[int], sampler: Any) -> None:
        """Read the prompts, then write token by token for the rows that are copies of them."""
        import torch

        out = self.model(**inputs, use_cache=True, logits_to_keep=1)
        cache, mask = out.past_key_values, inputs["attention_mask"]
        position = mask.shape[1] + torch.zeros_like(mask[:, :1])
        if "image_grid_thw" in inputs:  # else the model counts the padding too
            position = mask.sum(1, keepdim=True) + core.rope_deltas
        index = torch.tensor(rows, device=mask.device)
        cache.batch_select_indices(index)
        scores, mask, position = out.logits[index, -1], mask[index], position[index]
        while True:
            ids = torch.tensor(sampler.pick(scores), device=mask.device)[:, None]
            live = [n for n, row in enumerate(sampler.rows) if not row.finish]
            if not live:
                return
            if len(live) <= _LEFT * len(sampler.rows):
                index = torch.tensor(live, device=mask.device)
                cache.batch_select_indices(index)
                ids, mask, position = ids[index], mask[index], position[index]
                sampler.rows = [sampler.rows[n] for n in live]
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            out = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=position.expand(3, -1, -1),
                past_key_values=cache,
                use_cache=True,
            )
            scores, position = out.logits[:, -1], position + 1
