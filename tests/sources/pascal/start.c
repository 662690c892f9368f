// What Free Pascal's start-up object does, for a process that runs already: the run-time system is told of the
// program's tables and arguments, and exit goes through the C library.
#include <stddef.h>
#include <stdlib.h>

struct entry_information {
  void *units, *thread_variables, *resource_strings, *string_tables, *resources;
  void (*pascal_main)(void);
  unsigned char valgrind_used;
  struct {
    int argc;
    char **argv, **envp;
    void *stack;
    size_t stack_length;
    void (*halt)(int);
  } os;
};

extern char INITFINAL[], FPC_THREADVARTABLES[], FPC_RESOURCESTRINGTABLES[], FPC_RESSTRINITTABLES[], FPC_RESLOCATION[];
void PASCALMAIN(void);
void FPC_SysEntry(const struct entry_information *information);

void _haltproc(int status) { exit(status); }

int start(int argc, char **argv, char **envp) {
  static struct entry_information information;
  information = (struct entry_information){INITFINAL,  FPC_THREADVARTABLES, FPC_RESOURCESTRINGTABLES, FPC_RESSTRINITTABLES, FPC_RESLOCATION,
                                           PASCALMAIN, 0, {argc, argv, envp, &argc, 8 << 20, _haltproc}};
  FPC_SysEntry(&information);
  return 1;
}
