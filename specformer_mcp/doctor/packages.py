"""Python and the packages, against the ranges that the distribution declares."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from specformer_mcp.doctor.finding import Finding, ok, problem, warning
from specformer_mcp.settings import Settings

DISTRIBUTION = "specformer-mcp"


def check_python(_: Settings) -> list[Finding]:
    """Ask whether Python is new enough."""
    version = platform.python_version()
    try:
        needed = importlib.metadata.metadata(DISTRIBUTION).get("Requires-Python") or ">=3.11"
    except importlib.metadata.PackageNotFoundError:
        needed = ">=3.11"
    if SpecifierSet(needed).contains(version, prereleases=True):
        return [ok("python", f"{version} on {platform.system()} {platform.machine()}")]
    return [problem("python", f"{version}, but {needed} is needed", "Use a newer Python.")]


def check_packages(_: Settings) -> list[Finding]:
    """Ask whether the packages are there, in versions that this one was made for."""
    try:
        declared = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return [
            warning(
                "packages",
                f"{DISTRIBUTION} runs from its sources and is not installed, so that nothing says "
                "which versions it needs",
                "Install it with `pip install .` in the checkout.",
            )
        ]
    return packages_of(declared)


def packages_of(declared: Sequence[str]) -> list[Finding]:
    """Compare what is installed with requirements as ``numpy<3,>=2.1``."""
    findings, found = [], []
    for requirement in map(Requirement, declared):
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            if needed:
                findings.append(
                    problem(
                        "packages",
                        f"{requirement.name} is missing",
                        f"pip install '{requirement.name}{requirement.specifier}'",
                    )
                )
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            # What only an extra asks for can be unfit without stopping the server.
            state = problem if needed else warning
            findings.append(
                state(
                    "packages",
                    f"{requirement.name} {version} is installed, but {requirement.specifier} is "
                    "needed",
                    f"pip install '{requirement.name}{requirement.specifier}'",
                )
            )
        elif needed:
            found.append(f"{requirement.name} {version}")
    if found:
        findings.append(ok("packages", ", ".join(found)))
    return findings


def check_torch(_: Settings) -> list[Finding]:
    """Ask which build of torch it is, and whether it loads."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return [
            problem(
                "torch",
                f"torch cannot be loaded: {str(error).splitlines()[0][:200]}",
                "Reinstall it: pip install --force-reinstall torch "
                "--index-url https://download.pytorch.org/whl/cpu",
            )
        ]
    if torch.version.cuda is None:
        return [ok("torch", f"{torch.__version__}, built for processors")]
    if torch.cuda.is_available():
        return [ok("torch", f"{torch.__version__}, built for CUDA; serving uses the processor")]
    return [
        warning(
            "torch",
            f"{torch.__version__} is built for CUDA, and there is no GPU; it takes gigabytes more "
            "disk than the build for processors",
            "pip install torch --index-url https://download.pytorch.org/whl/cpu",
        )
    ]
