"""What holds for every file of the repository."""

import ast
import re
import statistics
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import appliance
from tests.support.tree import PACKAGES, ROOT, files, module_name, sources

MODULES = [path for package in PACKAGES for path in sources(package)]
TEXTS = list(files())

# Each pattern is written so that it does not match itself.
FORBIDDEN = {
    "a package registry's host": r"pypi[.]org|python[h]osted|crates[.]io|registry[.]npmjs|deb[.]debian|proxy[.]golang",
    "a path of one machine": r"(?<![\w.])/(?:wor[k]|roo[t]|hom[e])/",
    "a link out of the repository": r"[.][.]/share[d]",
    "work left undone": r"\b(?:TOD[O]|FIXM[E]|XX[X])\b",
}

ARGUMENTS_NOT_IMPORTS = {"time", "random", "secrets", "uuid"}


def name(path: Path) -> str:
    """Return a path as people write it in this repository; names the test case."""
    return path.relative_to(ROOT).as_posix()


def requirement_names(lines: list[str]) -> set[str]:
    """Return the distributions that requirement lines name, extras and bounds left out, spelled as on an index."""
    found = (re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line) for line in lines)
    return {re.sub(r"[._-]+", "-", match[0]).lower() for match in found if match}


def pins(file: str) -> dict[str, str]:
    """Return name to version of each requirement that a lock file pins."""
    text = (ROOT / "requirements" / file).read_text()
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("subject", FORBIDDEN)
def test_no_file_holds(subject: str) -> None:
    """No file names a registry, a path of somebody's machine, a place outside, or work left undone."""
    pattern = re.compile(FORBIDDEN[subject])
    found = [
        f"{name(path)}:{number}: {line.strip()}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


_EXCEPTION = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma)")
_WITH_REASON = re.compile(
    r"#\s*(?:noqa: [A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*|type: ignore\[[a-z-]+(?:, ?[a-z-]+)*\])(?: -| +#) \S.*"
)


@pytest.mark.parametrize("path", [path for path in TEXTS if path.suffix == ".py"], ids=name)
def test_an_exception_from_a_linter_rule_has_its_reason_beside_it(path: Path) -> None:
    """Each `noqa` and each ignored type error names its rule, and says why in the same comment."""
    with tokenize.open(path) as file:
        comments = [token for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.COMMENT]
    silent = [
        f"{token.start[0]}: {token.string}"
        for token in comments
        if _EXCEPTION.match(token.string) and not _WITH_REASON.fullmatch(token.string)
    ]
    assert silent == []


