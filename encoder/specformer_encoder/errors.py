"""Errors that name what was expected, what came and what to do next.

Every error that a user's input can cause is a `SpecformerError`, so the server and the command
line can pass its text on as it is; anything else is a bug and is reported as one.
"""


class SpecformerError(Exception):
    """A problem that the user can mend.

    Parameters
    ----------
    problem
        What was expected and what came, one or two sentences.
    remedy
        What to do about it, one sentence.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem = problem
        self.remedy = remedy


class InputFileError(SpecformerError):
    """The file is missing, unreadable, too large, truncated or of an unknown form."""


class GeneIdentifierError(SpecformerError):
    """The gene identifiers cannot be resolved, or too few of them can."""


class ExpressionValueError(SpecformerError):
    """The expression values cannot be ordered: negative, not finite, z-scored, constant."""


class ReleaseError(SpecformerError):
    """A model release is missing, damaged or does not match."""


class CorpusError(SpecformerError):
    """A labelled corpus is missing something or contradicts itself."""


class RecipeError(SpecformerError):
    """A training recipe has an unknown key or an impossible value."""


class TrainingError(SpecformerError):
    """A training run cannot start, go on or be resumed."""


class DownloadError(SpecformerError):
    """A public file cannot be fetched, or what came is not what was published."""
