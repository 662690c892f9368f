// One address for an IFUNC, however it is taken. GNU ld itself does not manage that in a PIE.
#include <stdint.h>
typedef int (*function)(int);
static int fast(int x) { return x + 1; }
static function resolve(void) { return fast; }
int choice(int) __attribute__((ifunc("resolve")));
static const function table[] = {choice};
function there(void);
extern const function table_there[];
int main(void) { return choice == table[0] && there() == choice && table_there[0] == choice ? choice(41) : 1; }
