"""System call numbers, from the kernel's own tables (Linux 6.1 uapi), for x86_64 and aarch64.

Only calls that some profile allows are listed, so that a call that is not here is refused by
default. `-` marks a call that an architecture does not have.
"""

Table = dict[str, int]

LAST_KNOWN = 450  # set_mempolicy_home_node; a higher number is answered "no such call" (ENOSYS)

# Reading files and waiting for them; which files, Landlock and the mount view decide.
FILES = """
read 0 63, readv 19 65, pread64 17 67, preadv 295 69, preadv2 327 286, write 1 64, writev 20 66,
lseek 8 62, stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79, statx 332 291, access 21 -,
faccessat 269 48, faccessat2 439 439, readlink 89 -, readlinkat 267 78, getdents 78 -,
getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50, statfs 137 43, fstatfs 138 44,
fadvise64 221 223, readahead 187 213, close 3 57, close_range 436 436, dup 32 23, dup2 33 -,
dup3 292 24, pipe 22 -, pipe2 293 59, poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72,
epoll_create 213 -, epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22,
epoll_pwait2 441 441, eventfd 284 -, eventfd2 290 19, sendfile 40 71, flock 73 32, fsync 74 82,
fdatasync 75 83, umask 95 166, getxattr 191 8, lgetxattr 192 9, fgetxattr 193 10,
listxattr 194 11, llistxattr 195 12, flistxattr 196 13
"""

# Memory of its own; the calls that map it are ruled by argument.
MEMORY = """
munmap 11 215, mremap 25 216, madvise 28 233, brk 12 214, mlock 149 228, mlock2 325 284,
munlock 150 229, mlockall 151 230, munlockall 152 231, msync 26 227, mincore 27 232,
membarrier 324 283, pkey_alloc 330 289, pkey_free 331 290
"""

# Clocks and timers of its own.
TIME = """
clock_gettime 228 113, clock_getres 229 114, clock_nanosleep 230 115, nanosleep 35 101,
gettimeofday 96 169, time 201 -, times 100 153, getitimer 36 102, setitimer 38 103, alarm 37 -,
pause 34 -, timer_create 222 107, timer_settime 223 110, timer_gettime 224 108,
timer_getoverrun 225 109, timer_delete 226 111, timerfd_create 283 85, timerfd_settime 286 86,
timerfd_gettime 287 87
"""

# What a process may know and do about itself.
SELF = """
getpid 39 172, getppid 110 173, gettid 186 178, getuid 102 174, geteuid 107 175, getgid 104 176,
getegid 108 177, getgroups 115 158, getresuid 118 148, getresgid 120 150, getpgrp 111 -,
getpgid 121 155, getsid 124 156, uname 63 160, sysinfo 99 179, getrusage 98 165,
getrlimit 97 163, getpriority 140 141, getrandom 318 278, getcpu 309 168, capget 125 90,
sched_yield 24 124, sched_getaffinity 204 123, sched_getparam 143 121,
sched_getscheduler 145 120, sched_getattr 315 275, sched_get_priority_max 146 125,
sched_get_priority_min 147 126, sched_rr_get_interval 148 127, ioprio_get 252 31,
rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136,
rt_sigsuspend 130 133, rt_sigtimedwait 128 137, sigaltstack 131 132, signalfd 282 -,
signalfd4 289 74, restart_syscall 219 128, exit 60 93, exit_group 231 94, futex 202 98,
futex_waitv 449 449, set_tid_address 218 96, set_robust_list 273 99, get_robust_list 274 100,
rseq 334 293, arch_prctl 158 -, wait4 61 260, waitid 247 95, get_mempolicy 239 236
"""

# Changing files, only where the lock grants a path or a scratch directory.
WRITING = """
pwrite64 18 68, pwritev 296 70, pwritev2 328 287, truncate 76 45, ftruncate 77 46,
fallocate 285 47, creat 85 -, mkdir 83 -, mkdirat 258 34, rmdir 84 -, unlink 87 -,
unlinkat 263 35, rename 82 -, renameat 264 38, renameat2 316 276, link 86 -, linkat 265 37,
symlink 88 -, symlinkat 266 36, copy_file_range 326 285, sync_file_range 277 84
"""

# Modes and times: Landlock does not rule them, so that another layer must.
ATTRIBUTES = """
chmod 90 -, fchmod 91 52, fchmodat 268 53, utime 132 -, utimes 235 -, futimesat 261 -,
utimensat 280 88
"""

# Using a socket that was inherited; none of these makes or connects one.
CHANNEL = """
recvfrom 45 207, sendmsg 46 211, recvmsg 47 212, shutdown 48 210, getsockopt 55 209,
setsockopt 54 208, getsockname 51 204, getpeername 52 205
"""

# What torch and CUDA use beyond.
MODEL = """
memfd_create 319 279, set_mempolicy 238 237, mbind 237 235
"""

# Allowed or not by their arguments; the rules are in `pratique.confine.seccomp`.
RULED = """
open 2 -, openat 257 56, openat2 437 437, mmap 9 222, mprotect 10 226, pkey_mprotect 329 288,
fcntl 72 25, ioctl 16 29, prctl 157 167, prlimit64 302 261, setrlimit 160 164, kill 62 129,
tgkill 234 131, sched_setaffinity 203 122, clone 56 220, clone3 435 435, sendto 44 206
"""


def table(group: str, architecture: str) -> Table:
    """Name → number of one group on `x86_64` or `aarch64`; absent calls are left out."""
    column = {"x86_64": 1, "aarch64": 2}[architecture]
    rows = [row.split() for row in group.split(",")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}
