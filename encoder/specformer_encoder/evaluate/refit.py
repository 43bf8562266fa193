"""Everything behind network and factors fitted anew, for questions that leave rows out.

The projection and the heads see labels, so a release that was fitted on a source cannot be asked
how it does without it. Here `readout.fit_readout` is given other rows; it is the same function that
fits a release. Network and factor model stay as they are: they were fitted without labels, on
profiles of training patients, those of the source that is left out among them. How much that
matters is seen where the factor model is fitted anew as well.

No simulated tumour takes part, so types that a release knows by these alone are not among those
that are asked for. Shifts between pipelines are the corpus's, learnt from training samples that two
pipelines measured, without labels; those to a pipeline that is left out are not used.
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
from specformer_encoder.material import moved, moves_of, shallower, thinner
from specformer_encoder.projection import FloatArray
from specformer_encoder.reading import Labelled, Reading
from specformer_encoder.readout import Material, Readout, fit_readout
from specformer_encoder.shifts import pipeline_of

REFITTED = "SpecFormer predictor (refitted)"
REFITTED_KNN = "SpecFormer embedding (refitted) + kNN"
WITH_FACTORS = "SpecFormer predictor (refitted, factors too)"


@dataclass(frozen=True, slots=True)
class AlteredViews:
    """Views of genome-wide profiles, altered as a release's are before it is fitted.

    Attributes
    ----------
    shallow
        n views of validation profiles with few reads.
    thinned
        n + t views, of validation and then of training profiles, with some of the genes.
    place
        Row of the corpus → its place among these n + t.
    shifted
        m views of training profiles, moved to another pipeline.
    moves
        Their rows, and the pipelines they were moved to.
    """

    shallow: Views
    thinned: Views
    place: dict[int, int]
    shifted: Views
    moves: list[tuple[int, str]]

    @classmethod
    def of(cls, corpus: EmbeddedCorpus, embedder: Embedder) -> AlteredViews:
        """Make and read them; takes about as long as reading the corpus."""
        valid = sorted(corpus.select("valid") + corpus.select("valid", tumor=False))

        def poor(way: Callable[[FloatArray], FloatArray], rows: Rows) -> Views:
            return look(lambda some: way(corpus.values(some)), rows, embedder)

        train = sorted(corpus.select("train") + corpus.select("train", tumor=False))
        moves = moves_of(corpus.corpus, train)
        shifted = look(
            lambda places: moved(corpus.corpus, [moves[k] for k in places]),
            list(range(len(moves))),
            embedder,
        )
        both = valid + train
        place = {row: place for place, row in enumerate(both)}
        return cls(poor(shallower(), valid), poor(thinner(), both), place, shifted, moves)


@dataclass(frozen=True, slots=True)
class Reader:
    """What is read of the corpus, by the release's factor model or another.

    Attributes
    ----------
    corpus
        N profiles as the release read them.
    views
        Of all N.
    altered
        Of training and validation profiles.
    width
        D, of the network's part of what was read.
    factors
        Takes the place of the release's factor model; None leaves it.
    """

    corpus: EmbeddedCorpus
    views: Views
    altered: AlteredViews
    width: int
    factors: FactorModel | None = None

    def whole(self, rows: Rows) -> Labelled:
        """Profiles as they are."""
        return self._labelled(self.views.take(rows), rows)

    def thinned(self, rows: Rows) -> Labelled:
        """Profiles with some of their genes."""
        return self._labelled(self.altered.thinned.take(self._places(rows)), rows)

    def shallow(self, rows: Rows) -> Labelled:
        """Validation profiles with few reads."""
        return self._labelled(self.altered.shallow.take(self._places(rows)), rows)

    def shifted(self, rows: Rows) -> Labelled:
        """Those of the training profiles that were moved to a pipeline which `rows` hold too.

        A shift to a pipeline that is left out was learnt from it.
        """
        labels, kept = self.corpus.labels, set(rows)
        here = {pipeline_of(labels[i].source, labels[i].unit) for i in rows}
        moves = enumerate(self.altered.moves)
        places = [k for k, (row, target) in moves if row in kept and target in here]
        views = self.altered.shifted.take(places)
        return self._labelled(views, [self.altered.moves[k][0] for k in places])

    def _places(self, rows: Rows) -> Rows:
        return [self.altered.place[row] for row in rows]

    def _labelled(self, views: Views, rows: Rows) -> Labelled:
        labels: list[SampleLabel] = [self.corpus.labels[i] for i in rows]
        return Labelled(self._reading(views), labels)

    def _reading(self, views: Views) -> Reading:
        read = views.reading
        if self.factors is None:
            return read
        again = [self.factors.read(quantiles) for quantiles in views.quantiles]
        z = np.array([z for z, _ in again], np.float32).reshape(-1, self.factors.size)
        return Reading(
            raw=np.concatenate([read.raw[:, : self.width], z], axis=1),
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
    corpus, views, altered, width
        As in `Reader`.
    """

    corpus: EmbeddedCorpus
    views: Views
    altered: AlteredViews
    width: int

    def __call__(self, train: Rows, valid: Rows, *, types: list[str]) -> Mapping[str, Predictor]:
        """Fit on rows; see `methods.Fit`."""
        reader = Reader(self.corpus, self.views, self.altered, self.width)
        material = material_of(reader, train, valid)
        readout = fit_readout(material, types, network=self.width)
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
    altered: AlteredViews
    width: int

    def __call__(self, train: Rows, valid: Rows, *, types: list[str]) -> Mapping[str, Predictor]:
        """Fit on rows; see `methods.Fit`. Some minutes for ten thousand profiles."""
        wide = [i for i in train if self.corpus.genome_wide[i]]
        factors = fit_factors(self.views.quantiles[wide])
        reader = Reader(self.corpus, self.views, self.altered, self.width, factors)
        material = material_of(reader, train, valid)
        readout = fit_readout(material, types, network=self.width)
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
        shifted=reader.shifted(wide),
        thinned=reader.thinned(wide),
        thinned_valid=reader.thinned(held_out),
        shallow_valid=reader.shallow(held_out),
        simulated=reader.whole([]),
    )
