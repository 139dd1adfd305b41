/*
 * Makes calls of the C library fail, come short, kill or stop the process. The environment says which:
 *
 *   FAULT_BELOW    a directory: calls about files below it count
 *   FAULT_OPS      which calls count: "read write sync rename …", the names below
 *   FAULT_AT       the number, from 1, of the call that it happens to; 0: none
 *   FAULT_FOREVER  1: to all calls after that, too
 *   FAULT_DO       errno:N, short, kill (after the call), stop (before it)
 *   FAULT_PROGRAM  the only program that it happens in
 *   FAULT_COUNTER  a file of a page in which all processes count the calls; after the number comes the file of the one that is stopped at
 *   FAULT_CLOCK    a number: the clock of the day jumps to and fro by up to decades; the monotonic one stays
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static const char *below, *ops, *action;
static size_t below_length;
static unsigned long at;
static int forever;
static struct {
  _Atomic unsigned long calls;
  char stopped_at[4088];
} *counter;
static unsigned long clock_seed;
static _Atomic unsigned long clock_calls;

static const char *setting(const char *name) {
  const char *value = getenv(name);
  return value == NULL || *value == 0 ? NULL : value;
}

__attribute__((constructor)) static void begin(void) {
  const char *file = setting("FAULT_COUNTER"), *program = setting("FAULT_PROGRAM"), *number = setting("FAULT_AT");
  if (setting("FAULT_CLOCK")) clock_seed = strtoul(setting("FAULT_CLOCK"), NULL, 10);
  below = setting("FAULT_BELOW");
  ops = setting("FAULT_OPS");
  action = setting("FAULT_DO");
  at = number ? strtoul(number, NULL, 10) : 0;
  forever = setting("FAULT_FOREVER") != NULL;
  if (!below || !ops || !file || (program && strcmp(program, program_invocation_short_name))) return;
  below_length = strlen(below);
  int fd = REAL(open64)(file, O_RDWR);
  if (fd < 0) abort();
  void *page = mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  REAL(close)(fd);
  if (page == MAP_FAILED) abort();
  counter = page;
}

enum fault { AS_IS, FAILS, SHORT, KILLED };

static int is_below(const char *path) {
  char absolute[PATH_MAX];
  if (*path != '/') {
    char directory[PATH_MAX];
    if (!getcwd(directory, sizeof directory)) return 0;
    if (snprintf(absolute, sizeof absolute, "%s/%s", directory, path) >= (int)sizeof absolute) return 0;
    path = absolute;
  }
  return !strncmp(path, below, below_length) && (path[below_length] == '/' || path[below_length] == 0);
}

static enum fault happens(const char *path) {
  unsigned long call = atomic_fetch_add(&counter->calls, 1) + 1;
  if (at == 0 || (forever ? call < at : call != at)) return AS_IS;
  if (!strcmp(action, "stop")) {
    snprintf(counter->stopped_at, sizeof counter->stopped_at, "%s", path);
    kill(getpid(), SIGSTOP);
  }
  if (!strcmp(action, "kill")) return KILLED;
  if (!strcmp(action, "short")) return SHORT;
  if (strncmp(action, "errno:", 6)) return AS_IS;
  errno = atoi(action + 6);
  return FAILS;
}

static int counts(const char *op) {
  if (!counter) return 0;
  const char *found = strstr(ops, op);
  return found && (found[strlen(op)] == ' ' || found[strlen(op)] == 0);
}

static enum fault of_path(const char *op, const char *path) {
  return counts(op) && is_below(path) ? happens(path) : AS_IS;
}

static enum fault of_fd(const char *op, int fd) {
  if (!counts(op)) return AS_IS;
  int before = errno;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  errno = before;
  if (length < 0) return AS_IS;
  path[length] = 0;
  return *path == '/' && is_below(path) ? happens(path) : AS_IS;
}

/* Gives `call`'s result, unless it is not to happen. */
#define WITH(chance, type, call)                   \
  do {                                             \
    enum fault what = (chance);                   \
    if (what == FAILS) return -1;                  \
    type result = (call);                          \
    if (what == KILLED) kill(getpid(), SIGKILL);   \
    return result;                                 \
  } while (0)

