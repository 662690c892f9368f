int used_by_both(void);
int other_missing(void);
int unused(void) { return used_by_both() + other_missing(); }
