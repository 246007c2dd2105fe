"""`nox -s release`, on a clone of this repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from release import Refused, bumped, moved, release
from repository import ROOT, version

PACKAGE = "xtalk-core"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with one line of news in the changelog."""
    root = tmp_path / "clone"
    subprocess.run(
        ["git", "clone", "--quiet", "--no-hardlinks", "--no-tags", ROOT, root], check=True
    )
    for key, value in (("user.name", "Tester"), ("user.email", "tester@example.org")):
        subprocess.run(["git", "config", key, value], cwd=root, check=True)
    (root / "core" / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- News.\n")
    git(root, "commit", "--quiet", "--all", "-m", "News")
    return root


def git(root: Path, *arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=root, text=True).strip()


@pytest.fixture
def released(clone: Path) -> Path:
    """The clone after a first release, with news again."""
    release(PACKAGE, "first", clone)
    changelog = clone / "core" / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("Unreleased\n", "Unreleased\n\n- More.\n"))
    git(clone, "commit", "--quiet", "--all", "-m", "More news")
    return clone


def test_a_first_release_keeps_the_version(clone: Path) -> None:
    before = version(clone / "core")
    assert release(PACKAGE, "first", clone) == f"{PACKAGE}/v{before}"
    assert version(clone / "core") == before
    assert f"## Unreleased\n\n## {before}\n" in (clone / "core" / "CHANGELOG.md").read_text()


def test_the_first_release_comes_first_and_once(released: Path) -> None:
    with pytest.raises(Refused, match="has been released before"):
        release(PACKAGE, "first", released)
    with pytest.raises(Refused, match="never released"):
        release("xtalk-server", "minor", released)


def test_a_release_is_a_commit_of_two_files_and_a_tag_on_it(released: Path) -> None:
    clone = released
    before = version(clone / "core")
    tag = release(PACKAGE, "patch", clone)
    assert tag == f"{PACKAGE}/v{bumped(before, 'patch')}"
    assert version(clone / "core") == bumped(before, "patch")
    assert git(clone, "rev-list", "-n", "1", tag) == git(clone, "rev-parse", "HEAD")
    changed = git(clone, "show", "--name-only", "--format=", "HEAD").splitlines()
    assert changed == ["core/CHANGELOG.md", "core/pyproject.toml"]
    assert git(clone, "status", "--porcelain") == ""


def test_the_news_move_under_the_version(released: Path) -> None:
    old = version(released / "core")
    release(PACKAGE, "minor", released)
    text = (released / "core" / "CHANGELOG.md").read_text()
    assert text.startswith(f"# Changelog\n\n## Unreleased\n\n## {bumped(old, 'minor')}\n\n- More.")
    assert text.endswith(f"## {old}\n\n- News.\n")


def test_a_release_without_news_is_refused(released: Path) -> None:
    clone = released
    release(PACKAGE, "patch", clone)
    head = git(clone, "rev-parse", "HEAD")
    with pytest.raises(Refused, match="says nothing under"):
        release(PACKAGE, "patch", clone)
    assert git(clone, "rev-parse", "HEAD") == head


def test_a_release_with_changes_in_the_tree_is_refused(clone: Path) -> None:
    (clone / "README.md").write_text("changed")
    with pytest.raises(Refused, match="not committed"):
        release(PACKAGE, "patch", clone)


def test_an_unknown_package_is_refused_with_the_known_ones(clone: Path) -> None:
    with pytest.raises(Refused, match=r"no package is called 'xtalk-nix'.*xtalk-core"):
        release("xtalk-nix", "patch", clone)


@pytest.mark.parametrize(
    ("part", "new"), [("major", "2.0.0"), ("minor", "1.3.0"), ("patch", "1.2.4")]
)
def test_the_part_is_counted_up_and_those_after_it_start_anew(part: str, new: str) -> None:
    assert bumped("1.2.3", part) == new


def test_older_sections_stay_where_they_are() -> None:
    text = "## Unreleased\n\n- New.\n\n## 1.0.0\n\n- Old.\n"
    assert moved(text, "1.0.1") == ("## Unreleased\n\n## 1.0.1\n\n- New.\n\n## 1.0.0\n\n- Old.\n")
