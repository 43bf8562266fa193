"""Everything behind network and factors fitted anew, for questions that leave rows out.

The projection and the heads see labels, so a release that was fitted on a source cannot be asked
how it does without it. Here `readout.fit_readout` is given other rows; it is the same function that
fits a release. Network and factor model stay as they are: they were fitted without labels, on
profiles of training patients, those of the source that is left out among them. How much that
matters is seen where the factor model is fitted anew as well.

No simulated tumour takes part, so types that a release knows by these alone are not among those
that are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_encoder.corpus.labels import SampleLabel
from specformer_encoder.embedder import Embedder
from specformer_encoder.evaluate.embedded import EmbeddedCorpus
from specformer_encoder.evaluate.methods import Predictor, Probabilities, Rows, neighbours
from specformer_encoder.evaluate.views import Views, look
from specformer_encoder.factors import FactorModel, fit_factors
from specformer_encoder.material import shallower, thinner
from specformer_encoder.projection import FloatArray
from specformer_encoder.reading import Labelled, Reading
from specformer_encoder.readout import Material, Readout, fit_readout

REFITTED = "SpecFormer predictor (refitted)"
REFITTED_KNN = "SpecFormer embedding (refitted) + kNN"
WITH_FACTORS = "SpecFormer predictor (refitted, factors too)"


@dataclass(frozen=True, slots=True)
class PoorViews:
    """Views of the genome-wide validation profiles, poorly measured as for a release.

    Attributes
    ----------
    thinned, shallow
        n views each: with some of the genes, and with few reads.
    place
        Row of the corpus → its place among them.
    """

    thinned: Views
    shallow: Views
    place: dict[int, int]

    @classmethod
    def of(cls, corpus: EmbeddedCorpus, embedder: Embedder) -> PoorViews:
        """Make and read them; takes twice as long as reading the validation profiles."""
        rows = sorted(corpus.select("valid") + corpus.select("valid", tumor=False))

        def views(poor: Callable[[FloatArray], FloatArray]) -> Views:
            return look(lambda some: poor(corpus.values(some)), rows, embedder)

        place = {row: place for place, row in enumerate(rows)}
        return cls(views(thinner()), views(shallower()), place)


@dataclass(frozen=True, slots=True)
class Reader:
    """What is read of the corpus, by the release's factor model or another.

    Attributes
    ----------
    corpus
        N profiles as the release read them.
    views
        Of all N.
    poor
        Of the validation ones, poorly measured.
    width
        D, of the network's part of what was read.
    factors
        Takes the place of the release's factor model; None leaves it.
    """

    corpus: EmbeddedCorpus
    views: Views
    poor: PoorViews
    width: int
    factors: FactorModel | None = None

    def whole(self, rows: Rows) -> Labelled:
        """Profiles as they are."""
        return self._labelled(self.views.take(rows), rows)

    def thinned(self, rows: Rows) -> Labelled:
        """Validation profiles with some of their genes."""
        return self._labelled(self.poor.thinned.take(self._places(rows)), rows)

    def shallow(self, rows: Rows) -> Labelled:
        """Validation profiles with few reads."""
        return self._labelled(self.poor.shallow.take(self._places(rows)), rows)

    def _places(self, rows: Rows) -> Rows:
        return [self.poor.place[row] for row in rows]

    def _labelled(self, views: Views, rows: Rows) -> Labelled:
        labels: list[SampleLabel] = [self.corpus.labels[i] for i in rows]
        return Labelled(self._reading(views), labels)

    def _reading(self, views: Views) -> Reading:
        read = views.reading
        if self.factors is None or not len(read):
            return read
        again = [self.factors.read(quantiles) for quantiles in views.quantiles]
        return Reading(
            raw=np.concatenate(
                [read.raw[:, : self.width], np.stack([z for z, _ in again])], axis=1
            ),
            misfit=np.array([misfit for _, misfit in again], np.float32),
            lineages=read.lineages,
            measured=read.measured,
        )


@dataclass(frozen=True, slots=True)
class RefittedPredictor:
    """A readout that answers for rows of the corpus."""

    reader: Reader
    readout: Readout

    @property
    def types(self) -> list[str]:
        """K names."""
        return self.readout.heads.types

    def probabilities(self, rows: Rows) -> Probabilities:
        """(n, K) calibrated probability of each type."""
        read = self.reader.whole(rows).reading
        return self.readout.heads.probabilities(self.readout.embeddings(read), read.measured)


@dataclass(frozen=True, slots=True)
class RefittedNeighbours:
    """The vote of the nearest training tumours in a refitted embedding."""

    reader: Reader
    readout: Readout
    model: Any

    @property
    def types(self) -> list[str]:
        """K names."""
        return [str(name) for name in self.model.classes_]

    def probabilities(self, rows: Rows) -> Probabilities:
        """(n, K) share of the votes."""
        vectors = self.readout.embeddings(self.reader.whole(rows).reading)
        return np.asarray(self.model.predict_proba(vectors), np.float64)


@dataclass(frozen=True, slots=True)
class Refitted:
    """A `methods.Fit` of the release's readout.

    Attributes
    ----------
    corpus, views, poor, width
        As in `Reader`.
    """

    corpus: EmbeddedCorpus
    views: Views
    poor: PoorViews
    width: int

    def __call__(self, train: Rows, valid: Rows, *, types: list[str]) -> Mapping[str, Predictor]:
        """Fit on rows; see `methods.Fit`."""
        reader = Reader(self.corpus, self.views, self.poor, self.width)
        material = material_of(reader, train, valid)
        readout = fit_readout(material, types)
        tumors = material.train.of_types(types)
        model = neighbours(readout.embeddings(tumors.reading), tumors.studies)
        return {
            REFITTED: RefittedPredictor(reader, readout),
            REFITTED_KNN: RefittedNeighbours(reader, readout, model),
        }


@dataclass(frozen=True, slots=True)
class RefittedFactors:
    """A `methods.Fit` of the release's readout on a factor model that is fitted anew as well."""

    corpus: EmbeddedCorpus
    views: Views
    poor: PoorViews
    width: int

    def __call__(self, train: Rows, valid: Rows, *, types: list[str]) -> Mapping[str, Predictor]:
        """Fit on rows; see `methods.Fit`. Some minutes for ten thousand profiles."""
        wide = [i for i in train if self.corpus.genome_wide[i]]
        factors = fit_factors(self.views.quantiles[wide])
        reader = Reader(self.corpus, self.views, self.poor, self.width, factors)
        readout = fit_readout(material_of(reader, train, valid), types)
        return {WITH_FACTORS: RefittedPredictor(reader, readout)}


def material_of(reader: Reader, train: Rows, valid: Rows) -> Material:
    """What a readout is fitted on, of some rows."""
    genome_wide: npt.NDArray[np.bool_] = reader.corpus.genome_wide
    wide = [i for i in train if genome_wide[i]]
    held_out = [i for i in valid if genome_wide[i]]
    return Material(
        train=reader.whole(wide),
        valid=reader.whole(held_out),
        panels=reader.whole([i for i in train if not genome_wide[i]]),
        valid_panels=reader.whole([i for i in valid if not genome_wide[i]]),
        thinned_valid=reader.thinned(held_out),
        shallow_valid=reader.shallow(held_out),
        simulated=reader.whole([]),
    )
