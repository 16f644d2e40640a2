"""What the user changes of a network while it is read: edits of the source's graph, substitutions in the canonical."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from narrowcast.api.options import EditOptions
from narrowcast.model import Model

if TYPE_CHECKING:
    from narrowcast.editing import Edit

__all__ = ["Change"]


@dataclass(frozen=True, slots=True)
class Change:
    """What is changed, checked as far as it can be before the network is read.

    Attributes:
        edits: of the graph as its reader gives it, in order.
        substitutions: what comes by what goes, in the canonical graph.
    """

    edits: Sequence[Edit]
    substitutions: Mapping[str, str]

    @classmethod
    def of(cls, options: EditOptions) -> Change:
        """The change that the options of a verb say.

        Raises:
            BadInputError: the document of edits is none.
        """
        found: tuple[Edit, ...] = ()
        edits = options.get("edits")
        cut_inputs, cut_outputs = options.get("cut_inputs", ()), options.get("cut_outputs", ())
        if edits is not None or cut_inputs or cut_outputs:
            from narrowcast import editing  # which most conversions do not need

            found = (*(() if edits is None else editing.edits_of(edits)), *editing.cuts(cut_inputs, cut_outputs))
        return cls(found, options.get("substitute") or {})

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.edits or self.substitutions)

    def edited(self, model: Model) -> Model:
        """A model as its reader gives it with the edits; it then knows what stands for its source.

        Raises:
            UsageError: an edit does not fit.
        """
        if not self.edits:
            return model
        from narrowcast import editing

        made = editing.apply(model, self.edits)
        return replace(made, edited=made.ir.clone())

    def substituted(self, model: Model) -> Model:
        """A canonical model with the substitutions.

        Raises:
            UsageError: one is unknown, or changes nothing.
        """
        if not self.substitutions:
            return model
        from narrowcast.editing.substitutions import substitute

        return substitute(model, self.substitutions)
