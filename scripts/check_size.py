"""Size gates: functions ≤ 60 lines, `create_app` ≤ 40, files ≤ 500; no junk-drawer module names."""

import ast
import subprocess
import sys
from pathlib import Path

MAX_FUNCTION, MAX_CREATE_APP, MAX_FILE = 60, 40, 500
#: Names that somebody else's programs import.
GIVEN = {"reconstruction-service/tsr/src/tsr/utils.py"}
JUNK = {"utils", "util", "common", "helpers", "misc", "core", "manager"}


def findings(path: Path) -> list[str]:
    """What is too large in one file, or misnamed."""
    text = path.read_text()
    found = [f"{path}: a junk-drawer name"] if path.stem in JUNK and str(path) not in GIVEN else []
    if (lines := text.count("\n")) > MAX_FILE:
        found.append(f"{path}: {lines} lines, at most {MAX_FILE}")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            limit = MAX_CREATE_APP if node.name == "create_app" else MAX_FUNCTION
            if lines > limit:
                found.append(f"{path}:{node.lineno}: {node.name} has {lines} lines, at most {limit}")
    return found


def main() -> int:
    """Check every tracked or new Python file; exit status 1 with the list of findings."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    found = [line for name in listed if Path(name).is_file() for line in findings(Path(name))]
    print("\n".join(found) or f"sizes are fine in {len(listed)} files")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
