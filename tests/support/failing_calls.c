/* Makes the n-th system call of some kinds fail that concerns a path below a folder. For LD_PRELOAD, built by
   tests/support/failing_calls.py, which also documents the control file: one that all processes of a trial map, named
   by BENCH_FAILING_CALLS. Every call is counted there, whichever process makes it.

   A disk that is full and stays so takes the first half of what is written to it, and refuses the next call. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN, OPEN_TO_WRITE, CREATE, WRITE, SYNC, CLOSE, LINK, RENAME, MKDIR, REMOVE, TRUNCATE, CHMOD, DESCRIPTOR };

struct control {
    int64_t number;     /* which call fails, from 1; 0 for none */
    int64_t error;      /* with this errno */
    int64_t stays;      /* all after it fail too */
    int64_t kinds;      /* bits of the enumeration above: which calls are counted */
    int64_t count;      /* calls so far */
    int64_t failed;     /* calls that were made to fail */
    char folder[1024];  /* the folder's path, with a slash behind it */
    char first[2048];   /* the first call that failed: its kind, a space, its path */
};

static struct control *shared;

static struct control *control(void) {
    if (!shared) {
        const char *path = getenv("BENCH_FAILING_CALLS");
        if (!path || !*path) return NULL;
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
        if (fd < 0) return NULL;
        void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        syscall(SYS_close, fd);
        if (mapped != MAP_FAILED) shared = mapped;
    }
    return shared;
}

/* Whether this call is to fail; sets errno then. */
static int fails(int kind, const char *path) {
    struct control *c = control();
    if (!c || !(c->kinds >> kind & 1)) return 0;
    if (kind != DESCRIPTOR && strncmp(path, c->folder, strlen(c->folder))) return 0;
    int64_t number = __atomic_add_fetch(&c->count, 1, __ATOMIC_SEQ_CST);
    if (!c->number || (c->stays ? number < c->number : number != c->number)) return 0;
    if (__atomic_fetch_add(&c->failed, 1, __ATOMIC_SEQ_CST) == 0)
        snprintf(c->first, sizeof c->first, "%d %s", kind, path);
    errno = (int)c->error;
    return 1;
}

static void absolute(int folder, const char *path, char *out) {
    char base[PATH_MAX] = "";
    if (path[0] != '/') {
        if (folder == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) base[0] = 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t size = readlink(link, base, sizeof base - 1);
            base[size > 0 ? size : 0] = 0;
        }
    }
    snprintf(out, PATH_MAX, "%s%s%s", base, base[0] ? "/" : "", path);
}

static int fails_at(int kind, int folder, const char *path) {
    if (!control()) return 0;
    char full[PATH_MAX];
    absolute(folder, path, full);
    return fails(kind, full);
}

static int fails_on(int kind, int fd) {
    if (!control()) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size <= 0) return 0;
    path[size] = 0;
    return fails(kind, path);
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* --- opening --- */

static int open_fails(int folder, const char *path, int flags) {
    int kind = OPEN;
    if ((flags & O_TMPFILE) == O_TMPFILE)
        kind = CREATE;
    else if (flags & O_CREAT)
        kind = syscall(SYS_faccessat, folder, path, F_OK) ? CREATE : OPEN_TO_WRITE;
    else if ((flags & O_ACCMODE) != O_RDONLY)
        kind = OPEN_TO_WRITE;
    return fails_at(kind, folder, path);
}

#define MODE(flags, after) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list list; \
        va_start(list, after); \
        mode = (mode_t)va_arg(list, int); \
        va_end(list); \
    }

#define OPEN_LIKE(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        MODE(flags, flags) \
        return open_fails(AT_FDCWD, path, flags) ? -1 : real(path, flags, mode); \
    }
#define OPENAT_LIKE(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        MODE(flags, flags) \
        return open_fails(folder, path, flags) ? -1 : real(folder, path, flags, mode); \
    }
#define FOPEN_LIKE(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(name); \
        int flags = mode[0] == 'r' && !strchr(mode, '+') ? O_RDONLY : O_RDWR | (mode[0] == 'r' ? 0 : O_CREAT); \
        return open_fails(AT_FDCWD, path, flags) ? NULL : real(path, mode); \
    }

OPEN_LIKE(open)
OPEN_LIKE(open64)
OPENAT_LIKE(openat)
OPENAT_LIKE(openat64)
FOPEN_LIKE(fopen)
FOPEN_LIKE(fopen64)

int pipe(int ends[2]) {
    REAL(pipe);
    return fails(DESCRIPTOR, "a pipe") ? -1 : real(ends);
}

