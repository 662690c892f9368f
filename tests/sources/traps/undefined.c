// Three names that nobody defines.
int missing_function(int);
extern int missing_data;
int used_by_both(void);
int main(void) { return missing_function(missing_data) + used_by_both(); }
