"""Toolchain: how a program of a language is compiled and run inside the sandbox, if this machine can."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

END_MARK = "@@END@@"


class MissingToolchainError(Exception):
    """This machine cannot run a language; the message says what to install."""


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """What the sandbox needs for a language.

    Attributes:
      file: the program's name in `/program`.
      run: a shell command.
      compile: one that comes before it, if it takes one; it may write into `/tmp`.
      reads: paths besides `/usr` that have to be seen inside.
      environment: variables that have to be set.
      says_version: a command, not run inside the sandbox.
      end_mark: what a program's source has for the text by which the sandbox knows that it came to its end.
    """

    file: str
    run: str
    compile: str = ""
    reads: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    says_version: tuple[str, ...]
    end_mark: str = END_MARK

    def version(self) -> str:
        """What the compiler or interpreter says of itself; how programs end may change with it."""
        done = subprocess.run(self.says_version, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()


def find_toolchain(language: str) -> Toolchain:
    """How this machine runs programs of a language of `LANGUAGES`.

    Raises:
      MissingToolchainError: it cannot.
    """
    return LANGUAGES[language]()


def python() -> Toolchain:
    """The Python that this is, without its packages."""
    executable = os.path.realpath(sys.executable)
    library = sysconfig.get_path("platstdlib", vars={"platbase": sys.base_prefix})
    extensions = [str(path) for path in Path(library, "lib-dynload").glob("*.so")]
    return Toolchain(
        file="main.py",
        run=f"{executable} -I -S -B /program/main.py",
        reads=_outside_usr(executable, library, sysconfig.get_path("stdlib"), libraries_of=(executable, *extensions)),
        says_version=(executable, "-VV"),
    )


def _cpp() -> Toolchain:
    _command("g++", "C++", "g++")
    return Toolchain(
        file="main.cpp",
        compile="g++ -std=c++17 -O0 -w -o /tmp/main /program/main.cpp",
        run="/tmp/main",
        says_version=("g++", "--version"),
    )


def _csharp() -> Toolchain:
    _command("mcs", "C#", "mono-mcs mono-runtime")
    return Toolchain(
        file="main.cs",
        compile="mcs -nowarn:0162,0168,0219 -out:/tmp/main.exe /program/main.cs",
        run="mono /tmp/main.exe",
        reads=("/etc/mono",),
        says_version=("mcs", "--version"),
    )


def _go() -> Toolchain:
    _command("go", "Go", "golang-go")
    environment = (("GOCACHE", "/tmp/go"), ("GO111MODULE", "off"), ("GOFLAGS", "-p=2"), ("GOMAXPROCS", "2"))
    return Toolchain(
        file="main.go",
        compile="go build -o /tmp/main /program/main.go",
        run="/tmp/main",
        reads=("/etc/go",),
        environment=environment,
        says_version=("go", "version"),
    )


def _java() -> Toolchain:
    _command("javac", "Java", "default-jdk-headless")
    options = "-Xmx512m -Xss16m -XX:+UseSerialGC -XX:ActiveProcessorCount=2 -XX:TieredStopAtLevel=1"
    return Toolchain(
        file="Main.java",
        compile="javac -J-Xmx512m -J-XX:+UseSerialGC -J-XX:ActiveProcessorCount=2 -nowarn -d /tmp /program/Main.java",
        run=f"java {options} -cp /tmp Main",
        reads=tuple(str(path) for path in Path("/etc").glob("java*")),
        says_version=("javac", "-version"),
    )


def _javascript() -> Toolchain:
    node = _command("node", "JavaScript", "nodejs")
    return Toolchain(
        file="main.js",
        run=f"{node} /program/main.js",
        reads=_outside_usr(node, libraries_of=(node,)),
        says_version=(node, "--version"),
    )


def _kotlin() -> Toolchain:
    _command("kotlinc", "Kotlin", "kotlin")
    _command("java", "Kotlin", "default-jdk-headless")
    options = "-Xmx512m -XX:+UseSerialGC -XX:ActiveProcessorCount=2 -XX:TieredStopAtLevel=1"
    return Toolchain(
        file="main.kt",
        compile="kotlinc -nowarn -include-runtime -d /tmp/main.jar /program/main.kt",
        run=f"java {options} -jar /tmp/main.jar",
        reads=tuple(str(path) for path in Path("/etc").glob("java*")),
        environment=(("JAVA_OPTS", options),),
        says_version=("kotlinc", "-version"),
    )


def _rust() -> Toolchain:
    rustc = _command("rustc", "Rust", "rustc")
    # A rustup proxy looks for its settings in the home, which is not there inside.
    sysroot = subprocess.run([rustc, "--print", "sysroot"], capture_output=True, text=True, check=False).stdout.strip()
    compiler = f"{sysroot}/bin/rustc"
    if not os.path.exists(compiler):
        raise MissingToolchainError(f"Rust: {rustc} names no toolchain: apt install rustc, or rustup default stable")
    return Toolchain(
        file="main.rs",
        compile=f"{compiler} --edition 2021 -A warnings -C debuginfo=0 -o /tmp/main /program/main.rs",
        run="/tmp/main",
        reads=_outside_usr(compiler, f"{sysroot}/lib/rustlib", libraries_of=(compiler,)),
        says_version=(compiler, "--version"),
    )


LANGUAGES: dict[str, Callable[[], Toolchain]] = {
    "python": python,
    "cpp": _cpp,
    "csharp": _csharp,
    "go": _go,
    "java": _java,
    "javascript": _javascript,
    "kotlin": _kotlin,
    "rust": _rust,
}


def _command(name: str, language: str, package: str) -> str:
    found = shutil.which(name)
    if not found:
        raise MissingToolchainError(f"{language}: {name} is not on the PATH: apt install {package}")
    return os.path.realpath(found) if name == "node" else found


def _outside_usr(*paths: str, libraries_of: tuple[str, ...]) -> tuple[str, ...]:
    """What is not there inside of these paths and of the shared libraries of these programs.

    Never a whole prefix: of `~/bin/node` that would be the home, of `/opt/node` all of this machine.
    """
    outside = [path for path in paths if not Path(path).is_relative_to("/usr")]
    if not outside:
        return ()
    # ldd: a line for each library, `name => path (address)`
    said = subprocess.run(["/usr/bin/ldd", *libraries_of], capture_output=True, text=True, check=False).stdout
    libraries = {os.path.normpath(line.split()[2]) for line in said.splitlines() if " => /" in line}
    # The system's libraries are there; their folders are links into /usr, or are bound as they are.
    own = [path for path in libraries if not Path(os.path.realpath(path)).is_relative_to("/usr")]
    return (*dict.fromkeys(outside), *sorted(own))
