"""Checks that the relative links of the project's documents lead to files that exist."""

import re
import subprocess
import sys
from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


def main() -> int:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        check=True,
        capture_output=True,
        text=True,
    )
    broken = 0
    documents = [Path(name) for name in listed.stdout.splitlines() if Path(name).exists()]
    for document in documents:
        for target in LINK.findall(document.read_text(encoding="utf-8")):
            if "://" in target or target.startswith("mailto:"):
                continue
            if not (document.parent / target).exists():
                print(f"{document}: {target} does not exist", file=sys.stderr)
                broken += 1
    print(f"{len(documents)} documents, {broken} broken links")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