/* The same for what moves bytes: one byte, or all but one. */
#define MOVE(chance, call)                                                \
  do {                                                                    \
    enum fault what = (chance);                                          \
    if (what == FAILS) return -1;                                         \
    if (what == SHORT && size > 1) size = size % 2 ? 1 : size - 1;        \
    ssize_t result = (call);                                              \
    if (what == KILLED) kill(getpid(), SIGKILL);                          \
    return result;                                                        \
  } while (0)

ssize_t read(int fd, void *to, size_t size) { MOVE(of_fd("read", fd), REAL(read)(fd, to, size)); }
ssize_t pread64(int fd, void *to, size_t size, off64_t from) {
  MOVE(of_fd("read", fd), REAL(pread64)(fd, to, size, from));
}
ssize_t pread(int fd, void *to, size_t size, off_t from) { return pread64(fd, to, size, from); }
ssize_t write(int fd, const void *from, size_t size) { MOVE(of_fd("write", fd), REAL(write)(fd, from, size)); }
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t to) {
  MOVE(of_fd("write", fd), REAL(pwrite64)(fd, from, size, to));
}
ssize_t pwrite(int fd, const void *from, size_t size, off_t to) { return pwrite64(fd, from, size, to); }
ssize_t readv(int fd, const struct iovec *to, int n) { WITH(of_fd("read", fd), ssize_t, REAL(readv)(fd, to, n)); }
ssize_t writev(int fd, const struct iovec *from, int n) {
  WITH(of_fd("write", fd), ssize_t, REAL(writev)(fd, from, n));
}
ssize_t preadv64(int fd, const struct iovec *to, int n, off64_t from) {
  WITH(of_fd("read", fd), ssize_t, REAL(preadv64)(fd, to, n, from));
}
ssize_t pwritev64(int fd, const struct iovec *from, int n, off64_t to) {
  WITH(of_fd("write", fd), ssize_t, REAL(pwritev64)(fd, from, n, to));
}
int fsync(int fd) { WITH(of_fd("sync", fd), int, REAL(fsync)(fd)); }
int fdatasync(int fd) { WITH(of_fd("sync", fd), int, REAL(fdatasync)(fd)); }
int ftruncate64(int fd, off64_t size) { WITH(of_fd("truncate", fd), int, REAL(ftruncate64)(fd, size)); }
int rename(const char *from, const char *to) { WITH(of_path("rename", to), int, REAL(rename)(from, to)); }
int link(const char *from, const char *to) { WITH(of_path("link", to), int, REAL(link)(from, to)); }
int symlink(const char *target, const char *path) { WITH(of_path("link", path), int, REAL(symlink)(target, path)); }
int unlink(const char *path) { WITH(of_path("unlink", path), int, REAL(unlink)(path)); }
int rmdir(const char *path) { WITH(of_path("unlink", path), int, REAL(rmdir)(path)); }
int mkdir(const char *path, mode_t mode) { WITH(of_path("mkdir", path), int, REAL(mkdir)(path, mode)); }

#define OPEN(name)                                                                             \
  int name(const char *path, int flags, ...) {                                                 \
    va_list rest;                                                                              \
    va_start(rest, flags);                                                                     \
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                    \
    va_end(rest);                                                                              \
    WITH(of_path(flags & O_CREAT ? "create" : "open", path), int, REAL(name)(path, flags, mode)); \
  }
OPEN(open)
OPEN(open64)

/* Hours, years and decades ahead and back; each holds for a few calls. */
static long offset(void) {
  static const long offsets[] = {0, 3600, -3600, 400000000, -1500000000, 86400, 1000000000, -60};
  return clock_seed ? offsets[(clock_seed + atomic_fetch_add(&clock_calls, 1) / 5) % 8] : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
  int result = REAL(clock_gettime)(clock, time);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += offset();
  return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int result = REAL(gettimeofday)(now, zone);
  if (result == 0) now->tv_sec += offset();
  return result;
}
time_t time(time_t *to) {
  time_t now = REAL(time)(NULL) + offset();
  if (to) *to = now;
  return now;
}