def public_definitions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield each public class, function and method of a module with its qualified name."""
    pending: list[tuple[str, ast.AST]] = [("", tree)]
    while pending:
        prefix, parent = pending.pop()
        for node in ast.iter_child_nodes(parent):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if node.name.startswith("_") or inherits_meaning(node):
                continue
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                pending.append((f"{prefix}{node.name}.", node))


def inherits_meaning(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a definition says that another one, which it overrides or overloads, documents it."""
    return any(isinstance(mark, ast.Name) and mark.id in {"override", "overload"} for mark in node.decorator_list)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_public_name_is_documented(path: Path) -> None:
    """The module and each public class, function and method in it has a docstring."""
    tree = ast.parse(path.read_text())
    silent = [qualified for qualified, node in public_definitions(tree) if not ast.get_docstring(node)]  # type: ignore[arg-type]  # only nodes that may have one
    assert ast.get_docstring(tree)
    assert not silent


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_stay_small(package: str) -> None:
    """The median module of a package has fewer than 180 lines and none has more than 400."""
    lengths = {name(path): len(path.read_text().splitlines()) for path in sources(package)}
    subjects = [length for file, length in lengths.items() if not file.endswith("__init__.py")]
    assert statistics.median(subjects or [0]) < 180
    assert {file: length for file, length in lengths.items() if length > 400} == {}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_module_is_a_drawer(path: Path) -> None:
    """A module is named after its subject, never after the lack of one."""
    assert not {"utils", "util", "common", "helpers", "misc"} & set(module_name(path).split("."))


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in MODULES
        if module_name(path).startswith(("coldcred", "appliance.nouns"))
        and not module_name(path).startswith(("coldcred.__main__", "coldcred.cli"))
    ],
    ids=name,
)
def test_time_and_randomness_are_arguments(path: Path) -> None:
    """The core asks neither the clock nor the system for randomness; its callers hand both in."""
    asked = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            asked |= ARGUMENTS_NOT_IMPORTS & {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in ARGUMENTS_NOT_IMPORTS:
            asked.add(node.module)
        elif isinstance(node, ast.Attribute) and node.attr in {"urandom", "utcnow", "today", "now"}:
            asked.add(ast.unparse(node))
    assert not asked


def test_lock_files_pin_every_package_by_hash_and_hold_no_address() -> None:
    """Each requirement has an exact version and at least one SHA-256, and no line says where to fetch it."""
    for file in ("run.txt", "build.txt", "dev.txt"):
        text = (ROOT / "requirements" / file).read_text()
        entries = re.split(r"^(?=\S)", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
        for entry in filter(None, entries):
            assert re.match(r"[a-z0-9][a-z0-9._-]*==\S+ ", entry), entry
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
        assert "://" not in text
        assert "--index" not in text
        assert "--find-links" not in text


def test_the_smaller_lock_files_agree_with_the_development_one() -> None:
    """What runs is what was tested: every version of run.txt and build.txt is the one of dev.txt."""
    assert pins("run.txt").items() <= pins("dev.txt").items()
    assert pins("build.txt").items() <= pins("dev.txt").items()


def test_the_lock_covers_what_the_distributions_declare() -> None:
    """Every run-time dependency of both distributions is asked for by name in run.in, and nothing else is."""
    declared: set[str] = set()
    for folder in (ROOT, ROOT / "verifier"):
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        extras = project.get("optional-dependencies", {}).values()
        declared |= requirement_names(project["dependencies"]).union(*map(requirement_names, extras))
    asked = requirement_names((ROOT / "requirements" / "run.in").read_text().splitlines())
    assert declared - {"coldcred"} == asked


def test_every_dependency_is_explained() -> None:
    """docs/dependencies.md has a row for each package that a requirements file asks for by name."""
    explained = (ROOT / "docs" / "dependencies.md").read_text().lower()
    asked: set[str] = set()
    for path in (ROOT / "requirements").glob("*.in"):
        asked |= requirement_names([line for line in path.read_text().splitlines() if not line.startswith("-r")])
    assert {package for package in asked if f"| {package} |" not in explained} == set()


def test_gpl_packages_stay_out_of_the_appliance() -> None:
    """PyKCS11 (GPL-2.0-or-later) helps the tests and is not among the packages the appliance runs with."""
    assert "pykcs11" in pins("dev.txt")
    assert "pykcs11" not in pins("run.txt")


def test_both_distributions_have_one_version_and_one_licence() -> None:
    """The two distributions are released together, under the licence text at the root."""
    ours, verifier = (
        tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in (ROOT, ROOT / "verifier")
    )
    assert (appliance.__version__, ours["license"]) == (verifier["version"], verifier["license"])
    assert (ROOT / "LICENSE").read_bytes() == (ROOT / "verifier" / "LICENSE").read_bytes()


def test_ci_names_every_debian_package() -> None:
    """Each Debian package that bootstrap may install is named, with its reason, in .ci/run."""
    bootstrap = (ROOT / "provisioning" / "bootstrap").read_text()
    wanted = {package for line in re.findall(r'missing="\$missing ([^"]+)"', bootstrap) for package in line.split()}
    named = set(re.findall(r"^    ([a-z0-9][a-z0-9+.-]*) +#", (ROOT / ".ci" / "run").read_text(), re.MULTILINE))
    assert wanted
    assert wanted <= named


def test_every_debian_package_is_explained() -> None:
    """docs/dependencies.md names each one that the scripts of provisioning may install."""
    wanted = set()
    for script, pattern in (
        ("bootstrap", r'missing="\$missing ([^"]+)"'),
        ("modules", r"\bwant ([a-z0-9 .+-]+[a-z0-9])"),
    ):
        found = re.findall(pattern, (ROOT / "provisioning" / script).read_text())
        assert found, script
        wanted |= {package for line in found for package in line.split()}
    explained = (ROOT / "docs" / "dependencies.md").read_text()
    assert {package for package in wanted if f"`{package}`" not in explained} == set()


@pytest.mark.parametrize("path", [path for path in TEXTS if path.suffix == ".md"], ids=name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    """Each relative link of a Markdown file names a file that exists."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
    relative = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in relative if not (path.parent / target).exists()] == []
