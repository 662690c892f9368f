typedef int (*function)(int);
extern int resolved;
int choice(int);
int call_choice(int);
function address_of_choice(void);
int hidden_choice(int) __attribute__((visibility("hidden")));
int call_hidden(int);
function address_of_hidden(void);
int feature(int);
