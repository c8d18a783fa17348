"""Trees to be handed over and taken back, and the file systems that they are on."""

import mmap
import os
import shutil
import subprocess
import sys
import tempfile

from programs import PLAIN, call, measured

MIB = 1 << 20
ROUNDS = 3
PROXY = "x509up"


class Sandbox:
    """A sandbox below an EXECUTE of its own."""

    def __init__(self, site, directory, fill):
        self.site = site
        self.execute = tempfile.mkdtemp(prefix="execute.", dir=directory)
        os.chown(self.execute, site.pilot.pw_uid, site.pilot.pw_gid)
        os.chmod(self.execute, 0o1777)
        self.path = os.path.join(self.execute, "dir_1")
        os.mkdir(self.path, 0o755)
        with open(os.path.join(self.path, PROXY), "w") as proxy:
            proxy.write("benchmark\n")
        os.chmod(proxy.name, 0o600)
        fill(self.path)
        call("chown", "-R", f"{site.pilot.pw_uid}:{site.pilot.pw_gid}", self.path)
        self.content = census(self.path)

    def words(self, program):
        return [self.site.path(program), self.site.switcher, PROXY, self.path, "0", "0"]

    def step(self, program):
        return measured(lambda: call(*self.words(program), cwd="/", **self.site.as_pilot()))

    def plain(self):
        """One copy and one removal; setup and cleanup both stand beside it."""
        copy = self.path + ".copy"
        both = measured(lambda: (call("cp", "-a", self.path, copy, **self.site.as_pilot()),
                                 call("rm", "-rf", self.path, **self.site.as_pilot())))
        self.require(copy, self.site.pilot, self.content)
        return both, both

    def cycle(self, prefix):
        if prefix == PLAIN:
            return self.plain()
        setup = self.step(prefix + "setup")
        self.require(self.path, self.site.target, self.content)
        self.require(self.path + ".condor", self.site.pilot, (1, os.path.getsize(os.path.join(self.path + ".condor", PROXY))))
        cleanup = self.step(prefix + "cleanup")
        self.require(self.path, self.site.pilot, self.content)
        return setup, cleanup

    @staticmethod
    def require(path, owner, content):
        if os.stat(path).st_uid != owner.pw_uid or census(path) != content:
            sys.exit(f"{path} did not arrive whole")

    def remove(self):
        shutil.rmtree(self.execute)


def census(path):
    """How many files, and how long they are together."""
    sizes = [os.path.getsize(os.path.join(directory, name)) for directory, _, names in os.walk(path) for name in names]
    return len(sizes), sum(sizes)


def one_file(size):
    def fill(path):
        block = os.urandom(MIB)
        with open(os.path.join(path, "data"), "wb") as data:
            for _ in range(size // MIB):
                data.write(block)
    return fill


def small_files(count, each=4096):
    def fill(path):
        content = os.urandom(each)
        for number in range(count):
            if number % 100 == 0:
                directory = os.path.join(path, f"d{number // 100}")
                os.mkdir(directory)
            with open(os.path.join(directory, f"f{number}"), "wb") as data:
                data.write(content)
    return fill


def sparse(path):
    with open(os.path.join(path, "sparse"), "wb") as data:
        data.truncate(8 << 30)
        for at in 1 << 30, 7 << 30:
            data.seek(at)
            data.write(os.urandom(4096))


def nothing(_path):
    pass


def touch_memory():
    """Takes memory and gives it back, so that nobody has to wait for the machine below to find some."""
    with mmap.mmap(-1, 3 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE):
        pass


def compare(site, directory, fill, *kinds):
    """What each round of each kind's setup and cleanup took. They take turns in being first; the first round is dropped."""
    figures = {kind: [] for kind in kinds}
    for number in range(ROUNDS + 1):
        for kind in kinds if number % 2 else reversed(kinds):
            sandbox = Sandbox(site, directory, fill)
            os.sync()
            touch_memory()
            figures[kind].append(sandbox.cycle(kind))
            sandbox.remove()
    return {kind: list(zip(*taken[1:])) for kind, taken in figures.items()}


class FileSystem:
    """A file system in memory, so that no disk's noise is measured."""

    def __init__(self, work, kind):
        self.work, self.kind, self.mount = work, kind, os.path.join(work, kind)

    def __enter__(self):
        os.mkdir(self.mount)
        if self.kind == "tmpfs":
            call("mount", "-t", "tmpfs", "-o", "size=6G", "tmpfs", self.mount)
        else:
            backing = os.path.join(self.work, self.kind + ".backing")
            os.mkdir(backing)
            call("mount", "-t", "tmpfs", "-o", "size=7G", "tmpfs", backing)
            image = os.path.join(backing, "image")
            with open(image, "wb") as file:
                file.truncate(6 << 30)
            call("mkfs." + self.kind, "-q", *(["-F"] if self.kind == "ext4" else []), image)
            call("mount", "-o", "loop", image, self.mount)
        os.chmod(self.mount, 0o755)
        return self.mount

    def __exit__(self, *_):
        unmount_below(self.work)


def unmount_below(work):
    with open("/proc/self/mounts") as mounts:
        below = [line.split()[1] for line in mounts if line.split()[1].startswith(work + "/")]
    for mount in reversed(below):
        call("umount", mount)