int pipe2(int ends[2], int flags) {
    REAL(pipe2);
    return fails(DESCRIPTOR, "a pipe") ? -1 : real(ends, flags);
}

int socketpair(int domain, int type, int protocol, int ends[2]) {
    REAL(socketpair);
    return fails(DESCRIPTOR, "a pair of sockets") ? -1 : real(domain, type, protocol, ends);
}

/* --- writing --- */

/* How much of a write passes: -1 for none, with errno set. */
static ssize_t allowed(int fd, size_t size) {
    if (!fails_on(WRITE, fd)) return (ssize_t)size;
    struct control *c = shared;
    int first = c->failed == 1 && c->stays && (c->error == ENOSPC || c->error == EDQUOT);
    return first && size > 1 ? (ssize_t)(size / 2) : -1;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    REAL(write);
    int before = errno;
    ssize_t passing = allowed(fd, size);
    if (passing < 0) return -1;
    errno = before;
    return real(fd, bytes, (size_t)passing);
}

#define PWRITE_LIKE(name) \
    ssize_t name(int fd, const void *bytes, size_t size, off_t place) { \
        REAL(name); \
        ssize_t passing = allowed(fd, size); \
        return passing < 0 ? -1 : real(fd, bytes, (size_t)passing, place); \
    }
PWRITE_LIKE(pwrite)
PWRITE_LIKE(pwrite64)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    return fails_on(WRITE, fd) ? -1 : real(fd, parts, count);
}

ssize_t sendfile(int out, int in, off_t *place, size_t size);
ssize_t sendfile(int out, int in, off_t *place, size_t size) {
    REAL(sendfile);
    return fails_on(WRITE, out) ? -1 : real(out, in, place, size);
}

ssize_t copy_file_range(int in, off_t *from, int out, off_t *to, size_t size, unsigned flags) {
    REAL(copy_file_range);
    return fails_on(WRITE, out) ? -1 : real(in, from, out, to, size, flags);
}

int fsync(int fd) {
    REAL(fsync);
    return fails_on(SYNC, fd) ? -1 : real(fd);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return fails_on(SYNC, fd) ? -1 : real(fd);
}

int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    return fails_on(TRUNCATE, fd) ? -1 : real(fd, size);
}

int ftruncate64(int fd, off_t size) {
    REAL(ftruncate64);
    return fails_on(TRUNCATE, fd) ? -1 : real(fd, size);
}

/* Of a file that was open for writing only: NFS reports there what it could not write. It is closed all the same. */
int close(int fd) {
    REAL(close);
    int failing = 0;
    if (control()) {
        int flags = fcntl(fd, F_GETFL);
        failing = flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && fails_on(CLOSE, fd);
    }
    int error = errno, done = real(fd);
    if (!failing) return done;
    errno = error;
    return -1;
}

/* --- names --- */

int link(const char *from, const char *to) {
    REAL(link);
    return fails_at(LINK, AT_FDCWD, to) ? -1 : real(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    REAL(linkat);
    return fails_at(LINK, to_folder, to) ? -1 : real(from_folder, from, to_folder, to, flags);
}

int symlink(const char *content, const char *path) {
    REAL(symlink);
    return fails_at(LINK, AT_FDCWD, path) ? -1 : real(content, path);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    return fails_at(RENAME, AT_FDCWD, to) ? -1 : real(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    REAL(renameat);
    return fails_at(RENAME, to_folder, to) ? -1 : real(from_folder, from, to_folder, to);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return fails_at(MKDIR, AT_FDCWD, path) ? -1 : real(path, mode);
}

int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat);
    return fails_at(MKDIR, folder, path) ? -1 : real(folder, path, mode);
}

int unlink(const char *path) {
    REAL(unlink);
    return fails_at(REMOVE, AT_FDCWD, path) ? -1 : real(path);
}

int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    return fails_at(REMOVE, folder, path) ? -1 : real(folder, path, flags);
}

int rmdir(const char *path) {
    REAL(rmdir);
    return fails_at(REMOVE, AT_FDCWD, path) ? -1 : real(path);
}

int chmod(const char *path, mode_t mode) {
    REAL(chmod);
    return fails_at(CHMOD, AT_FDCWD, path) ? -1 : real(path, mode);
}

int fchmod(int fd, mode_t mode) {
    REAL(fchmod);
    return fails_on(CHMOD, fd) ? -1 : real(fd, mode);
}

int fchmodat(int folder, const char *path, mode_t mode, int flags) {
    REAL(fchmodat);
    return fails_at(CHMOD, folder, path) ? -1 : real(folder, path, mode, flags);
}
