// One member of an archive; NAME and RESULT come from the command line, as does what it CALLS.
#ifdef CALLS
int CALLS(int);
int NAME(int x) { return x == 0 ? RESULT : CALLS(x - 1) + RESULT; }
#else
int NAME(int x) { return x + RESULT; }
#endif
