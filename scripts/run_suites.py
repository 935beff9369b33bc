"""Run the suites one after the other; a table with times at the end. A skipped test is a failed test."""

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

BIN = Path(sys.executable).parent
TESTED = ("libs", "cli", "orchestrator", "image-service", "reconstruction-service", "postprocess-service")
TSR = "reconstruction-service/tsr"
SOURCES = [
    *(f"libs/{name}/src" for name in ("contracts", "geometry", "servicekit", "slots", "client")),
    *(f"{name}/src" for name in TESTED[1:]),
    f"{TSR}/src",
]
#: name → pytest paths; in the order a reader would want to know.
SUITES = {
    **{name: [name] for name in TESTED},
    "reconstruction-service": ["reconstruction-service/tests"],
    "tsr": [f"{TSR}/tests"],
    "contract": ["tests/contract"],
    "e2e": ["tests/e2e"],
    "attacks": ["tests/attacks"],
    "faults": ["tests/faults"],
}
#: Suites that only count: two of their files at a time. The others measure time, or would fight over a mesh.
SIDE_BY_SIDE = {"libs", "cli", "image-service", "reconstruction-service", "postprocess-service"}
CHECKS = {
    "ruff": [[str(BIN / "ruff"), "check", "."], [str(BIN / "ruff"), "format", "--check", "."]],
    "mypy": [[str(BIN / "mypy"), *SOURCES]],
    "imports": [[str(BIN / "lint-imports"), "--no-logo"]],
    "sizes": [[sys.executable, "scripts/check_size.py"]],
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one suite went."""

    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float

    @property
    def good(self) -> bool:
        """Something ran, all of it passed, and nothing was left out."""
        return self.passed > 0 and not self.failed and not self.skipped


def check(name: str) -> Outcome:
    """Run the commands of one check."""
    began = time.monotonic()
    codes = [subprocess.run(command).returncode for command in CHECKS[name]]
    failed = sum(code != 0 for code in codes)
    return Outcome(name=name, passed=len(codes) - failed, failed=failed, skipped=0, seconds=time.monotonic() - began)


def suite(name: str) -> Outcome:
    """Run one suite under pytest."""
    began = time.monotonic()
    with TemporaryDirectory() as directory:
        report = Path(directory) / "junit.xml"
        lanes = ["-n", "2", "--dist", "loadfile"] if name in SIDE_BY_SIDE else []
        subprocess.run([sys.executable, "-m", "pytest", f"--junitxml={report}", *lanes, *SUITES[name]])
        if not report.exists():
            return Outcome(name=name, passed=0, failed=1, skipped=0, seconds=time.monotonic() - began)
        counts = [found.attrib for found in ET.parse(report).iter("testsuite")]
    total, bad, skipped = (
        sum(int(c[key]) for c in counts for key in keys) for keys in (("tests",), ("failures", "errors"), ("skipped",))
    )
    return Outcome(
        name=name, passed=total - bad - skipped, failed=bad, skipped=skipped, seconds=time.monotonic() - began
    )


def main() -> int:
    """All checks and suites, or those named on the command line."""
    wanted = sys.argv[1:] or [*CHECKS, *SUITES]
    unknown = [name for name in wanted if name not in CHECKS and name not in SUITES]
    if unknown:
        print(f"no such suite: {', '.join(unknown)}; there are {', '.join([*CHECKS, *SUITES])}")
        return 2
    outcomes = []
    for name in wanted:
        print(f"\n=== {name} ===", flush=True)
        outcomes.append(check(name) if name in CHECKS else suite(name))
    print(f"\n{'suite':<26}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for o in outcomes:
        print(f"{o.name:<26}{o.passed:>8}{o.failed:>8}{o.skipped:>9}{o.seconds:>9.1f}{'' if o.good else '   ✗'}")
    passed, failed = sum(o.passed for o in outcomes), sum(o.failed + o.skipped for o in outcomes)
    print(f"\n{passed} passed, {failed} failed")
    return 0 if all(o.good for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
