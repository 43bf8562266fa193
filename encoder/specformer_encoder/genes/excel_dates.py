"""Gene symbols that a spreadsheet took for dates.

Excel turns MARCH1 and MARC1 into 1-Mar, SEPT2 into 2-Sep and DEC1 into 1-Dec, for good and without
a word (Ziemann, Eren and El-Osta, Genome Biology 17:177, 2016). The month and the day are still
there, and with them the names it can have been; which genes had those names, the gene table knows.
Where two genes did (1-Mar), the answer is two, never one of them.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Container, Sequence

#: First letters of a month in English, German or French → its number.
_MONTHS = {
    "jan": 1, "feb": 2, "fev": 2, "fév": 2, "mar": 3, "mär": 3, "mrz": 3, "apr": 4, "avr": 4,
    "may": 5, "mai": 5, "jun": 6, "jul": 7, "aug": 8, "aoû": 8, "sep": 9, "oct": 10, "okt": 10,
    "nov": 11, "dec": 12, "dez": 12, "déc": 12,
}  # fmt: skip
_WORDS = "jan(?:uary)?|feb(?:ruary)?|fév|fev|mar(?:ch|s)?|märz?|mrz|apr(?:il)?|avr|may|mai|june?"
_WORDS += (
    "|july?|aug(?:ust)?|aoû|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?|déc"
)
_YEAR = r"(?:[-./ ]*(?:19|20)?\d\d)?"
_DAY_MONTH = re.compile(rf"(\d\d?)(?:\. ?|[-/ ])({_WORDS})\.?{_YEAR}", re.IGNORECASE)
_MONTH_DAY = re.compile(rf"({_WORDS})\.?[-/ ](\d\d?)(?:[-/, ]+(?:19|20)\d\d)?", re.IGNORECASE)
_ISO = re.compile(r"(?:19|20)\d\d([-/.])(\d\d?)\1(\d\d?)(?:[T ]\d\d:\d\d(?::\d\d(?:\.0+)?)?)?")
_NUMBERS = re.compile(r"(\d\d?)([-/.])(\d\d?)\2(?:19|20)\d\d")
#: Day 0 of a spreadsheet's calendar; 40,000 is July 2009.
_EPOCH = datetime.date(1899, 12, 30)
_SERIALS = range(36_526, 55_153)  # the years 2000 to 2050
#: Fewer numbers than this could be dates by chance.
_FEWEST_SERIALS = 3

#: The names that a spreadsheet may have read as a month, a number following.
_GENE_MONTHS = re.compile(
    r"(JAN|FEB|MAR|MARC|MARCH|APR|MAY|JUN|JUL|AUG|SEP|SEPT|OCT|NOV|DEC)[- ]?(\d\d?)", re.IGNORECASE
)


def date_key(month: int, day: int) -> str:
    """Key of a date in the gene table, month and day."""
    return f"{month}-{day}"


def key_of_symbol(symbol: str) -> str | None:
    """Date that a spreadsheet makes of a gene symbol, or None where it leaves it alone.

    Examples
    --------
    >>> key_of_symbol("SEPT2"), key_of_symbol("MARC1"), key_of_symbol("TP53")
    ('9-2', '3-1', None)
    """
    found = _GENE_MONTHS.fullmatch(symbol)
    if found is None or not 1 <= int(found[2]) <= 31:
        return None
    return date_key(_MONTHS[found[1][:3].lower()], int(found[2]))


def keys_of_date(text: str) -> list[str]:
    """Dates that a cell may mean: one, or two where day and month may stand in either order.

    Examples
    --------
    >>> keys_of_date("1-Mar"), keys_of_date("Sep-02"), keys_of_date("2023-03-01")
    (['3-1'], ['9-2'], ['3-1'])
    >>> keys_of_date("03/09/2023")
    ['3-9', '9-3']
    >>> keys_of_date("MARCH1")
    []
    """
    if found := _DAY_MONTH.fullmatch(text):
        pairs = [(_MONTHS[found[2][:3].lower()], int(found[1]))]
    elif found := _MONTH_DAY.fullmatch(text):
        pairs = [(_MONTHS[found[1][:3].lower()], int(found[2]))]
    elif found := _ISO.fullmatch(text):
        pairs = [(int(found[2]), int(found[3]))]
    elif found := _NUMBERS.fullmatch(text):
        first, second = int(found[1]), int(found[3])
        pairs = [(first, second), (second, first)] if first != second else [(first, second)]
    else:
        return []
    return [date_key(month, day) for month, day in pairs if 1 <= month <= 12 and 1 <= day <= 31]


def keys_of_serials(numbers: Sequence[str], known: Container[str]) -> list[str] | None:
    """Dates behind the bare numbers of a file that otherwise has symbols.

    A spreadsheet shows a date without its format as days since 1900, and five digits are an Entrez
    id as well. They are taken for dates only if they all are, in one and the same year, dates that
    genes are turned into.

    Parameters
    ----------
    numbers
        Every bare number among the identifiers of the file.
    known
        Dates that genes are turned into.

    Returns
    -------
    list of str or None
        One date a number, or None where they are not to be taken for dates.

    Examples
    --------
    >>> keys_of_serials(["44256", "44441", "44531"], ["3-1", "9-2", "12-1"])
    ['3-1', '9-2', '12-1']
    >>> keys_of_serials(["44256", "7157", "44531"], ["3-1", "9-2", "12-1"]) is None
    True
    """
    if len(numbers) < _FEWEST_SERIALS or any(len(number) != 5 for number in numbers):
        return None
    if any(int(number) not in _SERIALS for number in numbers):
        return None
    dates = [_EPOCH + datetime.timedelta(days=int(number)) for number in numbers]
    keys = [date_key(date.month, date.day) for date in dates]
    if len({date.year for date in dates}) > 1 or any(key not in known for key in keys):
        return None
    return keys
