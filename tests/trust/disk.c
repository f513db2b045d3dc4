/* Stands between a process and the disk (LD_PRELOAD): logs what changes files below one folder, in order, or lets the
   n-th such call fail. Python arms it by ctypes; until then every call goes through.

   A record of the log: the operation's letter, two numbers, the lengths of two texts, the texts.
     c create path | d mkdir path | w write path at offset, the bytes | t truncate path to size | s fsync path
     r rename path, path (1: both are exchanged) | u unlink path | x rmdir path */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static int log_fd = -1, fail_errno;
static long calls, fail_at = -1;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

void disk_arm(const char *folder, int fd, long at, int error) {
    snprintf(root, sizeof root, "%s/", folder);
    log_fd = fd;
    calls = 0;
    fail_at = at;
    fail_errno = error;
}

/* A process that is begun with DISK_ROOT, and each that it begins, fails its own call number DISK_FAIL_AT. */
__attribute__((constructor)) static void arm_by_environment(void) {
    const char *folder = getenv("DISK_ROOT"), *at = getenv("DISK_FAIL_AT"), *error = getenv("DISK_ERRNO");
    if (folder && at && error) disk_arm(folder, -1, atol(at), atoi(error));
}

long disk_calls(void) { return calls; }

/* The absolute path of a name in a folder (or of the descriptor itself), if it lies below the root. */
static int inside(int dir, const char *name, char *path) {
    char link[64], folder[PATH_MAX];
    if (!root[0]) return 0;
    if (name && name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else {
        ssize_t size;
        if (dir == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        size = readlink(link, folder, sizeof folder - 1);
        if (size < 0) return 0;
        folder[size] = 0;
        snprintf(path, PATH_MAX, name ? "%s/%s" : "%s", folder, name);
    }
    size_t length = strlen(root);
    return strncmp(path, root, length) == 0 || (strlen(path) == length - 1 && strncmp(path, root, length - 1) == 0);
}

static int fails(void) {
    if (++calls != fail_at) return 0;
    errno = fail_errno;
    return 1;
}

static void record(char op, long a, long b, const char *one, const void *other, uint32_t size) {
    if (log_fd < 0) return;
    int64_t numbers[2] = {a, b};
    uint32_t sizes[2] = {(uint32_t)strlen(one), size};
    ssize_t (*put)(int, const void *, size_t) = REAL(write);
    int saved = errno;
    if (put(log_fd, &op, 1) < 0 || put(log_fd, numbers, 16) < 0 || put(log_fd, sizes, 8) < 0) abort();
    if (put(log_fd, one, sizes[0]) < 0 || (size && put(log_fd, other, size) < 0)) abort();
    errno = saved;
}

#define GUARD(dir, name, path, call)                                    \
    pthread_mutex_lock(&lock);                                          \
    int below = inside(dir, name, path), result = -1;                   \
    if (!(below && fails())) result = (call);

#define DONE pthread_mutex_unlock(&lock); return result;

static int opened(int dir, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    struct stat status;
    int (*call)(int, const char *, int, ...) = REAL(openat);
    int before = fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW) == 0;
    GUARD(dir, name, path, call(dir, name, flags, mode))
    if (below && result >= 0 && (flags & O_CREAT) && !before) record('c', 0, 0, path, NULL, 0);
    if (below && result >= 0 && (flags & O_TRUNC) && before) record('t', 0, 0, path, NULL, 0);
    DONE
}

#define MODE mode_t mode = 0; if (flags & (O_CREAT | __O_TMPFILE)) { va_list l; va_start(l, flags); mode = va_arg(l, mode_t); va_end(l); }
int open(const char *name, int flags, ...) { MODE return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE return opened(AT_FDCWD, name, flags, mode); }
int openat(int dir, const char *name, int flags, ...) { MODE return opened(dir, name, flags, mode); }
int openat64(int dir, const char *name, int flags, ...) { MODE return opened(dir, name, flags, mode); }

ssize_t write(int fd, const void *data, size_t size) {
    char path[PATH_MAX];
    struct stat status;
    ssize_t (*call)(int, const void *, size_t) = REAL(write);
    if (!root[0] || fd == log_fd) return call(fd, data, size);
    pthread_mutex_lock(&lock);
    int below = inside(fd, NULL, path);
    long at = 0;
    if (below) at = (fcntl(fd, F_GETFL) & O_APPEND) && fstat(fd, &status) == 0 ? status.st_size : lseek(fd, 0, SEEK_CUR);
    ssize_t result = -1;
    if (!(below && fails())) result = call(fd, data, size);
    else if (size > 1) (void)!call(fd, data, size / 2); /* as a full disk does: half of it is there */
    if (below && result > 0) record('w', at, 0, path, data, (uint32_t)result);
    DONE
}

static ssize_t put_at(int fd, const void *data, size_t size, off_t at) {
    char path[PATH_MAX];
    ssize_t (*call)(int, const void *, size_t, off_t) = REAL(pwrite);
    pthread_mutex_lock(&lock);
    int below = inside(fd, NULL, path);
    ssize_t result = -1;
    if (!(below && fails())) result = call(fd, data, size, at);
    if (below && result > 0) record('w', at, 0, path, data, (uint32_t)result);
    DONE
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return put_at(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return put_at(fd, data, size, at); }

static int cut(int fd, off_t size) {
    char path[PATH_MAX];
    int (*call)(int, off_t) = REAL(ftruncate);
    GUARD(fd, NULL, path, call(fd, size))
    if (below && result == 0) record('t', size, 0, path, NULL, 0);
    DONE
}
int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off_t size) { return cut(fd, size); }

int fsync(int fd) {
    char path[PATH_MAX];
    int (*call)(int) = REAL(fsync);
    GUARD(fd, NULL, path, call(fd))
    if (below && result == 0) record('s', 0, 0, path, NULL, 0);
    DONE
}
int fdatasync(int fd) { return fsync(fd); }

static int moved(int from, const char *old, int to, const char *new, unsigned flags) {
    char path[PATH_MAX], other[PATH_MAX];
    int (*call)(int, const char *, int, const char *, unsigned) = REAL(renameat2);
    int both = inside(to, new, other);
    GUARD(from, old, path, call(from, old, to, new, flags))
    if (below && both && result == 0) record('r', flags != 0, 0, path, other, (uint32_t)strlen(other));
    DONE
}
int rename(const char *old, const char *new) { return moved(AT_FDCWD, old, AT_FDCWD, new, 0); }
int renameat(int from, const char *old, int to, const char *new) { return moved(from, old, to, new, 0); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) { return moved(from, old, to, new, flags); }

int unlinkat(int dir, const char *name, int flags) {
    char path[PATH_MAX];
    int (*call)(int, const char *, int) = REAL(unlinkat);
    GUARD(dir, name, path, call(dir, name, flags))
    if (below && result == 0) record(flags & AT_REMOVEDIR ? 'x' : 'u', 0, 0, path, NULL, 0);
    DONE
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int dir, const char *name, mode_t mode) {
    char path[PATH_MAX];
    int (*call)(int, const char *, mode_t) = REAL(mkdirat);
    GUARD(dir, name, path, call(dir, name, mode))
    if (below && result == 0) record('d', 0, 0, path, NULL, 0);
    DONE
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
