"""The labels of the reference profiles in memory: a few bytes a row and column.

Rows lie by cohort and, in a cohort, by patient, so that a cohort is a slice and its patients are
runs of rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from specformer_index.filters import FIELDS, Filters, unknown_value
from specformer_index.vectors import Mask, Rows

COLUMNS = ("id", "cohort", "patient", "unit", *FIELDS)


class Column:
    """One text column of N rows.

    Attributes
    ----------
    names
        The distinct values, sorted.
    codes
        (N,) int32, each row's place in `names`.
    """

    def __init__(self, values: Any, order: Rows) -> None:
        encoded = values.combine_chunks().dictionary_encode()
        names = np.asarray([name or "" for name in encoded.dictionary.to_pylist()], dtype=np.str_)
        self.names, places = np.unique(names, return_inverse=True)
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        self.codes: npt.NDArray[np.int32] = places[codes][order].astype(np.int32)

    def __getitem__(self, row: int) -> str:
        return str(self.names[self.codes[row]])

    def place(self, value: str) -> int | None:
        """Return the code of a value; None if no row has it."""
        place = int(np.searchsorted(self.names, value))
        return place if place < self.names.size and self.names[place] == value else None

    def known(self) -> list[str]:
        """Return the values there are, without the empty one."""
        return [str(name) for name in self.names if name]


class Members:
    """Labels of N real profiles of C cohorts.

    Parameters
    ----------
    table
        Arrow table with the columns `COLUMNS` and one row a profile.

    Attributes
    ----------
    order
        (N,) the row of `table` that each row here was.
    names
        C cohort names, sorted.
    people
        (N,) int, the patient of every row; a profile whose patient is not known is its own.
    """

    def __init__(self, table: Any) -> None:
        as_they_come = np.arange(table.num_rows)
        cohort = Column(table["cohort"], as_they_come).codes
        patient = Column(table["patient"], as_they_come)
        unknown = patient.place("")
        people = patient.codes.astype(np.intp)
        if unknown is not None:
            alone = people == unknown
            people[alone] = patient.names.size + np.flatnonzero(alone)
        self.order: Rows = np.lexsort((people, cohort))
        self.people: Rows = people[self.order]
        self._columns = {name: Column(table[name], self.order) for name in COLUMNS}
        column = self._columns["cohort"]
        self.names = [str(name) for name in column.names]
        self._starts = np.searchsorted(column.codes, np.arange(len(self.names) + 1))

    def __len__(self) -> int:
        return self.people.size

    def rows(self, cohort: int) -> slice:
        """Return the rows of a cohort."""
        return slice(int(self._starts[cohort]), int(self._starts[cohort + 1]))

    def label(self, row: int) -> dict[str, str]:
        """Return the labels of one row."""
        return {name: column[row] for name, column in self._columns.items()}

    def has(self, field: str, value: str) -> bool:
        """Tell whether a row has this value in a column; never true for the empty value."""
        return bool(value) and self._columns[field].place(value) is not None

    def values_of(self, field: str) -> list[str]:
        """Return the values that a column has, sorted."""
        return self._columns[field].known()

    def counts(self, field: str, rows: slice) -> dict[str, int]:
        """Return how many of some rows have each value of a column; empty values are left out."""
        column = self._columns[field]
        codes, counts = np.unique(column.codes[rows], return_counts=True)
        named = zip(column.names[codes].tolist(), counts.tolist(), strict=True)
        return {name: count for name, count in named if name}

    def n_distinct(self, field: str, rows: Rows) -> int:
        """Return how many values of a column some rows have."""
        return int(np.unique(self._columns[field].codes[rows]).size)

    def mask(self, filters: Filters) -> Mask:
        """(N,) which rows pass.

        Raises
        ------
        ReferenceIndexError
            A value is not among those that the rows have.
        """
        mask = np.ones(len(self), dtype=bool)
        for field, value in filters.kept().items():
            mask &= self._columns[field].codes == self._code(field, value)
        if filters.exclude_patient is not None:
            mask &= self._columns["patient"].codes != self._code("patient", filters.exclude_patient)
        return mask

    def _code(self, field: str, value: str) -> int:
        place = self._columns[field].place(value) if value else None
        if place is None:
            raise unknown_value(field, value, self.values_of(field))
        return place
