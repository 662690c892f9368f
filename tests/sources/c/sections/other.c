#include "sections.h"

REGISTER(gamma, 3);
REGISTER(delta, 4);

extern const struct entry __start_entries[] __attribute__((visibility("hidden")));
extern const struct entry __stop_entries[] __attribute__((visibility("hidden")));

size_t entries_there(void) { return __stop_entries - __start_entries; }
const char *text_there(void) { return "same text"; }
