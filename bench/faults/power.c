/* Records what a program does to a database, for LD_PRELOAD: every write, truncation, sync and unlink of the files
 * POWER_DATA/mel.db and mel.db-wal is appended to the file POWER_LOG, in the order in which they were done. From that
 * `power.py` makes the disks that a loss of power can leave. A record:
 *     char what ('w' write, 't' truncate, 's' sync, 'u' unlink), char file ('d' database, 'l' log),
 *     uint64 offset (of a truncation the size), uint64 size, then that many bytes
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static int record = -1;

static char file_of(const char *path) {
    const char *data = getenv("POWER_DATA");
    size_t size = data ? strlen(data) : 0;
    if (!size || strncmp(path, data, size) != 0) return 0;
    if (strcmp(path + size, "/mel.db") == 0) return 'd';
    if (strcmp(path + size, "/mel.db-wal") == 0) return 'l';
    return 0;
}

static char file_of_fd(int fd) {
    char link[32], path[PATH_MAX];
    int kept = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (size < 0) return 0;
    path[size] = 0;
    return file_of(path);
}

static void note(char what, char file, uint64_t offset, const void *data, uint64_t size) {
    int kept = errno;
    if (record < 0) {
        const char *name = getenv("POWER_LOG");
        record = name ? open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    }
    char head[18] = {what, file};
    memcpy(head + 2, &offset, 8);
    memcpy(head + 10, &size, 8);
    struct iovec parts[2] = {{head, sizeof head}, {(void *)data, size}};
    if (record >= 0 && writev(record, parts, 2) != (ssize_t)(sizeof head + size)) abort();
    errno = kept;
}

static ssize_t written(const char *call, int fd, const void *data, size_t size, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, call);
    char file = file_of_fd(fd);
    if (!file) return real(fd, data, size, at);
    pthread_mutex_lock(&order);
    ssize_t done = real(fd, data, size, at);
    if (done > 0) note('w', file, at, data, done);
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return written("pwrite", fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return written("pwrite64", fd, data, size, at); }

static int cut(const char *call, int fd, off64_t size) {
    int (*real)(int, off64_t) = dlsym(RTLD_NEXT, call);
    char file = file_of_fd(fd);
    if (!file) return real(fd, size);
    pthread_mutex_lock(&order);
    int done = real(fd, size);
    if (done == 0) note('t', file, size, "", 0);
    pthread_mutex_unlock(&order);
    return done;
}

int ftruncate(int fd, off_t size) { return cut("ftruncate", fd, size); }
int ftruncate64(int fd, off64_t size) { return cut("ftruncate64", fd, size); }

static int synced(const char *call, int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, call);
    char file = file_of_fd(fd);
    if (!file) return real(fd);
    pthread_mutex_lock(&order);
    int done = real(fd);
    if (done == 0) note('s', file, 0, "", 0);
    pthread_mutex_unlock(&order);
    return done;
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }

int unlink(const char *path) {
    int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
    char file = file_of(path);
    if (!file) return real(path);
    pthread_mutex_lock(&order);
    int done = real(path);
    if (done == 0) note('u', file, 0, "", 0);
    pthread_mutex_unlock(&order);
    return done;
}
