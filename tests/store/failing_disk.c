/* A disk that fails on command, for LD_PRELOAD. While the file named by FAILING_DISK exists, it holds
 *     KIND [NAME] [MILLISECONDS]
 * KIND: "fsync" (EIO at fsync and fdatasync), "write" (ENOSPC at pwrite), "eio" (EIO at pwrite), "slow" (fsync and
 * fdatasync take that long). NAME: only files of this name, "*" for all. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int ordered(const char *what, int fd, int *milliseconds) {
    const char *control = getenv("FAILING_DISK");
    char kind[16] = "", name[128] = "*", link[32], path[4096];
    FILE *file = control ? fopen(control, "r") : NULL;
    if (!file) return 0;
    *milliseconds = 0;
    if (fscanf(file, "%15s %127s %d", kind, name, milliseconds) < 1) kind[0] = 0;
    fclose(file);
    if (strcmp(kind, what) != 0) return 0;
    if (strcmp(name, "*") == 0) return 1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    const char *base = strrchr(path, '/');
    return strcmp(base ? base + 1 : path, name) == 0;
}

static int synced(const char *call, int fd) {
    int wait, kept = errno;
    if (ordered("fsync", fd, &wait)) { errno = EIO; return -1; }
    if (ordered("slow", fd, &wait)) {
        struct timespec time = {wait / 1000, wait % 1000 * 1000000L};
        nanosleep(&time, NULL);
    }
    errno = kept;
    return ((int (*)(int))dlsym(RTLD_NEXT, call))(fd);
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }

static ssize_t written(const char *call, int fd, const void *data, size_t size, off64_t at) {
    int wait;
    if (ordered("write", fd, &wait)) { errno = ENOSPC; return -1; }
    if (ordered("eio", fd, &wait)) { errno = EIO; return -1; }
    return ((ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, call))(fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return written("pwrite", fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return written("pwrite64", fd, data, size, at); }
