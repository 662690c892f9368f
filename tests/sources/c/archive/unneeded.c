// Nobody wants this member: it would be an error for two reasons.
extern int defined_nowhere(void);
int overridden(void) { return defined_nowhere(); }
int optional(void) { return 1; }
__attribute__((constructor)) static void crash(void) { __builtin_trap(); }
