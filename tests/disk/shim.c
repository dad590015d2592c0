/* Preloaded into a test's process: counts the writes and syncs of a ledger's files, has the n-th fail or kill the
   process, and records them all, so that a disk that lost some can be made afterwards. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum { FAIL_ONCE = 1, FAIL_ON = 2, DIE = 3 };
enum { WRITE = 1, SYNC = 2, TRUNCATE = 3, NOTE = 4 };
enum { DATABASE = 0, WAL = 1, OTHER = 2 };

static char folder[PATH_MAX], name[NAME_MAX];
static long fail_at;
static int how, log_fd = -1;
static volatile long *count; /* shared with the parent of a forked child */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void) {
    void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    count = page == MAP_FAILED ? NULL : page;
}

void shim_watch(const char *in_folder, const char *with_name, long at, int in_which_way, int record_to) {
    snprintf(folder, sizeof folder, "%s/", in_folder);
    snprintf(name, sizeof name, "%s", with_name);
    fail_at = at;
    how = in_which_way;
    log_fd = record_to;
    *count = 0;
}

long shim_count(void) { return *count; }

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);

static void load(void) {
    if (!real_write) {
        real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
        real_write = dlsym(RTLD_NEXT, "write");
    }
}

static void record(int kind, int file, off64_t offset, const void *data, size_t size) {
    struct __attribute__((packed)) {
        uint8_t kind, file;
        uint64_t offset, size;
    } head = {kind, file, offset, kind == TRUNCATE ? 0 : size};
    if (log_fd < 0)
        return;
    load();
    real_write(log_fd, &head, sizeof head);
    if (head.size)
        real_write(log_fd, data, head.size);
}

void shim_note(const char *text, size_t size) {
    pthread_mutex_lock(&lock);
    record(NOTE, OTHER, 0, text, size);
    pthread_mutex_unlock(&lock);
}

/* Which of the ledger's files it is; -1 for none. */
static int watched(int fd) {
    char link[64], path[PATH_MAX];
    if (!folder[0])
        return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return -1;
    path[size] = 0;
    size_t above = strlen(folder);
    if (strncmp(path, folder, above) || !strstr(path + above, name))
        return -1;
    const char *rest = path + above + strlen(name);
    if (strncmp(path + above, name, strlen(name)))
        return OTHER;
    return !*rest ? DATABASE : !strcmp(rest, "-wal") ? WAL : OTHER;
}

static int refused(int error) {
    long number = ++*count;
    if (how == DIE && number == fail_at)
        raise(SIGKILL);
    if ((how == FAIL_ONCE && number == fail_at) || (how == FAIL_ON && number >= fail_at)) {
        errno = error;
        return 1;
    }
    return 0;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    load();
    int file = watched(fd);
    if (file < 0)
        return real_pwrite(fd, data, size, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = refused(ENOSPC) ? -1 : real_pwrite(fd, data, size, offset);
    int error = errno;
    if (done > 0)
        record(WRITE, file, offset, data, done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

ssize_t write(int fd, const void *data, size_t size) {
    load();
    int file = watched(fd);
    if (file < 0)
        return real_write(fd, data, size);
    pthread_mutex_lock(&lock);
    off64_t offset = lseek64(fd, 0, SEEK_CUR);
    ssize_t done = refused(ENOSPC) ? -1 : real_write(fd, data, size);
    int error = errno;
    if (done > 0)
        record(WRITE, file, offset, data, done);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

static int synced(int fd, const char *call) {
    int (*real)(int) = dlsym(RTLD_NEXT, call);
    int file = watched(fd);
    if (file < 0)
        return real(fd);
    pthread_mutex_lock(&lock);
    int done = refused(EIO) ? -1 : real(fd);
    int error = errno;
    if (!done)
        record(SYNC, file, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

int fsync(int fd) { return synced(fd, "fsync"); }

int fdatasync(int fd) { return synced(fd, "fdatasync"); }

int ftruncate64(int fd, off64_t size) {
    int (*real)(int, off64_t) = dlsym(RTLD_NEXT, "ftruncate64");
    int file = watched(fd);
    if (file < 0)
        return real(fd, size);
    pthread_mutex_lock(&lock);
    int done = real(fd, size);
    int error = errno;
    if (!done)
        record(TRUNCATE, file, size, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }
