typedef int (*function)(int);
int choice(int);
const function table_there[] = {choice};
function there(void) { return choice; }
