"""Training: the canonical graph as a torch module, fake-quantised where the graph is quantised.

The only room above the readers that imports torch, and only on first use: the extra `torch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from narrowcast._extras import on_first_use, require

if TYPE_CHECKING:
    from narrowcast.training.finetuning import MOST_BYTES, finetune
    from narrowcast.training.network import Network, from_torch, to_torch
    from narrowcast.training.recipe import Recipe

__all__ = ["MOST_BYTES", "Network", "Recipe", "finetune", "from_torch", "to_torch"]

_resolve = on_first_use(
    globals(),
    {
        "narrowcast.training.finetuning": ("MOST_BYTES", "finetune"),
        "narrowcast.training.network": ("Network", "from_torch", "to_torch"),
        "narrowcast.training.recipe": ("Recipe",),
    },
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        require("torch", extra="torch", purpose="training")
    return _resolve(name)
