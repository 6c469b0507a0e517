// A command in C as most are written: over the C library of WASI, for whatever host there is. See ../README.md for its
// arguments. `wait MS` polls standard input with a time limit, as runtimes with an event loop do, and prints which of
// the two came first.
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static _Noreturn void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static FILE *open_file(const char *path, const char *mode) {
  FILE *file = fopen(path, mode);
  if (!file) fail(path);
  return file;
}

static void copy_in_upper_case(FILE *from, FILE *to) {
  for (int c; (c = getc(from)) != EOF;) {
    putc(toupper(c), to);
    if (c == '\n') fflush(to);
  }
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void list(const char *path) {
  char *names[1000];
  size_t count = 0;
  DIR *directory = opendir(path);
  if (!directory) fail(path);
  for (struct dirent *entry; count < 1000 && (entry = readdir(directory));)
    if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) names[count++] = strdup(entry->d_name);
  closedir(directory);
  qsort(names, count, sizeof *names, by_name);
  for (size_t i = 0; i < count; i++) puts(names[i]);
}

int main(int argc, char **argv) {
  const char *verb = argc > 1 ? argv[1] : "";
  const char *first = argc > 2 ? argv[2] : "";
  const char *second = argc > 3 ? argv[3] : "";
  if (!strcmp(verb, "arguments")) {
    for (int i = 0; i < argc; i++) puts(argv[i]);
  } else if (!strcmp(verb, "variable")) {
    const char *value = getenv(first);
    if (!value) return 1;
    puts(value);
  } else if (!strcmp(verb, "upper")) {
    copy_in_upper_case(stdin, stdout);
  } else if (!strcmp(verb, "lines")) {
    for (long i = 0; i < atol(first); i++) printf("%ld\n", i);
  } else if (!strcmp(verb, "sleep")) {
    long ms = atol(first);
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
    puts("slept");
  } else if (!strcmp(verb, "copy")) {
    FILE *from = open_file(first, "r"), *to = open_file(second, "w");
    copy_in_upper_case(from, to);
    if (ferror(from) || fclose(to)) fail(second);
  } else if (!strcmp(verb, "list")) {
    list(first);
  } else if (!strcmp(verb, "status")) {
    exit(atoi(first));
  } else if (!strcmp(verb, "wait")) {
    int ready = poll(&(struct pollfd){.fd = 0, .events = POLLIN}, 1, atoi(first));
    if (ready < 0) fail("poll");
    puts(ready ? "input" : "time");
  } else {
    fprintf(stderr, "%s: no such verb\n", verb);
    return 1;
  }
  return fflush(stdout) ? 1 : 0;
}
