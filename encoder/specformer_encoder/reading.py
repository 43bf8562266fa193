"""What was read of profiles, before anything is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.novelty import Evidence
from specformer_encoder.projection import Projection

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """S profiles as network, factor model and marker genes see them.

    Attributes
    ----------
    raw
        (S, D + K) the network's vectors, then the factors.
    misfit
        (S,) squared Mahalanobis distance of the ranks under the factor model, per measured gene.
    lineages
        (S,) of `lineages.lineage_content`; NaN where it says nothing.
    measured
        (S,) share of the vocabulary's genes that the profile measures.
    """

    raw: FloatArray
    misfit: FloatArray
    lineages: FloatArray
    measured: FloatArray

    def __len__(self) -> int:
        return len(self.raw)

    def rows(self, rows: npt.ArrayLike) -> Reading:
        """Some of the profiles."""
        return Reading(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def join(cls, parts: Sequence[Reading]) -> Reading:
        """One after the other; there must be at least one."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


def evidence(reading: Reading, projection: Projection) -> Evidence:
    """What novelty is judged by."""
    return Evidence(
        projection.apply(reading.raw, reading.measured),
        reading.misfit,
        reading.lineages,
        reading.measured,
    )


@dataclass(frozen=True, slots=True)
class Labelled:
    """Profiles that were read, with their labels."""

    reading: Reading
    labels: list[SampleLabel]

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: npt.ArrayLike) -> Labelled:
        """Some of the profiles, by number or by a boolean mask."""
        at = np.arange(len(self))[np.asarray(rows)]
        return Labelled(self.reading.rows(at), [self.labels[i] for i in at])

    def of_types(self, types: Sequence[str]) -> Labelled:
        """The tumours whose type is among `types`."""
        return self.rows(
            np.array(
                [label.sample_type == "tumor" and label.study in types for label in self.labels],
                bool,
            )
        )

    @property
    def studies(self) -> list[str]:
        """N study names."""
        return [label.study for label in self.labels]

    @property
    def people(self) -> list[str]:
        """N patients."""
        return [label.person for label in self.labels]

    @classmethod
    def join(cls, parts: Sequence[Labelled]) -> Labelled:
        """One after the other; there must be at least one."""
        return cls(
            Reading.join([part.reading for part in parts]),
            [label for part in parts for label in part.labels],
        )
