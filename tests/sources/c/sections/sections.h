#include <stddef.h>
struct entry { const char *name; long value; };
#define REGISTER(name, number) \
  __attribute__((section("entries"), used, aligned(8))) static const struct entry entry_##name = {#name, number}
size_t entries_there(void);
const char *text_there(void);
