"""Counts the test cases of JUnit reports: prints `passed failed skipped`."""

import sys
from xml.etree import ElementTree


def count(paths: list[str]) -> tuple[int, int, int]:
    """Looks at every case by itself: runners disagree about the totals in the head."""
    passed = failed = skipped = 0
    for path in paths:
        for case in ElementTree.parse(path).iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed += 1
            elif case.find("skipped") is not None:
                skipped += 1
            else:
                passed += 1
    return passed, failed, skipped


if __name__ == "__main__":
    print(*count(sys.argv[1:]))
