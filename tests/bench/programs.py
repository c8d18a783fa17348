"""What `run` compares: the installed helpers, the scripts that they replace, and tools that do the least work there is."""

import ctypes
import os
import pwd
import resource
import shutil
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HELPERS = ["condor_glexec_" + name for name in
           ("setup", "run", "job_wrapper", "kill", "cleanup", "update_proxy", "peer", "job")] + ["glexec_rootless"]

# What the original scripts did, in their shape: each finds the real shell first and switches once, into that shell.
# Setup renames, packs into the switch, and removes entry by entry; cleanup removes while the rest of the pipe is still
# unpacked.
ORIGINALS = {
    "original_setup": """#!/bin/sh
glexec=$1 proxy=$2 sandbox=$3
shell=$(readlink -f /bin/sh)
export GLEXEC_CLIENT_CERT="$sandbox.condor/$proxy" GLEXEC_TARGET_PROXY=/dev/null
mv "$sandbox" "$sandbox.condor" || exit 2
tar -C "$sandbox.condor" -c . | "$glexec" "$shell" -c "install -m 755 -d '$sandbox' && tar -C '$sandbox' -x" || exit 2
for entry in "$sandbox.condor"/* "$sandbox.condor"/.[!.]*; do
    [ "$entry" = "$sandbox.condor/$proxy" ] || rm -rf "$entry"
done
""",
    "original_cleanup": """#!/bin/sh
glexec=$1 proxy=$2 sandbox=$3
shell=$(readlink -f /bin/sh)
export GLEXEC_CLIENT_CERT="$sandbox.condor/$proxy" GLEXEC_TARGET_PROXY=/dev/null
"$glexec" "$shell" -c "rm '$sandbox/$proxy' && tar -C '$sandbox' -c . && rm -rf '$sandbox'" | tar -C "$sandbox.condor" -x
mv "$sandbox.condor" "$sandbox"
""",
    "original_run": """#!/bin/sh
glexec=$1 proxy=$2 sandbox=$3
shift 3
shell=$(readlink -f /bin/sh)
export GLEXEC_CLIENT_CERT="$sandbox.condor/$proxy" GLEXEC_TARGET_PROXY=/dev/null
exec "$glexec" "$shell" -c "cd '$sandbox' && exec \"\$@\"" run "$@"
""",
    "original_kill": """#!/bin/sh
shell=$(readlink -f /bin/sh)
export GLEXEC_CLIENT_CERT="$2" GLEXEC_TARGET_PROXY=/dev/null
"$1" "$shell" -c "/bin/kill -$4 $3"
""",
}
# The same, were it not for one `rm` for each entry at the top, of which a tree may have any number.
ORIGINALS["one_rm_setup"] = ORIGINALS["original_setup"].partition("for entry")[0] + """
find "$sandbox.condor" -mindepth 1 -maxdepth 1 ! -name "$proxy" -exec rm -rf {} +
"""
ORIGINALS["one_rm_cleanup"] = ORIGINALS["original_cleanup"]
OURS, ORIGINAL, ONE_RM = "condor_glexec_", "original_", "one_rm_"
# No helper at all: `cp -a` of the same tree, and `rm -rf` of what was copied.
PLAIN = "plain"


def call(*words, **more):
    return subprocess.run(words, check=True, **more)


class Site:
    """The installed programs, the switcher, and the two accounts."""

    def __init__(self, work):
        self.work = work
        self.pilot, self.target = pwd.getpwnam("pilot"), pwd.getpwnam("greg")
        target = subprocess.run(["sh", "-c", '. tests/target.sh && echo "$CARGO_BUILD_TARGET"'], cwd=ROOT, check=True,
                                capture_output=True, text=True).stdout.strip()
        build = dict(os.environ, CARGO_BUILD_TARGET=target)
        call("cargo", "build", "--release", "--workspace", cwd=ROOT, env=build)
        self.release = os.path.join(ROOT, "target", target, "release")
        self.bin = os.path.join(work, "bin")
        os.mkdir(self.bin, 0o755)
        for name in HELPERS:
            shutil.copy(os.path.join(self.release, name), self.bin)
        self.switcher = os.path.join(self.bin, "switcher")
        shutil.copy(os.path.join(self.release, "test-switcher"), self.switcher)
        os.chmod(self.switcher, 0o4755)
        self.peak = os.path.join(work, "peak")
        with open(self.peak, "w"):
            os.chown(self.peak, self.pilot.pw_uid, self.pilot.pw_gid)
        for name, text in ORIGINALS.items():
            with open(self.path(name), "w") as script:
                script.write(text)
            os.chmod(self.path(name), 0o755)
        call("g++", "-O2", "-o", os.path.join(self.bin, "original_wrapper"),
             os.path.join(ROOT, "tests/bench/original_wrapper.cpp"))

    def path(self, name):
        return os.path.join(self.bin, name)

    def as_pilot(self):
        pilot = self.pilot
        return {"user": pilot.pw_uid, "group": pilot.pw_gid, "extra_groups": [], "umask": 0o022,
                "env": {"PATH": "/usr/bin:/bin"}}


def measured(work):
    """Seconds by the clock and of processor time (with that of all that was started and waited for)."""
    def spent():
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime
    began, before = time.monotonic(), spent()
    work()
    took = time.monotonic() - began
    # A helper's worker may end a moment after the helper; it is ours then.
    time.sleep(0.01)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    return took, spent() - before


def adopt_orphans():
    """From here on this process waits for what its children leave behind."""
    PR_SET_CHILD_SUBREAPER = 36
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl")
