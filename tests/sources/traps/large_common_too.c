char shared[150000];
void fill(void) { shared[149999] = 33; }
