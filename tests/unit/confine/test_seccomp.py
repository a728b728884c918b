"""The filter, run by an independent BPF machine for both architectures, on any host."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.confine import Profile, linux, seccomp, syscalls
from pratique.confine.bpf import ALLOW, ERRNO, KILL_PROCESS, Condition, Rule, assemble
from tests.support.bpf import verdict

EPERM, EAGAIN, EROFS, ENOTTY, ENOSYS = 1, 11, 30, 25, 38
PID = 4242
ARCHITECTURES = list(linux.AUDIT_ARCHITECTURES)


def policy(profile=Profile.PARSER, **changes):
    plain = {
        "threads": profile is Profile.MODEL,
        "writes": False,
        "attributes": False,
        "gpu": False,
        "private_pids": True,
    }
    return seccomp.CallPolicy(profile=profile, **{**plain, **changes})


MODEL = Profile.MODEL
POLICIES = [
    policy(profile, writes=writes, gpu=gpu, attributes=attributes)
    for profile in Profile
    for writes, attributes in itertools.product((False, True), repeat=2)
    for gpu in ((False, True) if profile is MODEL else (False,))
]
# Calls that no profile may ever allow, by their numbers on x86_64 and aarch64.
NEVER = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "sendmmsg": (307, 269),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "personality": (135, 92),
    "seccomp": (317, 277),
    "landlock_restrict_self": (446, 446),
    "setuid": (105, 146),
    "setresuid": (117, 147),
    "setgroups": (116, 159),
    "capset": (126, 91),
    "setsid": (112, 157),
    "setpgid": (109, 154),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "sethostname": (170, 161),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "ioperm": (173, None),
    "iopl": (172, None),
    "modify_ldt": (154, None),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "chown": (92, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "inotify_add_watch": (254, 27),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "syslog": (103, 116),
    "splice": (275, 76),
    "vmsplice": (278, 75),
    "sched_setscheduler": (144, 119),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "remap_file_pages": (216, 234),
    "memfd_secret": (447, 447),
}


def ask(policy, architecture, number, *arguments):
    program = seccomp.program(policy, architecture, PID)
    return verdict(program, number, linux.AUDIT_ARCHITECTURES[architecture], arguments)


def number_of(name, architecture):
    for group in ("FILES", "MEMORY", "SELF", "WRITING", "ATTRIBUTES", "CHANNEL", "MODEL", "RULED"):
        found = syscalls.table(getattr(syscalls, group), architecture)
        if name in found:
            return found[name]
    raise AssertionError(name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", NEVER)
def test_never_allowed(name, architecture):
    number = NEVER[name][ARCHITECTURES.index(architecture)]
    if number is None:
        return
    for each in POLICIES:
        assert ask(each, architecture, number) == ERRNO | EPERM


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_program_fits_the_kernel_and_every_path_returns(architecture):
    for each in POLICIES:
        program = seccomp.program(each, architecture, PID)
        assert len(program) <= 4096
        assert program[-1][0] == 0x06
        for at, (code, if_true, if_false, _) in enumerate(program):
            if code in {0x15, 0x25, 0x35}:
                assert at + 1 + max(if_true, if_false) < len(program)


@given(
    st.sampled_from(ARCHITECTURES),
    st.sampled_from(POLICIES),
    st.integers(0, (1 << 32) - 1),
    st.lists(st.integers(0, (1 << 64) - 1), min_size=6, max_size=6),
)
def test_only_listed_calls_pass(architecture, each, number, arguments):
    answer = ask(each, architecture, number, *arguments)
    groups = ("FILES", "MEMORY", "TIME", "SELF", "WRITING", "ATTRIBUTES", "CHANNEL", "MODEL")
    names = (*groups, "RULED")
    known = {n for g in names for n in syscalls.table(getattr(syscalls, g), architecture).values()}
    assert answer in {ALLOW, KILL_PROCESS} or answer & 0xFFFF0000 == ERRNO
    if number not in known:
        assert answer != ALLOW
    if architecture == "x86_64" and number >= 0x40000000:
        assert answer == KILL_PROCESS


@given(st.integers(0, (1 << 32) - 1), st.integers(0, 500))
def test_a_foreign_machine_is_killed(audit, number):
    program = seccomp.program(policy(), "x86_64", PID)
    if audit != linux.AUDIT_ARCHITECTURES["x86_64"]:
        assert verdict(program, number, audit) == KILL_PROCESS


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_calls_newer_than_we_know_are_answered_as_absent(architecture):
    assert ask(policy(MODEL), architecture, 451) == ERRNO | ENOSYS
    assert ask(policy(MODEL), architecture, 100_000) == ERRNO | ENOSYS
    assert ask(policy(MODEL), architecture, syscalls.LAST_KNOWN) == ERRNO | EPERM


# name, arguments, answer for a parser, answer for a model
ARGUMENTS = [
    ("clone", (0x3D0F00,), ERRNO | EAGAIN, ALLOW),  # what pthread_create asks for
    ("clone", (0x1200011,), ERRNO | EAGAIN, ERRNO | EPERM),  # fork
    ("clone", (0x4111,), ERRNO | EAGAIN, ERRNO | EPERM),  # vfork
    ("clone", (0x10000000 | 0x10000,), ERRNO | EAGAIN, ERRNO | EPERM),  # user namespace
    ("clone", (0x00020000 | 0x10000,), ERRNO | EAGAIN, ERRNO | EPERM),  # mount namespace
    ("clone3", (), ERRNO | ENOSYS, ERRNO | ENOSYS),
    ("kill", (PID, 9), ALLOW, ALLOW),
    ("kill", (PID + 1, 9), ERRNO | EPERM, ERRNO | EPERM),
    ("kill", ((1 << 64) - 1, 9), ERRNO | EPERM, ERRNO | EPERM),  # everybody
    ("kill", (0, 9), ERRNO | EPERM, ERRNO | EPERM),  # the group
    ("tgkill", (PID, 1, 6), ALLOW, ALLOW),
    ("tgkill", (1, 1, 6), ERRNO | EPERM, ERRNO | EPERM),
    ("openat", (0, 0, 0), ALLOW, ALLOW),
    ("openat", (0, 0, 0o2000000), ALLOW, ALLOW),  # O_CLOEXEC
    ("openat", (0, 0, 1), ERRNO | EROFS, ERRNO | EROFS),  # O_WRONLY
    ("openat", (0, 0, 0o100), ERRNO | EROFS, ERRNO | EROFS),  # O_CREAT
    ("openat", (0, 0, 0o1000), ERRNO | EROFS, ERRNO | EROFS),  # O_TRUNC
    ("openat2", (), ERRNO | ENOSYS, ERRNO | ENOSYS),
    ("mmap", (0, 4096, 5, 2), ALLOW, ALLOW),  # code of a library
    ("mmap", (0, 4096, 7, 0x22), ERRNO | EPERM, ALLOW),  # writable code
    ("mmap", (0, 4096, 3, 0x22), ALLOW, ALLOW),
    ("mmap", (0, 4096, 3, 0x21), ERRNO | EPERM, ALLOW),  # shared memory
    ("mprotect", (0, 4096, 1), ALLOW, ALLOW),
    ("mprotect", (0, 4096, 5), ERRNO | EPERM, ALLOW),
    ("pkey_mprotect", (0, 4096, 4), ERRNO | EPERM, ALLOW),
    ("fcntl", (0, 3), ALLOW, ALLOW),  # F_GETFL
    ("fcntl", (0, 8, 1), ERRNO | EPERM, ERRNO | EPERM),  # F_SETOWN
    ("fcntl", (0, 10, 9), ERRNO | EPERM, ERRNO | EPERM),  # F_SETSIG
    ("fcntl", (0, 15), ERRNO | EPERM, ERRNO | EPERM),  # F_SETOWN_EX
    ("fcntl", (0, (1 << 32) + 8, 1), ERRNO | EPERM, ERRNO | EPERM),  # the kernel reads 32 bits
    ("ioctl", (0, 0x5401), ALLOW, ALLOW),
    ("ioctl", (0, 0x5412), ERRNO | ENOTTY, ERRNO | ENOTTY),  # TIOCSTI
    ("ioctl", (0, 0xC0046686), ERRNO | ENOTTY, ERRNO | ENOTTY),
    ("prctl", (15,), ALLOW, ALLOW),  # PR_SET_NAME
    ("prctl", (1, 0), ERRNO | EPERM, ERRNO | EPERM),  # PR_SET_PDEATHSIG
    ("prctl", (4, 1), ERRNO | EPERM, ERRNO | EPERM),  # PR_SET_DUMPABLE
    ("prctl", (0x59616D61,), ERRNO | EPERM, ERRNO | EPERM),  # PR_SET_PTRACER
    ("prlimit64", (0, 4), ALLOW, ALLOW),
    ("prlimit64", (1, 4), ERRNO | EPERM, ERRNO | EPERM),
    ("sendto", (3, 0, 1, 0, 0), ERRNO | EPERM, ALLOW),
    ("sendto", (3, 0, 1, 0, 0x7FFF00001000), ERRNO | EPERM, ERRNO | EPERM),  # elsewhere
    ("sendto", (3, 0, 1, 0, 1 << 32), ERRNO | EPERM, ERRNO | EPERM),  # high word only
    ("recvmsg", (3,), ERRNO | EPERM, ALLOW),
    ("memfd_create", (), ERRNO | EPERM, ALLOW),
    ("ftruncate", (), ERRNO | EPERM, ERRNO | EPERM),
    ("unlinkat", (), ERRNO | EPERM, ERRNO | EPERM),
    ("fchmodat", (), ERRNO | EPERM, ERRNO | EPERM),
    ("read", (), ALLOW, ALLOW),
    ("exit_group", (), ALLOW, ALLOW),
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("name", "arguments", "parser", "model"), ARGUMENTS)
def test_arguments_decide(name, arguments, parser, model, architecture):
    number = number_of(name, architecture)
    assert ask(policy(), architecture, number, *arguments) == parser
    assert ask(policy(MODEL), architecture, number, *arguments) == model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_writing_needs_a_grant(architecture):
    writes = policy(writes=True)
    for name in ("ftruncate", "unlinkat", "renameat2", "openat2"):
        assert ask(writes, architecture, number_of(name, architecture)) == ALLOW
    assert ask(writes, architecture, number_of("openat", architecture), 0, 0, 0o101) == ALLOW


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_modes_may_change_only_behind_another_layer(architecture):
    number = number_of("fchmodat", architecture)
    assert ask(policy(MODEL, attributes=True), architecture, number) == ALLOW
    assert ask(policy(attributes=True), architecture, number) == ERRNO | EPERM  # a parser never


def test_devices_need_a_gpu():
    nvidia = 0xC020462A
    assert ask(policy(MODEL, gpu=True), "x86_64", 16, 0, nvidia) == ALLOW
    assert ask(policy(MODEL), "x86_64", 16, 0, nvidia) == ERRNO | ENOTTY
    assert ask(policy(MODEL, gpu=True), "x86_64", 16, 0, 0x5412) == ERRNO | EPERM


def test_without_private_processes_only_its_own_affinity():
    assert ask(policy(private_pids=False), "x86_64", 203, 99) == ERRNO | EPERM
    assert ask(policy(private_pids=False), "x86_64", 203, 0) == ALLOW
    assert ask(policy(), "x86_64", 203, 99) == ALLOW


def test_tables_have_no_number_twice():
    for architecture in ARCHITECTURES:
        groups = ("FILES", "MEMORY", "TIME", "SELF", "WRITING", "ATTRIBUTES", "CHANNEL", "MODEL")
        numbers = [
            number
            for group in (*groups, "RULED")
            for number in syscalls.table(getattr(syscalls, group), architecture).values()
        ]
        assert len(numbers) == len(set(numbers))
        assert max(numbers) <= syscalls.LAST_KNOWN


@given(
    st.sets(st.integers(0, 60)),
    st.dictionaries(st.integers(0, 60), st.sampled_from([(5,), (5, 6), (0,)])),
    st.integers(0, 80),
    st.integers(0, 8),
    st.booleans(),
)
def test_assembled_programs_say_what_their_rules_say(allowed, ruled, number, argument, among):
    rules = {n: Rule((Condition(1, v, among=among),), error=EROFS) for n, v in ruled.items()}
    answer = verdict(assemble(7, allowed, rules, x32=False), number, 7, (0, argument))
    if number in rules:
        expected = ALLOW if (argument in ruled[number]) is among else ERRNO | EROFS
    else:
        expected = ALLOW if number in allowed else ERRNO | EPERM
    assert answer == expected
